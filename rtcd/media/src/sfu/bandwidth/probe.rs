//! Probing: whoever sends less than the way takes learns nothing from it, so a short burst of padding asks how much more
//! there is, when more is wanted.
use super::Bitrate;
use super::cluster::{Cluster, Outcome};
use super::sent::Packet;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Padding is due in steps of this.
const STEP: Duration = Duration::from_millis(5);
const MIN_STEP_US: i64 = 1_000;
/// A cluster that could not be sent in so many times its length is given up.
const MAX_STRETCH: u32 = 4;
/// The queue that a cluster makes has drained so long after it.
const DRAIN_US: i64 = 150_000;
/// Clusters this close to each other disturb as one.
const ADJACENT_US: i64 = 500_000;
/// Feedback on a cluster that does not come in this time, besides the round trip, never comes.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// A result of so much of what was asked for calls for more at once.
const GOOD: f64 = 0.75;
/// One that is so much more than was known, though less than that, calls for more soon.
const BETTER: f64 = 1.25;
const SOON_US: i64 = 500_000;
/// Between clusters that have shown no more room: at first, and at most.
const MIN_INTERVAL_US: i64 = 2_000_000;
const MAX_INTERVAL_US: i64 = 6_000_000;
const INTERVAL_GROWTH: f64 = 1.5;
/// When it is not the time to probe, it is asked again after this.
const ASK_AGAIN_US: i64 = 200_000;

/// When and how much to probe.
#[derive(Debug, Serialize, Deserialize)]
pub struct Prober {
    /// Not written down: what has become of its packets is not known afterwards. Beside what each packet needs, as it is rare.
    #[serde(skip)]
    cluster: Option<Box<Cluster>>,
    last_id: u8,
    due: i64,
    interval: i64,
    /// Packets sent between these times have met a queue of our own making.
    disturbed: Option<(i64, i64)>,
}

impl Prober {
    pub fn new(now: i64) -> Self {
        Self { cluster: None, last_id: 0, due: now, interval: MIN_INTERVAL_US, disturbed: None }
    }

    /// The cluster that packets sent now belong to; 0: none.
    #[inline]
    pub fn cluster_id(&self) -> u8 {
        self.cluster.as_ref().filter(|cluster| cluster.ended.is_none()).map_or(0, |cluster| cluster.id)
    }

    /// A packet of the cluster has gone out, media or padding.
    pub fn handle_sent(&mut self, now: i64, number: u64, len: usize) {
        let Some(cluster) = self.cluster.as_mut().filter(|cluster| cluster.ended.is_none()) else { return };
        cluster.handle_sent(number, len);
        if cluster.is_sent() {
            self.end(now);
        }
    }

    fn end(&mut self, now: i64) {
        let Some(cluster) = &mut self.cluster else { return };
        cluster.ended = Some(now);
        let adjacent = self.disturbed.filter(|(_, until)| cluster.began - until < ADJACENT_US);
        self.disturbed = Some((adjacent.map_or(cluster.began, |(from, _)| from), now + DRAIN_US));
    }

    /// A packet has arrived.
    pub fn handle_arrival(&mut self, packet: &Packet, arrival: i64) {
        if let Some(cluster) = self.cluster.as_mut().filter(|cluster| cluster.id == packet.cluster) {
            cluster.handle_arrival(packet, arrival);
        }
    }

    /// A packet is lost.
    pub fn handle_lost(&mut self, packet: &Packet) {
        if let Some(cluster) = self.cluster.as_mut().filter(|cluster| cluster.id == packet.cluster) {
            cluster.lost += u64::from(packet.len);
        }
    }

    /// Everything below this number has been reported on. Gives the outcome of a cluster once all of it has. `known` is what
    /// was known to fit before.
    pub fn handle_reported(&mut self, now: i64, reported: u64, known: Bitrate) -> Option<Outcome> {
        let cluster = self.cluster.take_if(|it| it.ended.is_some() && reported > it.last_number)?;
        let outcome = cluster.outcome();
        if !cluster.is_known() {
            // The feedback is what was lost: nobody knows.
            self.due = now + ASK_AGAIN_US;
            return None;
        }
        if outcome.proven.is_some_and(|proven| proven >= cluster.rate.times(GOOD)) {
            self.interval = MIN_INTERVAL_US;
            self.due = now;
        } else if outcome.proven.is_some_and(|proven| proven >= known.times(BETTER)) {
            self.interval = MIN_INTERVAL_US;
            self.due = now + SOON_US;
        } else {
            self.back_off(now);
        }
        Some(outcome)
    }

    fn back_off(&mut self, now: i64) {
        self.due = now + self.interval;
        self.interval = ((self.interval as f64 * INTERVAL_GROWTH) as i64).min(MAX_INTERVAL_US);
    }

    /// Something has changed: what showed no room before may show some now.
    pub fn hurry(&mut self, due: i64) {
        self.due = self.due.min(due);
        self.interval = MIN_INTERVAL_US;
    }

    /// Not before this.
    pub fn delay(&mut self, due: i64) {
        self.due = self.due.max(due);
    }

    /// Whether a packet sent then may have waited behind a cluster.
    pub fn disturbs(&self, sent: i64) -> bool {
        let sending = self.cluster.as_ref().is_some_and(|cluster| cluster.ended.is_none() && sent >= cluster.began);
        sending || self.disturbed.is_some_and(|(from, until)| (from..until).contains(&sent))
    }

    /// Begins a cluster at this rate if it is time for one; `None`: now is no time to probe.
    pub fn handle_timeout(&mut self, now: i64, round_trip: Duration, rate: Option<Bitrate>) {
        if let Some(cluster) = &self.cluster {
            let longest = cluster.length() * MAX_STRETCH;
            let patience = (MAX_WAIT + 2 * round_trip).as_micros() as i64;
            match cluster.ended {
                None if now - cluster.began > longest.as_micros() as i64 => self.end(now),
                Some(ended) if now - ended > patience => {
                    self.cluster = None;
                    self.back_off(now);
                }
                _ => {}
            }
            return;
        }
        if now < self.due {
            return;
        }
        let Some(rate) = rate else { return self.delay(now + ASK_AGAIN_US) };
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.cluster = Some(Box::new(Cluster::new(self.last_id, rate, now)));
    }

    /// Octets to send now.
    pub fn poll_padding(&mut self, now: i64) -> usize {
        let Some(cluster) = self.cluster.as_mut().filter(|cluster| cluster.ended.is_none()) else { return 0 };
        cluster.polled = now;
        let elapsed = Duration::from_micros((now - cluster.began).max(0) as u64);
        cluster.rate.octets_in(elapsed + STEP).saturating_sub(cluster.sent) as usize
    }

    /// When padding is due, or something else; `wants` says whether more is wanted than is estimated.
    pub fn next_timeout(&self, round_trip: Duration, wants: bool) -> Option<i64> {
        match self.cluster.as_deref() {
            Some(Cluster { ended: Some(ended), .. }) => {
                Some(ended + (MAX_WAIT + 2 * round_trip).as_micros() as i64 + 1)
            }
            Some(cluster) => {
                let padding = cluster.began + cluster.rate.time_for(cluster.sent).as_micros() as i64;
                // Who has nothing to pad with is not woken in vain.
                let padding = padding.max(cluster.polled + MIN_STEP_US);
                let longest = cluster.length() * MAX_STRETCH;
                Some(padding.min(cluster.began + longest.as_micros() as i64 + 1))
            }
            None => wants.then_some(self.due),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Duration = Duration::ZERO;
    const KNOWN: Bitrate = Bitrate::kbit(1000);

    /// Sends a cluster at this rate over a way of that one; gives what it has shown and how many octets it took.
    fn probe(prober: &mut Prober, begin: i64, rate: Bitrate, way: Bitrate) -> (Option<Bitrate>, u64) {
        prober.handle_timeout(begin, NONE, Some(rate));
        let (mut now, mut number, mut octets, mut free) = (begin, 10, 0, 0);
        loop {
            let mut padding = prober.poll_padding(now);
            while padding > 0 && prober.cluster_id() != 0 {
                let packet = Packet { number, sent: now, len: 300, cluster: prober.cluster_id() };
                prober.handle_sent(now, number, 300);
                free = i64::max(free, now) + way.time_for(300).as_micros() as i64;
                prober.handle_arrival(&packet, free + 777_000_000);
                (number, octets, padding) = (number + 1, octets + 300, padding.saturating_sub(300));
            }
            if prober.cluster_id() == 0 {
                break;
            }
            let next = prober.next_timeout(NONE, true).unwrap_or(i64::MAX);
            assert!(next > now || prober.poll_padding(now) > 0, "time passes");
            now = next.max(now + 1000);
        }
        assert_eq!(prober.handle_reported(now, number - 1, KNOWN), None, "the last one is unknown");
        (prober.handle_reported(now, number, KNOWN).and_then(|outcome| outcome.proven), octets)
    }

    #[test]
    fn a_free_way_proves_what_was_asked_for_and_a_full_one_what_it_takes() {
        let mut prober = Prober::new(0);
        let (proven, octets) = probe(&mut prober, 0, Bitrate::kbit(3000), Bitrate::kbit(20_000));
        let proven = proven.map_or(0, |rate| rate.0);
        assert!((2_700_000..3_600_000).contains(&proven), "{proven}");
        assert!((18_750..19_500).contains(&octets), "{octets}");
        let (proven, _) = probe(&mut prober, 1_000_000, Bitrate::kbit(3000), Bitrate::kbit(1000));
        let proven = proven.map_or(0, |rate| rate.0);
        assert!((850_000..=950_000).contains(&proven), "{proven}");
    }

    #[test]
    fn failures_make_clusters_rarer_and_a_change_hurries_them() {
        let mut prober = Prober::new(0);
        let mut now = 0;
        for wait in [2_000_000, 3_000_000, 4_500_000, 6_000_000, 6_000_000] {
            probe(&mut prober, now, Bitrate::kbit(3000), Bitrate::kbit(1000));
            let due = prober.next_timeout(NONE, true).unwrap_or(0);
            assert!((wait..wait + 300_000).contains(&(due - now)), "{wait} {}", due - now);
            now = due;
        }
        // More than was known, if less than was asked for: it goes on soon.
        probe(&mut prober, now, Bitrate::kbit(3000), Bitrate::kbit(1500));
        let due = prober.next_timeout(NONE, true).unwrap_or(0);
        assert!((SOON_US..SOON_US + 300_000).contains(&(due - now)), "{}", due - now);
        now = due;
        prober.hurry(now - 1);
        assert_eq!(prober.next_timeout(NONE, true), Some(now - 1));
        assert_eq!(prober.next_timeout(NONE, false), None, "nothing is wanted");
    }

    #[test]
    fn a_cluster_that_cannot_be_sent_or_is_never_reported_is_given_up() {
        let mut prober = Prober::new(0);
        prober.handle_timeout(0, NONE, Some(Bitrate::kbit(3000)));
        assert_ne!(prober.cluster_id(), 0);
        prober.handle_timeout(250_000, NONE, None);
        assert_eq!((prober.cluster_id(), prober.poll_padding(250_000)), (0, 0));
        assert!(prober.disturbs(100_000) && !prober.disturbs(500_000));
        prober.handle_timeout(1_300_000, NONE, None);
        assert_eq!(prober.next_timeout(NONE, true), Some(3_300_000));
    }

    #[test]
    fn a_cluster_of_which_too_little_arrives_proves_nothing() {
        let mut prober = Prober::new(0);
        prober.handle_timeout(0, NONE, Some(Bitrate::kbit(1000)));
        for number in 0..8 {
            let packet = Packet { number, sent: number as i64, len: 1200, cluster: prober.cluster_id() };
            prober.handle_sent(number as i64, number, 1200);
            if number % 2 == 0 {
                prober.handle_arrival(&packet, number as i64);
            } else {
                prober.handle_lost(&packet);
            }
        }
        assert_eq!(prober.handle_reported(100, 8, KNOWN), Some(Outcome { proven: None, arrived: 0.5 }));
        assert_eq!(prober.next_timeout(NONE, true), Some(100 + MIN_INTERVAL_US));
    }

    #[test]
    fn a_cluster_whose_feedback_is_lost_is_sent_again_soon() {
        let mut prober = Prober::new(0);
        prober.handle_timeout(0, NONE, Some(Bitrate::kbit(1000)));
        (0..8).for_each(|number| prober.handle_sent(number as i64, number, 1200));
        assert_eq!(prober.handle_reported(100_000, 8, KNOWN), None);
        assert_eq!(prober.next_timeout(NONE, true), Some(100_000 + ASK_AGAIN_US));
    }
}
