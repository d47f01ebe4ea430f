//! A thread that plays many participants: it sleeps until a socket has something, somebody wants to be called, or an order comes.
mod mailbox;
mod measured;

pub use mailbox::{Mailbox, Order};
pub use measured::{Measured, Outcome, Played, histogram};

use crate::clock;
use crate::link::Room;
use crate::node::Say;
use crate::participant::{Around, Participant, Spec};
use crate::run::Shared;
use crate::traffic::Window;
use anyhow::{Context as _, Result};
use mio::{Events, Poll, Registry, Token};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// So many participants of a thread are let in at a time: a fair is opened by a queue, not by a crowd.
const OPENING: usize = 16;
/// How long a server may take to let somebody in.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest sleep: marks of the window are noticed by then.
const MAX_SLEEP: Duration = Duration::from_millis(20);
/// A participant that is being called has no entry in the heap.
const UNSCHEDULED: Duration = Duration::from_secs(3600);
/// The first look at one that joins.
const OPENING_CHECK: Duration = Duration::from_millis(50);
const WAKER: Token = Token(usize::MAX);

struct Seat {
    participant: Participant,
    /// The earliest entry in the heap.
    scheduled: Instant,
    /// It has got in, and was counted.
    opened: bool,
    /// All that it sends flows, and was counted.
    ready: bool,
}

/// What surrounds all participants of a thread.
struct Stage {
    number: usize,
    shared: Arc<Shared>,
    node: mpsc::Sender<Say>,
    measured: Measured,
}

impl Stage {
    /// What surrounds the one in this place.
    fn around(&mut self, slot: u32, window: Window) -> Around<'_> {
        let Self { number, shared, node, measured } = self;
        Around { player: *number, slot, shared, node, window, measured }
    }
}

/// The thread.
pub struct Player {
    poll: Poll,
    orders: Receiver<Order>,
    stage: Stage,
    seats: Vec<Option<Box<Seat>>>,
    waiting: VecDeque<Spec>,
    opening: usize,
    heap: BinaryHeap<Reverse<(Instant, u32)>>,
    /// Sockets that had more than was read of them.
    again: VecDeque<u32>,
    room: Room,
    played: Vec<Played>,
}

impl Player {
    /// Starts a thread; returns where to put its orders.
    pub fn start(
        number: usize,
        shared: Arc<Shared>,
        node: mpsc::Sender<Say>,
    ) -> Result<(JoinHandle<Result<Outcome>>, Mailbox)> {
        let poll = Poll::new()?;
        let (mailbox, inbox) = Mailbox::new(poll.registry(), WAKER)?;
        let measured = Measured::new()?;
        let play = move || {
            let player = Self {
                poll,
                orders: inbox,
                stage: Stage { number, shared, node, measured },
                seats: Vec::new(),
                waiting: VecDeque::new(),
                opening: 0,
                heap: BinaryHeap::new(),
                again: VecDeque::new(),
                room: Room::default(),
                played: Vec::new(),
            };
            player.run()
        };
        Ok((std::thread::Builder::new().name(format!("player-{number}")).spawn(play)?, mailbox))
    }

    /// Plays until it is told to end.
    fn run(mut self) -> Result<Outcome> {
        let mut events = Events::with_capacity(1024);
        let (mut at_start, mut at_end) = (None, None);
        loop {
            let now = Instant::now();
            let next = self.heap.peek().map_or(now + MAX_SLEEP, |Reverse((at, _))| *at);
            let sleep =
                if self.again.is_empty() { next.saturating_duration_since(now).min(MAX_SLEEP) } else { Duration::ZERO };
            match self.poll.poll(&mut events, Some(sleep)) {
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => return Err(error).context("epoll"),
                _ => {}
            }
            let window = self.stage.shared.window();
            let nanos = clock::nanos(Instant::now());
            if at_start.is_none() && nanos >= window.start {
                at_start = Some(clock::thread_cpu());
            }
            if at_end.is_none() && nanos >= window.end {
                at_end = Some(clock::thread_cpu());
            }
            for slot in std::mem::take(&mut self.again) {
                self.receive(slot, window);
            }
            for event in &events {
                if let Ok(slot) = u32::try_from(event.token().0) {
                    self.receive(slot, window);
                }
            }
            while let Ok(order) = self.orders.try_recv() {
                if matches!(order, Order::End) {
                    self.end(window);
                    let cpu = at_end.unwrap_or_default().saturating_sub(at_start.unwrap_or_default());
                    return Ok(Outcome { measured: self.stage.measured, played: self.played, cpu });
                }
                self.obey(order, window);
            }
            self.call_due(window);
            self.let_in(window);
            self.stage.shared.delivered(std::mem::take(&mut self.stage.measured.fresh));
        }
    }

    fn receive(&mut self, slot: u32, window: Window) {
        let more =
            self.with(slot, window, |participant, turn| participant.receive(turn.now, turn.room, &mut turn.around));
        if more == Some(true) {
            self.again.push_back(slot);
        }
    }

    fn obey(&mut self, order: Order, window: Window) {
        match order {
            Order::Join(spec) => self.waiting.push_back(*spec),
            Order::Heard { slot, message } => {
                self.with(slot, window, |participant, turn| {
                    participant.signalled(turn.now, message, turn.registry, &mut turn.around)
                });
            }
            Order::Churn => self.churn(window),
            Order::End => {}
        }
    }

    /// Everybody who wants to be called by now.
    fn call_due(&mut self, window: Window) {
        let now = Instant::now();
        while let Some(Reverse((at, slot))) = self.heap.peek().copied() {
            if at > now {
                return;
            }
            self.heap.pop();
            let Some(seat) = self.seats.get_mut(slot as usize).and_then(Option::as_mut) else { continue };
            // An entry that an earlier one has replaced.
            if seat.scheduled != at {
                continue;
            }
            let wake = seat.participant.wake_at();
            if wake > now {
                seat.scheduled = wake;
                self.heap.push(Reverse((wake, slot)));
                continue;
            }
            seat.scheduled = now + UNSCHEDULED;
            self.with(slot, window, |participant, turn| participant.timeout(turn.now, &mut turn.around));
        }
    }

    /// Lets those in who wait, a few at a time.
    fn let_in(&mut self, window: Window) {
        while self.opening < OPENING {
            let Some(spec) = self.waiting.pop_front() else { return };
            let Ok(slot) = u32::try_from(self.seats.len()) else { return };
            let now = Instant::now();
            let around = self.stage.around(slot, window);
            match Participant::join(spec, now, self.poll.registry(), &around) {
                Ok(participant) => {
                    let scheduled = now + OPENING_CHECK;
                    let seat = Seat { participant, scheduled, opened: false, ready: false };
                    self.seats.push(Some(Box::new(seat)));
                    self.heap.push(Reverse((scheduled, slot)));
                    self.opening += 1;
                }
                Err(error) => {
                    self.seats.push(None);
                    self.stage.shared.fail(format!("{error:#}"));
                }
            }
        }
    }

    /// Does something with a participant, and what follows from it.
    fn with<T>(
        &mut self,
        slot: u32,
        window: Window,
        act: impl FnOnce(&mut Participant, &mut Turn<'_>) -> Result<T>,
    ) -> Option<T> {
        let mut seat = self.seats.get_mut(slot as usize)?.take()?;
        let now = Instant::now();
        let around = self.stage.around(slot, window);
        let mut turn = Turn { now, registry: self.poll.registry(), room: &mut self.room, around };
        let result = act(&mut seat.participant, &mut turn);
        let core = &seat.participant.core;
        if !seat.opened && core.open_at.is_some() {
            seat.opened = true;
            self.opening -= 1;
            self.stage.shared.opened(1);
        }
        if !seat.ready && core.publishing {
            seat.ready = true;
            self.stage.shared.ready(1);
        }
        let lost = match &result {
            Err(error) => Some(format!("{error:#}")),
            Ok(_) if core.closed => Some("the server ended the session; its log says why".to_owned()),
            Ok(_) if !core.is_alive() => Some("the connection to the media port ended".to_owned()),
            Ok(_) if !seat.opened && now - core.joined_at > PATIENCE => Some(format!(
                "no data channel {} s after the join: does the media port answer ({}, `rtcd check`)?",
                PATIENCE.as_secs(),
                if core.spec.tcp { "TCP" } else { "UDP" }
            )),
            Ok(_) if !seat.ready && core.open_at.is_some_and(|at| now - at > PATIENCE) => {
                Some(format!("it may not send after {} s: {}", PATIENCE.as_secs(), core.waits_for()))
            }
            Ok(_) => None,
        };
        if let Some(reason) = lost {
            self.stage.shared.fail(format!("{}: {reason}", core.spec.who.session_id));
            self.stand_up(*seat, window);
            return None;
        }
        let wake = seat.participant.wake_at();
        if wake < seat.scheduled {
            seat.scheduled = wake;
            self.heap.push(Reverse((wake, slot)));
        }
        self.seats[slot as usize] = Some(seat);
        result.ok()
    }

    /// Somebody is not there any more; what was heard remains.
    fn stand_up(&mut self, mut seat: Seat, window: Window) {
        let around = self.stage.around(0, window);
        // Where nothing more can be said there is nobody to say it to.
        let _ = seat.participant.leave(self.poll.registry(), &around);
        if !seat.opened {
            self.opening -= 1;
        }
        let core = seat.participant.core;
        let here = |nanos: u64| core.open_at.is_some_and(|at| clock::nanos(at) <= nanos);
        self.played.push(Played {
            call: core.spec.call,
            number: core.spec.number,
            sent: core.sources.iter().map(|source| (source.key, source.sent)).collect(),
            skipped: core.sources.iter().map(|source| source.skipped).sum(),
            tally: core.tally,
            whole: here(window.start) && clock::nanos(Instant::now()) >= window.end,
        });
    }

    fn churn(&mut self, window: Window) {
        let listens = |seat: &Seat| seat.opened && seat.participant.core.spec.sections.is_empty();
        let found = self.seats.iter_mut().find(|seat| seat.as_deref().is_some_and(listens));
        let Some(seat) = found.and_then(Option::take) else { return };
        let spec = seat.participant.core.spec.clone();
        self.stand_up(*seat, window);
        self.waiting.push_back(self.stage.shared.successor(&spec));
    }

    fn end(&mut self, window: Window) {
        for seat in std::mem::take(&mut self.seats).into_iter().flatten() {
            self.stand_up(*seat, window);
        }
    }
}

/// What a participant needs when it is its turn.
struct Turn<'a> {
    now: Instant,
    registry: &'a Registry,
    room: &'a mut Room,
    around: Around<'a>,
}
