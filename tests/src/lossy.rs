//! Roads to the daemon that are worse than loopback, for participants whose sockets are their own.
use crate::peer::Loss;
use anyhow::Result;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// How long a datagram may wait for its turn on a road with a rate; what would wait longer is dropped.
const QUEUE: Duration = Duration::from_millis(200);

/// Addresses of one participant; datagrams from further ones go nowhere.
const MAX_SOURCES: usize = 16;

/// Datagrams of the daemon that wait to enter the road; beyond that they wait in the kernel.
const ANSWERS: usize = 256;

/// Which way a datagram goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    There,
    Back,
}

/// What a road does to whatever goes one way on it.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Conditions {
    /// Probability that a datagram gets lost, each by itself.
    pub loss: f64,
    /// From one end to the other.
    pub delay: Duration,
    /// Bit/s of UDP payload; none is no limit.
    pub rate: Option<u32>,
}

impl Conditions {
    /// Half of this round trip each way, and this loss.
    pub fn of(loss: f64, round_trip: Duration) -> Self {
        Self { loss, delay: round_trip / 2, rate: None }
    }
}

/// Carries one participant's datagrams while it lives.
#[derive(Debug)]
pub struct LossyRoad {
    /// Where the participant sends to.
    pub entry: SocketAddr,
    lost: Arc<AtomicU32>,
    carried: Arc<AtomicU32>,
    task: tokio::task::JoinHandle<()>,
}

impl LossyRoad {
    /// A road to `daemon` that loses every `n`-th packet of media on the way there.
    pub async fn to(daemon: SocketAddr, n: u32) -> Result<Self> {
        let mut loss = Loss::every(Some(n));
        Self::losing(daemon, move |direction, datagram| direction == Direction::There && loss.takes(datagram)).await
    }

    /// A road to `daemon` that loses what `loses` says.
    pub async fn losing(
        daemon: SocketAddr,
        loses: impl FnMut(Direction, &[u8]) -> bool + Send + 'static,
    ) -> Result<Self> {
        Self::build(daemon, [Conditions::default(); 2], loses).await
    }

    /// A road to `daemon` with these conditions on the way there and back. One seed is one sequence of losses.
    pub async fn under(daemon: SocketAddr, there: Conditions, back: Conditions, seed: u64) -> Result<Self> {
        let mut dice = [seed, !seed].map(StdRng::seed_from_u64);
        let loses = move |direction: Direction, _: &[u8]| match direction {
            Direction::There => dice[0].random_bool(there.loss),
            Direction::Back => dice[1].random_bool(back.loss),
        };
        Self::build(daemon, [there, back], loses).await
    }

    async fn build(
        daemon: SocketAddr,
        [there, back]: [Conditions; 2],
        mut loses: impl FnMut(Direction, &[u8]) -> bool + Send + 'static,
    ) -> Result<Self> {
        let near = UdpSocket::bind("127.0.0.1:0").await?;
        let entry = near.local_addr()?;
        let (lost, carried) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let counters = (lost.clone(), carried.clone());
        let (answer, mut answers) = mpsc::channel(ANSWERS);
        let task = tokio::spawn(async move {
            let (mut there, mut back) = (Lane::new(there), Lane::new(back));
            let mut buffer = vec![0; 2048];
            // A browser sends from all its addresses: to the daemon each is somebody else.
            let (mut sources, mut readers) = (HashMap::new(), JoinSet::new());
            loop {
                let due = [there.due(), back.due()].into_iter().flatten().min();
                // A datagram that does not get through is the nature of this road.
                let entered = tokio::select! {
                    Ok((len, from)) = near.recv_from(&mut buffer) => {
                        if !sources.contains_key(&from) && sources.len() < MAX_SOURCES {
                            let Ok(far) = towards(daemon).await else { continue };
                            sources.insert(from, far.clone());
                            readers.spawn(read(far, from, answer.clone()));
                        }
                        let datagram = &buffer[..len];
                        !loses(Direction::There, datagram) && there.enter(Instant::now(), from, datagram)
                    }
                    Some((to, datagram)) = answers.recv() => {
                        !loses(Direction::Back, &datagram) && back.enter(Instant::now(), to, &datagram)
                    }
                    () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => true,
                };
                counters.0.fetch_add(u32::from(!entered), Ordering::Relaxed);
                let now = Instant::now();
                while let Some((from, datagram)) = there.leave(now) {
                    counters.1.fetch_add(1, Ordering::Relaxed);
                    if let Some(far) = sources.get(&from) {
                        let _ = far.send(&datagram).await;
                    }
                }
                while let Some((to, datagram)) = back.leave(now) {
                    counters.1.fetch_add(1, Ordering::Relaxed);
                    let _ = near.send_to(&datagram, to).await;
                }
            }
        });
        Ok(Self { entry, lost, carried, task })
    }

    /// Datagrams that got lost so far, or found the queue full.
    pub fn lost(&self) -> u32 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Datagrams that came out at either end.
    pub fn carried(&self) -> u32 {
        self.carried.load(Ordering::Relaxed)
    }
}

impl Drop for LossyRoad {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn towards(daemon: SocketAddr) -> std::io::Result<Arc<UdpSocket>> {
    let far = UdpSocket::bind("127.0.0.1:0").await?;
    far.connect(daemon).await?;
    Ok(Arc::new(far))
}

/// What comes back for this source, as long as the road lives.
async fn read(far: Arc<UdpSocket>, source: SocketAddr, answers: mpsc::Sender<(SocketAddr, Box<[u8]>)>) {
    let mut buffer = vec![0; 2048];
    loop {
        // An error is a port that was closed for a moment.
        let Ok(len) = far.recv(&mut buffer).await else { continue };
        if answers.send((source, buffer[..len].into())).await.is_err() {
            return;
        }
    }
}

/// One way of a road. Nobody overtakes anybody.
struct Lane {
    conditions: Conditions,
    /// With the time at which each comes out, and the participant's address.
    on_it: VecDeque<(Instant, SocketAddr, Box<[u8]>)>,
    /// When the last bit of what has entered will have passed the bottleneck.
    busy_until: Option<Instant>,
}

impl Lane {
    fn new(conditions: Conditions) -> Self {
        Self { conditions, on_it: VecDeque::new(), busy_until: None }
    }

    /// Whether there was room for it.
    fn enter(&mut self, now: Instant, participant: SocketAddr, datagram: &[u8]) -> bool {
        let begins = self.busy_until.map_or(now, |until| until.max(now));
        if begins - now > QUEUE {
            return false;
        }
        let bits = datagram.len() as f64 * 8.0;
        let takes = self.conditions.rate.map_or(0.0, |rate| bits / f64::from(rate));
        let passed = begins + Duration::from_secs_f64(takes);
        self.busy_until = Some(passed);
        self.on_it.push_back((passed + self.conditions.delay, participant, datagram.into()));
        true
    }

    fn due(&self) -> Option<Instant> {
        self.on_it.front().map(|(due, ..)| *due)
    }

    /// The next one that has arrived by now.
    fn leave(&mut self, now: Instant) -> Option<(SocketAddr, Box<[u8]>)> {
        if self.due()? > now {
            return None;
        }
        self.on_it.pop_front().map(|(_, participant, datagram)| (participant, datagram))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOMEBODY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_enters_a_lane_leaves_it_in_order_after_its_delay_and_its_turn() {
        let now = Instant::now();
        // 1000 bytes at 1 Mbit/s take 8 ms.
        let mut lane = Lane::new(Conditions { loss: 0.0, delay: 50 * MS, rate: Some(1_000_000) });
        assert!(lane.enter(now, SOMEBODY, &[1; 1000]) && lane.enter(now, SOMEBODY, &[2; 1000]));
        assert_eq!(lane.due(), Some(now + 58 * MS));
        assert!(lane.leave(now + 57 * MS).is_none());
        assert_eq!(lane.leave(now + 60 * MS).map(|(_, datagram)| datagram[0]), Some(1));
        assert!(lane.leave(now + 65 * MS).is_none(), "the second had to wait for the first");
        assert_eq!(lane.leave(now + 66 * MS).map(|(_, datagram)| datagram[0]), Some(2));
        assert_eq!(lane.due(), None);
    }

    #[test]
    fn a_lane_drops_what_would_wait_too_long_and_takes_more_once_it_has_drained() {
        let now = Instant::now();
        let mut lane = Lane::new(Conditions { loss: 0.0, delay: Duration::ZERO, rate: Some(1_000_000) });
        let taken = (0..100).filter(|_| lane.enter(now, SOMEBODY, &[0; 1000])).count();
        // Each that is taken begins 8 ms after the one before, the last one not later than 200 ms from now.
        assert_eq!(taken, 26);
        assert!(lane.enter(now + 100 * MS, SOMEBODY, &[0; 1000]));
    }

    #[tokio::test]
    async fn a_road_loses_what_its_probability_says_and_the_same_again_for_the_same_seed() -> Result<()> {
        let mut seen = Vec::new();
        for _ in 0..2 {
            let (daemon, participant) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
            let conditions = Conditions::of(0.2, 20 * MS);
            let road = LossyRoad::under(daemon.local_addr()?, conditions, Conditions::default(), 7).await?;
            for number in 0..200_u8 {
                participant.send_to(&[number], road.entry).await?;
            }
            while road.lost() + road.carried() < 200 {
                tokio::task::yield_now().await;
            }
            let mut heard = Vec::new();
            for _ in 0..road.carried() {
                let mut datagram = [0];
                daemon.recv(&mut datagram).await?;
                heard.push(datagram[0]);
            }
            assert!((20..60).contains(&road.lost()), "{} of 200 got lost", road.lost());
            seen.push(heard);
        }
        assert_eq!(seen[0], seen[1]);
        Ok(())
    }
}
