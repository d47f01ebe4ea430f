#![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
use super::*;
use crate::rtcp::{self, Message, TransportCcRecorder};

const MS: Duration = Duration::from_millis(1);

/// A sender of steady packets and a receiver at the other end of a way that takes `way`.
struct Pair {
    now: Instant,
    bandwidth: Bandwidth,
    recorder: TransportCcRecorder,
    way: Bitrate,
    free: Instant,
    is_dark: bool,
    padded: usize,
    pads: bool,
    wakeups: usize,
}

impl Pair {
    fn new() -> Self {
        let now = Instant::now();
        let recorder = TransportCcRecorder::new(now);
        let bandwidth = Bandwidth::new(now);
        Self {
            now,
            bandwidth,
            recorder,
            way: Bitrate::kbit(20_000),
            free: now,
            is_dark: false,
            padded: 0,
            pads: true,
            wakeups: 0,
        }
    }

    fn send(&mut self, len: usize, what: Sent) {
        let number = self.bandwidth.handle_sent(self.now, len, what);
        if !self.is_dark {
            self.free = self.free.max(self.now) + self.way.time_for(len as u64);
            self.recorder.record(self.free + 20 * MS, 7, number);
        }
    }

    /// Sends at this rate for a time in packets of 1000 octets, with feedback every 100 ms.
    fn run(&mut self, rate: Bitrate, time: Duration) {
        let (end, mut owed) = (self.now + time, 0);
        let mut feedback = self.now + 100 * MS;
        while self.now < end {
            self.now += MS;
            owed += rate.octets_in(MS);
            if owed >= 1000 {
                owed -= 1000;
                self.send(1000, Sent::Media);
            }
            while self.bandwidth.next_timeout().is_some_and(|due| due <= self.now) {
                self.bandwidth.handle_timeout(self.now);
                let padding = self.bandwidth.poll_padding(self.now);
                self.padded += padding;
                self.wakeups += 1;
                let packets = if self.pads { padding.div_ceil(250) } else { 0 };
                (0..packets).for_each(|_| self.send(250, Sent::Padding));
            }
            if self.now >= feedback {
                feedback += 100 * MS;
                self.feedback();
            }
        }
    }

    fn feedback(&mut self) {
        while self.recorder.is_pending() {
            let mut compound = Vec::new();
            self.recorder.write(&mut compound, 1);
            self.handle(&compound);
        }
    }

    fn handle(&mut self, compound: &[u8]) {
        rtcp::read(compound, |message| match message {
            Message::TransportCc(feedback) => self.bandwidth.handle_transport_cc(self.now, &feedback),
            other => panic!("{other:?}"),
        });
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn what_is_wanted_is_found_by_padding_and_then_none_is_sent() {
    let mut pair = Pair::new();
    pair.bandwidth.set_wanted(pair.now, Bitrate::kbit(2540));
    pair.run(Bitrate::kbit(40), seconds(4));
    assert!(pair.bandwidth.estimate() >= Bitrate::kbit(2540), "{}", pair.bandwidth.estimate());
    let padded = std::mem::take(&mut pair.padded);
    assert!(padded > 10_000, "{padded}");
    pair.run(Bitrate::kbit(40), seconds(60));
    assert_eq!(pair.padded, 0);
    assert!(pair.bandwidth.estimate() >= Bitrate::kbit(2540));
}

#[test]
fn who_cannot_pad_is_not_woken_in_vain() {
    let mut pair = Pair::new();
    pair.pads = false;
    pair.bandwidth.set_wanted(pair.now, Bitrate::kbit(2540));
    pair.run(Bitrate::kbit(40), seconds(60));
    assert!(pair.padded > 0 && pair.bandwidth.estimate() == INITIAL, "{}", pair.bandwidth.estimate());
    assert!(pair.wakeups < 3000, "{}", pair.wakeups);
}

#[test]
fn nothing_is_probed_when_nothing_is_wanted() {
    let mut pair = Pair::new();
    pair.run(Bitrate::kbit(40), seconds(20));
    assert_eq!((pair.padded, pair.bandwidth.estimate()), (0, INITIAL));
}

#[test]
fn a_way_that_takes_less_is_noticed_by_its_queue() {
    let mut pair = Pair::new();
    pair.bandwidth.set_wanted(pair.now, Bitrate::kbit(2000));
    pair.run(Bitrate::kbit(2000), seconds(5));
    pair.way = Bitrate::kbit(1000);
    pair.run(Bitrate::kbit(2000), seconds(2));
    let estimate = pair.bandwidth.estimate();
    assert!(estimate < Bitrate::kbit(1050) && estimate > Bitrate::kbit(600), "{estimate}");
}

#[test]
fn feedback_that_stops_lowers_the_estimate_and_it_comes_back_quickly() {
    let mut pair = Pair::new();
    pair.bandwidth.set_wanted(pair.now, Bitrate::kbit(2540));
    pair.run(Bitrate::kbit(500), seconds(5));
    pair.is_dark = true;
    pair.run(Bitrate::kbit(500), seconds(4));
    assert!(pair.bandwidth.estimate() < Bitrate::kbit(200), "{}", pair.bandwidth.estimate());
    pair.is_dark = false;
    pair.run(Bitrate::kbit(100), seconds(1));
    assert!(pair.bandwidth.estimate() >= Bitrate::kbit(2000), "{}", pair.bandwidth.estimate());
    assert!(pair.bandwidth.loss() < 0.05, "the blackout is no congestion: {}", pair.bandwidth.loss());
}

#[test]
fn who_is_silent_since_nothing_is_sent_is_not_missed() {
    let mut pair = Pair::new();
    pair.bandwidth.set_wanted(pair.now, Bitrate::kbit(1000));
    pair.run(Bitrate::kbit(500), seconds(3));
    let before = pair.bandwidth.estimate();
    pair.bandwidth.set_wanted(pair.now, Bitrate::ZERO);
    pair.run(Bitrate::ZERO, seconds(60));
    assert_eq!(pair.bandwidth.estimate(), before);
    assert_eq!(pair.bandwidth.next_timeout(), None, "nothing to do, nothing to wake up for");
}

#[test]
fn a_receiver_that_says_nothing_gets_a_constant() {
    let mut pair = Pair::new();
    pair.is_dark = true;
    pair.bandwidth.set_wanted(pair.now, Bitrate::kbit(2540));
    assert_eq!(pair.bandwidth.estimate(), INITIAL);
    pair.run(Bitrate::kbit(300), seconds(60));
    assert_eq!((pair.bandwidth.estimate(), pair.padded), (UNTOLD, 0));
}

#[test]
fn a_receiver_with_reports_alone_gets_what_it_does_not_lose() {
    let mut pair = Pair::new();
    pair.is_dark = true;
    pair.bandwidth.set_wanted(pair.now, Bitrate::kbit(2540));
    for _ in 0..10 {
        pair.run(Bitrate::kbit(500), seconds(1));
        pair.bandwidth.handle_report(pair.now, 0, Some(50 * MS));
    }
    assert!(pair.bandwidth.estimate() >= Bitrate::kbit(2540), "{}", pair.bandwidth.estimate());
    assert_eq!(pair.bandwidth.round_trip(), Some(50 * MS));
    pair.run(Bitrate::kbit(2500), seconds(1));
    pair.bandwidth.handle_report(pair.now, 128, None);
    let estimate = pair.bandwidth.estimate();
    assert!(estimate < Bitrate::kbit(2000) && estimate > Bitrate::kbit(1500), "{estimate}");
    assert_eq!(pair.bandwidth.loss(), 0.5);
}

#[test]
fn a_remb_bounds_the_estimate_while_it_is_less_than_what_is_sent_and_expires() {
    let mut pair = Pair::new();
    pair.bandwidth.set_wanted(pair.now, Bitrate::kbit(2000));
    pair.run(Bitrate::kbit(500), seconds(5));
    pair.bandwidth.handle_remb(pair.now, Bitrate::kbit(900));
    assert!(pair.bandwidth.estimate() > Bitrate::kbit(1800), "its receiver has not been sent more");
    pair.bandwidth.handle_remb(pair.now, Bitrate::kbit(450));
    assert_eq!(pair.bandwidth.estimate(), Bitrate::kbit(450));
    pair.bandwidth.handle_remb(pair.now, Bitrate::kbit(900));
    assert_eq!(pair.bandwidth.estimate(), Bitrate::kbit(900), "it goes on to bound");
    pair.run(Bitrate::kbit(500), seconds(11));
    assert!(pair.bandwidth.estimate() > Bitrate::kbit(1800));
}

#[test]
fn late_repeated_and_lying_feedback_does_no_harm() {
    let mut pair = Pair::new();
    pair.bandwidth.set_wanted(pair.now, Bitrate::kbit(1000));
    pair.run(Bitrate::kbit(500), seconds(3));
    let number = pair.bandwidth.handle_sent(pair.now, 1000, Sent::Media);
    let mut recorder = TransportCcRecorder::new(pair.now);
    recorder.record(pair.now, 7, number);
    let mut compound = Vec::new();
    recorder.write(&mut compound, 1);
    (0..100).for_each(|_| pair.handle(&compound));
    // Any number, any count, any time, in statuses of all kinds.
    let mut random = 12_345u32;
    for _ in 0..10_000 {
        let mut next = || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 16) as u8
        };
        let mut lie = vec![0x8f, 205, 0, 9, 0, 0, 0, 1, 0, 0, 0, 7];
        lie.extend((0..28).map(|_| next()));
        lie[14] &= 1;
        pair.now += MS;
        let now = pair.now;
        rtcp::read(&lie, |message| {
            if let Message::TransportCc(feedback) = message {
                pair.bandwidth.handle_transport_cc(now, &feedback);
            }
        });
        pair.send(1000, Sent::Media);
        pair.bandwidth.handle_timeout(pair.now);
        assert!(pair.bandwidth.estimate() <= MAX_ESTIMATE && pair.bandwidth.estimate() >= MIN_ESTIMATE);
        assert!((0.0..=1.0).contains(&pair.bandwidth.loss()));
    }
}
