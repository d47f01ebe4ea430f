//! Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01): we tell a sender
//! when each of its packets arrived, so that it can find out how much it may send.
use super::write::{finish, start};
use super::{FMT_TRANSPORT_CC, TRANSPORT_FEEDBACK};
use crate::footprint::{Footprint, flat};
use crate::handover::Age;
use crate::rtp::Ssrc;
use serde::{Deserialize, Serialize};
use serde_with::serde_as;
use std::time::{Duration, Instant};

/// How often feedback goes out. Senders expect 50 to 250 ms.
pub const INTERVAL: Duration = Duration::from_millis(100);
/// Packets that one feedback may span: 100 ms at 10,000 packets/s. What lies further ahead starts anew.
const MAX_SPAN: u64 = 1000;
/// Unit of the reference time: 64 ms.
const REFERENCE_UNIT_US: i64 = 64_000;
/// Unit of a delta: 250 us.
const DELTA_UNIT_US: i64 = 250;
/// Bytes of deltas in one feedback packet: with 1000 statuses in 286 bytes it stays below 1100. The rest goes into another.
const MAX_DELTAS: usize = 700;
/// Symbols in one two-bit status vector chunk.
const SYMBOLS: usize = 7;

/// Arrivals since the last feedback.
#[serde_as]
#[derive(Debug, Serialize, Deserialize)]
pub struct TransportCcRecorder {
    #[serde_as(as = "Age")]
    epoch: Instant,
    /// Extended sequence number and arrival in microseconds since `epoch`, ascending by number.
    arrivals: Vec<(u64, i64)>,
    /// Extended number of the newest packet ever seen.
    newest: Option<u64>,
    /// First number that the next feedback reports.
    next: u64,
    feedback_count: u8,
    /// A stream of the sender's, as the feedback must name one.
    media: Ssrc,
    /// Nobody knows when packets that are read before this have arrived.
    #[serde(skip)]
    unknown_until: Option<Instant>,
}

impl TransportCcRecorder {
    /// A recorder whose times count from `epoch`.
    pub fn new(epoch: Instant) -> Self {
        Self { epoch, arrivals: Vec::new(), newest: None, next: 0, feedback_count: 0, media: 0, unknown_until: None }
    }

    /// Packets that are read before `until` have lain there while nobody read: they are in no feedback, neither received nor
    /// lost. Their sender would take the burst for a queue that has grown on the way.
    pub fn pass_over(&mut self, until: Instant) {
        self.unknown_until = Some(until);
    }

    /// A packet with a transport-wide number has arrived.
    pub fn record(&mut self, now: Instant, media: Ssrc, number: u16) {
        let extended = match self.newest {
            // Room below for packets that arrive before the first one in order.
            None => u64::from(number) + (1 << 16),
            Some(newest) => newest.saturating_add_signed(i64::from(number.wrapping_sub(newest as u16) as i16)),
        };
        let newest = self.newest.unwrap_or(extended);
        if self.newest.is_none() || extended > newest + MAX_SPAN {
            // The beginning, or a gap that nobody wants reported packet by packet.
            self.arrivals.clear();
            self.next = extended;
        }
        let newest = newest.max(extended);
        self.newest = Some(newest);
        self.next = self.next.max(newest.saturating_sub(MAX_SPAN));
        let too_old = self.arrivals.partition_point(|(known, _)| *known < self.next);
        self.arrivals.drain(..too_old);
        self.media = media;
        if self.unknown_until.is_some_and(|until| now < until) {
            self.arrivals.clear();
            self.next = newest + 1;
        }
        if extended < self.next {
            return;
        }
        let at = now.saturating_duration_since(self.epoch).as_micros() as i64;
        let place = self.arrivals.partition_point(|(known, _)| *known < extended);
        if self.arrivals.get(place).is_none_or(|(known, _)| *known != extended) {
            self.arrivals.insert(place, (extended, at));
        }
    }

    /// Whether there is something to report.
    pub fn is_pending(&self) -> bool {
        !self.arrivals.is_empty()
    }

    /// Appends one feedback packet on what has arrived since the last one; nothing when nothing has. Call it until nothing
    /// [is pending](Self::is_pending).
    pub fn write(&mut self, out: &mut Vec<u8>, sender: Ssrc) {
        let Some((_, first_at)) = self.arrivals.first().copied() else { return };
        // Everything between the last feedback and the newest arrival is reported, the missing ones as lost.
        let base = self.next;
        let reference = first_at / REFERENCE_UNIT_US;
        let mut statuses = Vec::new();
        let mut deltas = Vec::new();
        let mut clock = reference * REFERENCE_UNIT_US;
        let mut expected = base;
        let mut reported = 0;
        for (number, at) in &self.arrivals {
            let delta = (at - clock).div_euclid(DELTA_UNIT_US);
            let Ok(wide) = i16::try_from(delta) else { break };
            if deltas.len() >= MAX_DELTAS {
                break;
            }
            statuses.extend(std::iter::repeat_n(0u16, (number - expected) as usize));
            if let Ok(narrow) = u8::try_from(delta) {
                statuses.push(1);
                deltas.push(narrow);
            } else {
                statuses.push(2);
                deltas.extend(wide.to_be_bytes());
            }
            clock += delta * DELTA_UNIT_US;
            expected = number + 1;
            reported += 1;
        }
        self.arrivals.drain(..reported);
        self.next = expected;

        let at = start(out, FMT_TRANSPORT_CC, TRANSPORT_FEEDBACK);
        out.extend(sender.to_be_bytes());
        out.extend(self.media.to_be_bytes());
        out.extend((base as u16).to_be_bytes());
        out.extend((statuses.len() as u16).to_be_bytes());
        out.extend(&(reference as u32).to_be_bytes()[1..]);
        out.push(self.feedback_count);
        self.feedback_count = self.feedback_count.wrapping_add(1);
        for symbols in statuses.chunks(SYMBOLS) {
            // Two-bit status vector: 1, 1, then seven symbols, the first one highest.
            let vector = symbols.iter().enumerate().fold(0xc000, |word, (at, symbol)| word | symbol << (12 - 2 * at));
            out.extend(vector.to_be_bytes());
        }
        out.extend(deltas);
        finish(out, at);
    }
}

impl Footprint for TransportCcRecorder {
    fn heap_bytes(&self) -> usize {
        flat(&self.arrivals)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    use super::*;

    #[test]
    fn arrivals_and_gaps_are_reported() {
        let epoch = Instant::now();
        let mut recorder = TransportCcRecorder::new(epoch);
        for (number, ms) in [(65_535u16, 64u64), (0, 65), (3, 66), (2, 200)] {
            recorder.record(epoch + Duration::from_millis(ms), 7, number);
        }
        let mut out = Vec::new();
        recorder.write(&mut out, 1);
        assert_eq!(out[..8], [0x8f, 205, 0, 6, 0, 0, 0, 1]);
        assert_eq!(out[12..20], [0xff, 0xff, 0, 5, 0, 0, 1, 0], "base, count, reference of 64 ms, feedback 0");
        // Received small, received small, lost, received large (2), received large and negative (3).
        assert_eq!(u16::from_be_bytes([out[20], out[21]]), 0b11_01_01_00_10_10_00_00);
        assert_eq!(out[22..28], [0, 4, 2, 28, 0xfd, 0xe8], "0, 1 ms, 135 ms, -134 ms");
        assert!(!recorder.is_pending());
    }

    #[test]
    fn what_was_lost_between_two_feedbacks_is_reported_by_the_second() {
        let epoch = Instant::now();
        let mut recorder = TransportCcRecorder::new(epoch);
        let mut out = Vec::new();
        recorder.record(epoch, 7, 10);
        recorder.write(&mut out, 1);
        out.clear();
        recorder.record(epoch, 7, 12);
        recorder.write(&mut out, 1);
        assert_eq!(out[12..16], [0, 11, 0, 2]);
        assert_eq!(out[19], 1, "the second feedback");
    }

    #[test]
    fn what_has_lain_there_unread_is_in_no_feedback_and_what_follows_begins_one() {
        let epoch = Instant::now();
        let at = |ms| epoch + Duration::from_millis(ms);
        let mut recorder = TransportCcRecorder::new(epoch);
        recorder.record(at(0), 7, 10);
        recorder.pass_over(at(330));
        for number in 11..40 {
            recorder.record(at(300), 7, number);
        }
        let mut out = Vec::new();
        recorder.write(&mut out, 1);
        assert!(out.is_empty() && !recorder.is_pending());
        recorder.record(at(340), 7, 41);
        recorder.record(at(341), 7, 39);
        recorder.write(&mut out, 1);
        assert_eq!(out[12..16], [0, 40, 0, 2], "40 is missing, 41 has come; 39 is late and nobody's");
    }

    #[test]
    fn a_jump_and_a_flood_stay_bounded() {
        let epoch = Instant::now();
        let mut recorder = TransportCcRecorder::new(epoch);
        for number in 0..60_000u32 {
            recorder.record(epoch, 7, number.wrapping_mul(977) as u16);
        }
        assert!(recorder.arrivals.len() <= MAX_SPAN as usize);
        let mut out = Vec::new();
        recorder.write(&mut out, 1);
        assert!(out.len() < 4096);
    }
}
