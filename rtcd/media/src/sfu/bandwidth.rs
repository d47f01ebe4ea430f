//! How much one receiver can be sent, estimated from what it reports (draft-ietf-rmcat-gcc-02, with what became of it in
//! libwebrtc): the delays of packets with transport-wide numbers (`groups`, `trendline`, `rate_control`), losses
//! (`loss`), and short bursts of padding when more is wanted than is known to fit (`probe`). A receiver that knows no
//! such numbers is judged by its receiver reports (`reports`), and none is sent more than its REMB allows.
mod bitrate;
mod cluster;
mod feedback;
mod groups;
mod least;
mod loss;
mod probe;
mod rate_control;
mod remb;
mod reports;
mod sent;
mod trendline;
mod window;

pub use bitrate::Bitrate;

use crate::footprint::Footprint;
use crate::handover::Age;
use groups::Groups;
use least::LeastRoundTrip;
use loss::LossControl;
use probe::Prober;
use rate_control::RateControl;
use remb::RembBound;
use reports::ReportControl;
use sent::SentPackets;
use serde::{Deserialize, Serialize};
use serde_with::serde_as;
use std::time::{Duration, Instant};
use trendline::{Trendline, Usage};
use window::RateWindow;

/// Where every receiver begins: voice and some pictures.
pub const INITIAL: Bitrate = Bitrate::kbit(300);
/// What a receiver gets that does not say what arrives: what everybody gets, until it reports losses.
pub const UNTOLD: Bitrate = Bitrate::kbit(10_000);
/// Bounds of any estimate. Below is less than voice, above more than a call has.
const MIN_ESTIMATE: Bitrate = Bitrate::kbit(50);
const MAX_ESTIMATE: Bitrate = Bitrate::kbit(50_000);
/// From the first packet on a receiver has this long to send its first feedback.
const SILENT_AT_FIRST_US: i64 = 2_000_000;
/// Feedback that is missing for this long, besides two round trips, is missed. Receivers send it every 50 to 250 ms.
const SILENCE_US: i64 = 500_000;
/// Packets that must have gone out since.
const SILENCE_PACKETS: u64 = 5;
/// Then the estimate falls to this part, which no layer is left for: it may be the feedback that is lost. Then it is halved,
/// this often.
const FIRST_FALL: f64 = 0.8;
const HALVING_US: i64 = 500_000;
/// Probing goes so far beyond what is wanted, that the estimate may be wrong by that much, and no further.
const PROBE_BEYOND: f64 = 1.2;
/// A cluster asks for so many times the estimate, the first one for more.
const PROBE_STEP: f64 = 2.0;
const FIRST_PROBE_STEP: f64 = 3.0;
/// What is wanted must grow by this factor to be news.
const WANTS_MORE: f64 = 1.1;
/// Before anything is known of it.
const UNKNOWN_ROUND_TRIP: Duration = Duration::from_millis(100);

/// What a packet is sent for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// Somebody's sound or picture.
    Media,
    /// The receiver has missed it.
    Retransmission,
    /// To probe.
    Padding,
}

/// The estimate before feedback stopped, and how often it has been halved since.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Silence {
    before: Bitrate,
    halved: i64,
}

/// The bandwidth towards one receiver.
///
/// Tell it of each packet, whether or not its number travels in it, and of all feedback; call [`handle_timeout`](Self::handle_timeout)
/// when the time of [`next_timeout`](Self::next_timeout) has come, and then [`poll_padding`](Self::poll_padding). Its
/// memory grows with what is sent, from some 3 to 17 KiB, and is never asked for packet by packet.
#[serde_as]
#[derive(Serialize, Deserialize)]
pub struct Bandwidth {
    #[serde_as(as = "Age")]
    epoch: Instant,
    packets: SentPackets,
    groups: Groups,
    trendline: Trendline,
    rate: RateControl,
    losses: LossControl,
    reports: ReportControl,
    prober: Prober,
    /// What is sent, by our clock, and what arrives, by the receiver's.
    sent: RateWindow,
    acknowledged: RateWindow,
    wanted: Bitrate,
    remb: RembBound,
    round_trip: Option<Duration>,
    /// The least of late.
    least_round_trip: LeastRoundTrip,
    /// The newest arrival without wraps.
    arrival: Option<i64>,
    first_sent: Option<i64>,
    /// When the first packet went out since the last feedback.
    unanswered: Option<i64>,
    feedback_at: Option<i64>,
    reported_loss: Option<f64>,
    silence: Option<Silence>,
    has_probed: bool,
}

impl Bandwidth {
    /// A receiver nothing is known of.
    pub fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            packets: SentPackets::new(),
            groups: Groups::default(),
            trendline: Trendline::default(),
            rate: RateControl::new(INITIAL),
            losses: LossControl::default(),
            reports: ReportControl::new(UNTOLD),
            prober: Prober::new(0),
            sent: RateWindow::default(),
            acknowledged: RateWindow::default(),
            wanted: Bitrate::ZERO,
            remb: RembBound::default(),
            round_trip: None,
            least_round_trip: LeastRoundTrip::default(),
            arrival: None,
            first_sent: None,
            unanswered: None,
            feedback_at: None,
            reported_loss: None,
            silence: None,
            has_probed: false,
        }
    }

    #[inline]
    fn micros(&self, now: Instant) -> i64 {
        now.saturating_duration_since(self.epoch).as_micros() as i64
    }

    fn instant(&self, micros: i64) -> Instant {
        self.epoch + Duration::from_micros(micros.max(0) as u64)
    }

    /// The transport-wide number that the next packet gets.
    #[inline]
    pub fn next_number(&self) -> u16 {
        self.packets.next() as u16
    }

    /// The next transport-wide number, without wraps.
    pub fn numbers_used(&self) -> u64 {
        self.packets.next()
    }

    /// Goes on behind whoever died, for whom this was the next number at the last writing: what is reported on numbers that
    /// were used since is passed over.
    pub fn leap(&mut self, next: u64) {
        self.packets = SentPackets::after(next);
    }

    /// A packet of `len` octets goes out; gives its transport-wide number.
    #[inline]
    pub fn handle_sent(&mut self, now: Instant, len: usize, what: Sent) -> u16 {
        let at = self.micros(now);
        let cluster = self.prober.cluster_id();
        let number = self.packets.record(at, len, cluster);
        if what != Sent::Padding {
            self.sent.add(at, len as u32);
        }
        if cluster != 0 {
            self.prober.handle_sent(at, number, len);
        }
        self.first_sent.get_or_insert(at);
        self.unanswered.get_or_insert(at);
        number as u16
    }

    /// What would be sent if there were room. Probing goes a little beyond it; nothing is probed when the estimate has it.
    pub fn set_wanted(&mut self, now: Instant, wanted: Bitrate) {
        let at = self.micros(now);
        if wanted > self.wanted.times(WANTS_MORE) && wanted > self.rate.estimate() {
            self.prober.hurry(at);
        }
        self.wanted = wanted;
    }

    /// So much can be sent.
    pub fn estimate(&self) -> Bitrate {
        let by_reports = self.reported_loss.map(|_| self.reports.limit());
        let mut estimate = match (self.feedback_at, by_reports) {
            (_, Some(limit)) => limit,
            (Some(_), None) => {
                self.losses.limit().map_or(self.rate.estimate(), |limit| limit.min(self.rate.estimate()))
            }
            (None, None) => self.rate.estimate(),
        };
        if let Some(bound) = self.remb.bound() {
            estimate = estimate.min(bound);
        }
        estimate.clamp(MIN_ESTIMATE, MAX_ESTIMATE)
    }

    /// Whether feedback that is due has not come: nothing gets there, or nothing back.
    pub fn is_silent(&self) -> bool {
        self.silence.is_some()
    }

    /// From a packet to the feedback on it, smoothed.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    fn known_round_trip(&self) -> Duration {
        self.round_trip.unwrap_or(UNKNOWN_ROUND_TRIP)
    }

    /// Part of the packets that is lost, from 0 to 1.
    pub fn loss(&self) -> f32 {
        self.reported_loss.unwrap_or_else(|| self.losses.loss()) as f32
    }

    /// When feedback is to be missed, if none comes.
    fn silent_at(&self) -> Option<i64> {
        let Some(_) = self.feedback_at else {
            let nothing_told = self.reported_loss.is_none() && self.rate.estimate() < UNTOLD;
            return self.first_sent.filter(|_| nothing_told).map(|first| first + SILENT_AT_FIRST_US);
        };
        let since = self.unanswered.filter(|_| self.packets.unreported() >= SILENCE_PACKETS)?;
        if self.rate.estimate() <= MIN_ESTIMATE {
            return None;
        }
        let round_trips = 2 * self.known_round_trip().as_micros() as i64;
        Some(self.silence.map_or(since + SILENCE_US + round_trips, |silence| silence.halved + HALVING_US))
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn next_timeout(&self) -> Option<Instant> {
        let probe = self.prober.next_timeout(self.known_round_trip(), self.can_probe());
        [probe, self.remb.next_timeout(), self.silent_at()].into_iter().flatten().min().map(|at| self.instant(at))
    }

    fn wants_more(&self) -> bool {
        self.wanted > self.estimate()
    }

    /// Probes need feedback, and somebody who wants more.
    fn can_probe(&self) -> bool {
        self.feedback_at.is_some() && self.reported_loss.is_none() && self.wants_more()
    }

    /// The time has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        let at = self.micros(now);
        self.remb.handle_timeout(at);
        if self.silent_at().is_some_and(|due| due <= at) {
            self.fall_silent(at);
        }
        // The wait of the last cluster for its feedback ends whether or not more is wanted.
        let rate = self.probe_rate();
        let had = self.prober.cluster_id();
        self.prober.handle_timeout(at, self.known_round_trip(), rate);
        self.has_probed |= self.prober.cluster_id() != had;
    }

    fn fall_silent(&mut self, at: i64) {
        if self.feedback_at.is_none() {
            return self.rate.set(UNTOLD);
        }
        let (before, part) = self.silence.map_or((self.estimate(), FIRST_FALL), |silence| (silence.before, 0.5));
        self.silence = Some(Silence { before, halved: at });
        self.rate.set(self.estimate().times(part));
    }

    fn probe_rate(&self) -> Option<Bitrate> {
        let calm = self.silence.is_none() && self.trendline.usage() != Usage::Over;
        if !calm || !self.can_probe() {
            return None;
        }
        let step = if self.has_probed { PROBE_STEP } else { FIRST_PROBE_STEP };
        Some(self.estimate().times(step).min(self.wanted.times(PROBE_BEYOND)))
    }

    /// Octets to send now beyond the pace: what [waits](super::pacer::Pacer::pop_for_probe) first, then padding, each packet
    /// told by [`handle_sent`](Self::handle_sent). None but during a probe.
    pub fn poll_padding(&mut self, now: Instant) -> usize {
        self.prober.poll_padding(self.micros(now))
    }
}

impl Footprint for Bandwidth {
    fn heap_bytes(&self) -> usize {
        self.packets.heap_bytes()
    }
}

#[cfg(test)]
mod tests;
