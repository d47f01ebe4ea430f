//! What we know of one incoming stream: statistics for receiver reports, and the packets to ask for again.
use crate::footprint::{Footprint, flat};
use crate::handover::Age;
use crate::rtcp::{ReportBlock, SenderInfo};
use crate::rtp::{SeqNo, Ssrc};
use crate::sfu::Epoch;
use serde::{Deserialize, Serialize};
use serde_with::serde_as;
use std::time::{Duration, Instant};

/// Missing packets that are asked for; beyond it a key frame is the better cure.
const MAX_MISSING: usize = 128;
/// How often one packet is asked for.
const MAX_ASKS: u8 = 8;
/// Requests without an answer after which a key frame is asked for beside them.
const HOPELESS_AFTER: u8 = 2;
/// A hole is given this long to be a mere reordering.
const REORDERING: Duration = Duration::from_millis(10);

/// How long an answer to a NACK takes: the round trip to the sender and what its pacer adds, smoothed as TCP does
/// (RFC 6298, section 2). A packet that was asked for more than once tells nothing (section 3).
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct AnswerTime {
    /// Mean and deviation.
    smoothed: Option<(Duration, Duration)>,
}

impl AnswerTime {
    /// Until the first answer has come: a long way, but not the longest.
    const UNKNOWN: Duration = Duration::from_millis(120);
    /// Of a round trip of nothing, and of one that a call can hardly be held over.
    const LIMITS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(600));

    /// An answer has come after so long.
    pub fn sample(&mut self, took: Duration) {
        let (mean, deviation) = self.smoothed.unwrap_or((took, took / 2));
        self.smoothed = Some((mean * 7 / 8 + took / 8, deviation * 3 / 4 + mean.abs_diff(took) / 4));
    }

    /// When there is no point in waiting for the answer any longer.
    pub fn patience(&self) -> Duration {
        let (least, most) = Self::LIMITS;
        self.smoothed.map_or(Self::UNKNOWN, |(mean, deviation)| (mean + deviation * 2).clamp(least, most))
    }
}

/// The last sender report of a stream and when it came: maps the stream's clock to the sender's NTP time.
#[serde_as]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClockReference {
    /// What the sender said.
    pub info: SenderInfo,
    /// When we heard it.
    #[serde_as(as = "Age")]
    pub at: Instant,
    /// The stream whose clock it is.
    pub epoch: Epoch,
}

/// Reception of one stream.
#[serde_as]
#[derive(Debug, Serialize, Deserialize)]
pub struct Reception {
    ssrc: Ssrc,
    stream: Epoch,
    clock_rate: u32,
    /// Extended number of the first packet and of the newest.
    range: Option<(SeqNo, SeqNo)>,
    received: u64,
    /// Received and expected at the last report (RFC 3550, appendix A.3).
    reported: (u64, u64),
    /// Jitter in ticks of the clock, times 16 (RFC 3550, appendix A.8).
    jitter_16: u32,
    last_transit: Option<i64>,
    #[serde_as(as = "Age")]
    epoch: Instant,
    clock: Option<ClockReference>,
    asks: Option<Missing>,
}

/// Packets to ask for, in ascending order.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Missing(Vec<Ask>);

#[serde_as]
#[derive(Debug, Serialize, Deserialize)]
struct Ask {
    seq: SeqNo,
    asked: u8,
    #[serde_as(as = "Age")]
    due: Instant,
    /// When it was asked for last.
    #[serde_as(as = "Age")]
    last: Instant,
}

/// What the arrival of a packet means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// It is the stream's first packet.
    pub first: bool,
    /// More was lost at once than can be asked for: a key frame is needed.
    pub unrepairable: bool,
    /// It had been asked for once, so long ago.
    pub answered: Option<Duration>,
}

impl Reception {
    /// A stream that begins at `now`; `nack` says whether missing packets are asked for.
    pub fn new(ssrc: Ssrc, stream: Epoch, clock_rate: u32, nack: bool, now: Instant) -> Self {
        Self {
            ssrc,
            stream,
            clock_rate,
            range: None,
            received: 0,
            reported: (0, 0),
            jitter_16: 0,
            last_transit: None,
            epoch: now,
            clock: None,
            asks: nack.then(Missing::default),
        }
    }

    /// The stream.
    pub fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// Ticks a second.
    pub(super) fn clock_rate(&self) -> u32 {
        self.clock_rate
    }

    /// Whether missing packets are asked for.
    pub(super) fn asks_for_missing(&self) -> bool {
        self.asks.is_some()
    }

    /// Packets received so far, and those that should have been.
    pub fn packets(&self) -> (u64, u64) {
        (self.received, self.range.map_or(0, |(first, newest)| newest.0 - first.0 + 1))
    }

    /// Variation of the times between packets (RFC 3550, section 6.4.1).
    pub fn jitter(&self) -> Duration {
        let ticks = u64::from(self.jitter_16 >> 4);
        Duration::from_micros((ticks * 1_000_000).checked_div(u64::from(self.clock_rate)).unwrap_or(0))
    }

    /// Which of the streams of its layer it is.
    pub fn epoch(&self) -> Epoch {
        self.stream
    }

    /// A new packet (never a replayed one) has arrived.
    pub fn handle_packet(&mut self, now: Instant, seq: SeqNo, timestamp: u32) -> Arrival {
        self.received += 1;
        let Some((first, newest)) = self.range else {
            self.range = Some((seq, seq));
            self.update_jitter(now, timestamp);
            return Arrival { first: true, unrepairable: false, answered: None };
        };
        if seq <= newest {
            self.range = Some((first.min(seq), newest));
            let answered = self.asks.as_mut().and_then(|Missing(asks)| {
                let at = asks.iter().position(|ask| ask.seq == seq)?;
                let ask = asks.remove(at);
                (ask.asked == 1).then(|| now.saturating_duration_since(ask.last))
            });
            return Arrival { first: false, unrepairable: false, answered };
        }
        self.range = Some((first, seq));
        self.update_jitter(now, timestamp);
        Arrival { first: false, unrepairable: self.note_gap(now, newest, seq), answered: None }
    }

    fn note_gap(&mut self, now: Instant, newest: SeqNo, seq: SeqNo) -> bool {
        let Some(Missing(asks)) = &mut self.asks else { return false };
        let hole = (seq.0 - newest.0 - 1) as usize;
        if hole + asks.len() > MAX_MISSING {
            asks.clear();
            return true;
        }
        let ask = |seq| Ask { seq: SeqNo(seq), asked: 0, due: now + REORDERING, last: now };
        asks.extend((newest.0 + 1..seq.0).map(ask));
        false
    }

    fn update_jitter(&mut self, now: Instant, timestamp: u32) {
        let elapsed = now.saturating_duration_since(self.epoch).as_micros() as i64;
        let arrival = elapsed * i64::from(self.clock_rate) / 1_000_000;
        let transit = arrival - i64::from(timestamp);
        if let Some(last) = self.last_transit {
            // The difference wraps with the timestamp.
            let difference = (transit - last) as i32;
            let magnitude = difference.unsigned_abs().min(self.clock_rate);
            self.jitter_16 = self.jitter_16.saturating_add(magnitude).saturating_sub((self.jitter_16 + 8) >> 4);
        }
        self.last_transit = Some(transit);
    }

    /// The packets to ask for now, at most `MAX_MISSING`, ascending; appended to `out`. `answers`: how long an answer
    /// takes. Returns whether one of them has been asked for in vain so often that a key frame is needed beside.
    pub fn poll_missing(&mut self, now: Instant, answers: &AnswerTime, out: &mut Vec<u16>) -> bool {
        let Some(Missing(asks)) = &mut self.asks else { return false };
        let mut hopeless = false;
        asks.retain_mut(|ask| {
            if ask.due > now {
                return true;
            }
            hopeless |= ask.asked == HOPELESS_AFTER;
            ask.asked += 1;
            ask.due = now + answers.patience();
            ask.last = now;
            out.push(ask.seq.wire());
            ask.asked < MAX_ASKS
        });
        hopeless
    }

    /// When [`poll_missing`](Self::poll_missing) has something next.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.asks.as_ref()?.0.iter().map(|ask| ask.due).min()
    }

    /// The sender has told its clock.
    pub fn handle_sender_info(&mut self, now: Instant, info: SenderInfo) {
        self.clock = Some(ClockReference { info, at: now, epoch: self.stream });
    }

    /// The sender's clock, once it has told.
    pub fn clock(&self) -> Option<ClockReference> {
        self.clock
    }

    /// The report on what has come since the last one; `None` before the first packet.
    pub fn report(&mut self, now: Instant) -> Option<ReportBlock> {
        let (first, newest) = self.range?;
        let expected = newest.0 - first.0 + 1;
        let (received_before, expected_before) = self.reported;
        let expected_since = expected.saturating_sub(expected_before);
        let received_since = self.received.saturating_sub(received_before);
        let lost_since = expected_since.saturating_sub(received_since);
        self.reported = (self.received, expected);
        let fraction_lost = (lost_since * 256).checked_div(expected_since).unwrap_or(0).min(255) as u8;
        let since_sr = self.clock.map(|clock| now.saturating_duration_since(clock.at));
        Some(ReportBlock {
            ssrc: self.ssrc,
            fraction_lost,
            cumulative_lost: (expected as i64 - self.received as i64).clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest: newest.0 as u32,
            jitter: self.jitter_16 >> 4,
            last_sr: self.clock.map_or(0, |clock| (clock.info.ntp >> 16) as u32),
            delay_since_last_sr: since_sr.map_or(0, |since| (since.as_micros() * 65_536 / 1_000_000) as u32),
        })
    }
}

impl Footprint for Reception {
    fn heap_bytes(&self) -> usize {
        self.asks.as_ref().map_or(0, |Missing(asks)| flat(asks))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    use super::*;

    fn reception(now: Instant) -> Reception {
        Reception::new(7, Epoch(0), 90_000, true, now)
    }

    fn missing(reception: &mut Reception, now: Instant) -> Vec<u16> {
        let mut out = Vec::new();
        reception.poll_missing(now, &AnswerTime::default(), &mut out);
        out
    }

    #[test]
    fn a_hole_is_asked_for_after_a_moment_again_later_and_not_for_ever() {
        let now = Instant::now();
        let mut reception = reception(now);
        for seq in [10, 11, 14] {
            reception.handle_packet(now, SeqNo(seq), 0);
        }
        assert_eq!(missing(&mut reception, now), [0u16; 0], "it may be mere reordering");
        let mut later = now + REORDERING;
        assert_eq!(missing(&mut reception, later), [12, 13]);
        assert_eq!(missing(&mut reception, later), [0u16; 0]);
        reception.handle_packet(later, SeqNo(13), 0);
        for _ in 1..MAX_ASKS {
            later += AnswerTime::UNKNOWN;
            assert_eq!(missing(&mut reception, later), [12]);
        }
        assert_eq!(reception.next_timeout(), None);
    }

    #[test]
    fn requests_follow_the_time_that_answers_take_and_two_in_vain_call_for_a_key_frame() {
        let now = Instant::now();
        let (mut reception, mut answers) = (reception(now), AnswerTime::default());
        let mut out = Vec::new();
        let ms = Duration::from_millis;
        for at in 0..20 {
            reception.handle_packet(now, SeqNo(10 + 2 * at), 0);
            let asked = now + REORDERING;
            reception.poll_missing(asked, &answers, &mut out);
            if at > 0 {
                let arrival = reception.handle_packet(asked + ms(40), SeqNo(9 + 2 * at), 0);
                answers.sample(arrival.answered.expect("asked for once"));
            }
        }
        assert!((ms(40)..ms(50)).contains(&answers.patience()), "{:?}", answers.patience());
        reception.handle_packet(now, SeqNo(100), 0);
        let mut later = now + REORDERING;
        assert!(!reception.poll_missing(later, &answers, &mut out));
        assert_eq!(reception.next_timeout(), Some(later + answers.patience()));
        later += answers.patience();
        assert!(!reception.poll_missing(later, &answers, &mut out), "asked for twice, and it may be answered yet");
        assert!(reception.handle_packet(later + ms(1), SeqNo(99), 0).answered.is_none(), "to which of both?");
        later += answers.patience();
        assert!(reception.poll_missing(later, &answers, &mut out));
    }

    #[test]
    fn a_hole_too_large_calls_for_a_key_frame() {
        let now = Instant::now();
        let mut reception = reception(now);
        reception.handle_packet(now, SeqNo(1), 0);
        assert!(reception.handle_packet(now, SeqNo(500), 0).unrepairable);
        assert_eq!(reception.next_timeout(), None);
    }

    #[test]
    fn the_report_tells_loss_since_the_last_one_and_in_all() {
        let now = Instant::now();
        let mut reception = reception(now);
        assert_eq!(reception.report(now), None);
        for seq in (0..100).filter(|seq| seq % 4 != 3) {
            reception.handle_packet(now, SeqNo(65_500 + seq), 0);
        }
        let report = reception.report(now).expect("packets have come");
        assert_eq!((report.fraction_lost, report.cumulative_lost), (62, 24), "24 of 99");
        assert_eq!(report.highest, 65_598, "with the roll-over");
        reception.handle_packet(now, SeqNo(65_599), 0);
        assert_eq!(reception.report(now).map(|report| report.fraction_lost), Some(0));
    }

    #[test]
    fn steady_arrivals_have_no_jitter_and_uneven_ones_do() {
        let now = Instant::now();
        let (mut steady, mut uneven) = (reception(now), reception(now));
        for at in 0..100u32 {
            let arrival = now + Duration::from_millis(u64::from(at) * 20);
            steady.handle_packet(arrival, SeqNo(u64::from(at)), at * 1800);
            let late = Duration::from_millis(if at % 2 == 0 { 10 } else { 0 });
            uneven.handle_packet(arrival + late, SeqNo(u64::from(at)), at * 1800);
        }
        assert_eq!(steady.report(now).map(|report| report.jitter), Some(0));
        let jitter = uneven.report(now).map_or(0, |report| report.jitter);
        assert!((800..=900).contains(&jitter), "10 ms are 900 ticks: {jitter}");
    }

    #[test]
    fn the_delay_since_the_last_sender_report_is_told() {
        let now = Instant::now();
        let mut reception = reception(now);
        reception.handle_packet(now, SeqNo(1), 0);
        let info = SenderInfo { ssrc: 7, ntp: 0x1122_3344_5566_7788, rtp: 0, packets: 1, octets: 1 };
        reception.handle_sender_info(now, info);
        let report = reception.report(now + Duration::from_millis(500)).expect("a packet has come");
        assert_eq!((report.last_sr, report.delay_since_last_sr), (0x3344_5566, 32_768));
    }
}
