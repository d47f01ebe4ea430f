//! One receiver of a call in values: senders of layers, pacer, a way through the network, and a client that reports arrivals.
use crate::network::{Conditions, Network};
use crate::track::Track;
use rtcd_media::rtcp::{self, Message, ReportBlock, TransportCcRecorder};
use rtcd_media::sfu::Layer;
use rtcd_media::sfu::allocation::{Allocation, Demand, Grant, Kind};
use rtcd_media::sfu::bandwidth::{Bandwidth, Bitrate, Sent};
use rtcd_media::sfu::pacer::{Pacer, Turn};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub const L: Layer = Layer(0);
pub const H: Layer = Layer(1);
/// Bit rate and frames per second of the layers (contract, section 5).
const LAYERS: [(Bitrate, u32); 2] = [(Bitrate::kbit(500), 5), (Bitrate::kbit(2500), 20)];
/// 40 kbit/s in packets of 20 ms.
pub const VOICE: Bitrate = Bitrate::kbit(40);
const VOICE_PACKET: usize = 100;
const VOICE_INTERVAL: Duration = Duration::from_millis(20);
const PACKET: usize = 1150;
const PADDING: usize = 250;
/// A key frame is so many times as long as another.
const KEYFRAME: usize = 3;
const FEEDBACK: Duration = Duration::from_millis(100);
const STEP: Duration = Duration::from_millis(1);

const VOICE_TRACK: u8 = 255;
const PADDING_TRACK: u8 = 254;

/// A picture's packet, before it is numbered.
#[derive(Clone, Copy, Debug)]
struct Packet {
    track: u8,
    frame: u32,
    place: u16,
    of: u16,
    len: usize,
}

/// What became of voice.
#[derive(Default, Debug, Clone)]
pub struct Voice {
    /// When, of those that arrived.
    pub arrivals: Vec<Duration>,
    pub sent: u32,
    pub received: u32,
    pub longest: Duration,
    total: Duration,
}

impl Voice {
    /// Part of the packets between two times that has not arrived.
    pub fn lost(&self, from: Duration, to: Duration) -> f64 {
        let arrived = self.arrivals.iter().filter(|at| (from..to).contains(*at)).count();
        1.0 - arrived as f64 / (to - from).div_duration_f64(VOICE_INTERVAL)
    }

    pub fn mean(&self) -> Duration {
        self.total / self.received.max(1)
    }
}

/// How the client reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feedback {
    /// Arrivals ten times a second.
    TransportCc,
    /// Loss once a second.
    Reports,
    /// Not at all.
    Nothing,
}

pub struct Call {
    pub feedback: Feedback,
    /// What the client has got: packets, and the first and the newest number, at the last report and now.
    received: [(u32, u16); 2],
    next_report: Instant,
    pub start: Instant,
    pub now: Instant,
    pub network: Network,
    pub bandwidth: Bandwidth,
    pub voice: Voice,
    /// The estimate at each decision.
    pub estimates: Vec<(Duration, Bitrate)>,
    pub padding: usize,
    pacer: Pacer<Packet>,
    allocation: Allocation,
    tracks: Vec<Track>,
    recorder: TransportCcRecorder,
    next_voice: Instant,
    next_feedback: Instant,
    next_decision: Instant,
    grants: Vec<Grant>,
}

pub fn server() -> SocketAddr {
    ([10, 0, 0, 1], 8443).into()
}

pub fn client() -> SocketAddr {
    ([10, 0, 0, 2], 5000).into()
}

impl Call {
    pub fn new(seed: u64, kinds: &[Kind], down: Conditions) -> Self {
        let start = Instant::now();
        let mut network = Network::new(seed);
        network.set(start, server(), client(), down);
        network.set(start, client(), server(), Conditions { delay: down.delay, ..Conditions::default() });
        let bandwidth = Bandwidth::new(start);
        Self {
            feedback: Feedback::TransportCc,
            received: [(0, 0); 2],
            next_report: start + Duration::from_secs(1),
            start,
            now: start,
            network,
            pacer: Pacer::new(start, bandwidth.estimate()),
            bandwidth,
            voice: Voice::default(),
            estimates: Vec::new(),
            padding: 0,
            allocation: Allocation::default(),
            tracks: kinds.iter().map(|kind| Track::new(*kind, start)).collect(),
            recorder: TransportCcRecorder::new(start),
            next_voice: start,
            next_feedback: start + FEEDBACK,
            next_decision: start,
            grants: Vec::new(),
        }
    }

    /// The way to the client changes at this time of the call.
    pub fn set_down(&mut self, at: Duration, conditions: Conditions) {
        self.network.set(self.start + at, server(), client(), conditions);
    }

    /// The same for the way back.
    pub fn set_up(&mut self, at: Duration, conditions: Conditions) {
        self.network.set(self.start + at, client(), server(), conditions);
    }

    pub fn run_until(&mut self, end: Duration) {
        while self.now < self.start + end {
            self.now += STEP;
            self.send_voice();
            if self.now >= self.next_decision {
                self.next_decision += FEEDBACK;
                self.decide();
            }
            (0..self.tracks.len()).for_each(|at| self.send_frames(at));
            self.drain_pacer();
            self.drain_bandwidth();
            self.deliver();
            if self.now >= self.next_feedback {
                self.next_feedback += FEEDBACK;
                self.feed_back();
            }
        }
    }

    fn send(&mut self, packet: Packet, what: Sent) {
        let number = self.bandwidth.handle_sent(self.now, packet.len, what);
        self.pacer.charge(self.now, packet.len);
        let mut bytes = number.to_be_bytes().to_vec();
        bytes.push(packet.track);
        bytes.extend(packet.frame.to_be_bytes());
        bytes.extend(packet.place.to_be_bytes());
        bytes.extend(packet.of.to_be_bytes());
        bytes.extend(((self.now - self.start).as_micros() as u64).to_be_bytes());
        bytes.resize(packet.len, 0);
        self.network.send(self.now, server(), client(), bytes);
    }

    fn send_voice(&mut self) {
        while self.next_voice <= self.now {
            self.next_voice += VOICE_INTERVAL;
            self.voice.sent += 1;
            let packet = Packet { track: VOICE_TRACK, frame: 0, place: 0, of: 1, len: VOICE_PACKET };
            self.send(packet, Sent::Media);
        }
    }

    fn decide(&mut self) {
        let estimate = self.bandwidth.estimate();
        self.estimates.push((self.now - self.start, estimate));
        let demand = |(at, track): (usize, &Track)| Demand {
            track: at as u64,
            kind: track.kind,
            layers: [Some(LAYERS[0].0), Some(LAYERS[1].0), None],
            awaits_keyframe: track.keyframe_at.is_some(),
        };
        let demands: Vec<_> = self.tracks.iter().enumerate().map(demand).collect();
        self.allocation.update(self.now, estimate, VOICE, &demands, &mut self.grants);
        self.bandwidth.set_wanted(self.now, self.allocation.wanted());
        self.pacer.set_rate(self.now, estimate, self.allocation.wanted());
        for (track, grant) in self.tracks.iter_mut().zip(&self.grants) {
            track.set_grant(self.now, self.start, *grant);
        }
    }

    fn send_frames(&mut self, at: usize) {
        for layer in [L, H] {
            let (rate, per_second) = LAYERS[usize::from(layer.0)];
            let track = &mut self.tracks[at];
            while track.next_frame[usize::from(layer.0)] <= self.now {
                track.next_frame[usize::from(layer.0)] += Duration::from_secs(1) / per_second;
                let is_target = track.grant.layer() == Some(layer);
                let switches = is_target && track.keyframe_at.is_some_and(|at| at <= self.now);
                if switches {
                    track.keyframe_at = None;
                    track.current = Some(layer);
                    track.changes.push((self.now - self.start, Some(layer)));
                    // What waits of the layer before will not be seen.
                    self.pacer.retain(|packet| usize::from(packet.track) != at);
                }
                if track.current != Some(layer) {
                    continue;
                }
                let is_thin = matches!(track.grant, Grant::Thin(..));
                if is_thin && !switches && !track.budget.admits(self.now) {
                    continue;
                }
                let octets = rate.octets_in(Duration::from_secs(1) / per_second) as usize;
                let octets = if switches && !is_thin { KEYFRAME * octets } else { octets };
                let of = octets.div_ceil(PACKET) as u16;
                track.frame += 1;
                for place in 0..of {
                    let packet =
                        Packet { track: at as u8, frame: track.frame, place, of, len: octets / usize::from(of) };
                    if is_thin {
                        track.budget.charge(packet.len);
                    }
                    self.pacer.push(self.now, packet);
                }
            }
        }
    }

    fn drain_pacer(&mut self) {
        while let Some(turn) = self.pacer.pop(self.now) {
            if let Turn::Send(packet) = turn {
                self.send(packet, Sent::Media);
            }
        }
    }

    fn drain_bandwidth(&mut self) {
        while self.bandwidth.next_timeout().is_some_and(|due| due <= self.now) {
            self.bandwidth.handle_timeout(self.now);
            let mut due = self.bandwidth.poll_padding(self.now);
            while due > 0 {
                let padding = Packet { track: PADDING_TRACK, frame: 0, place: 0, of: 1, len: PADDING };
                let (packet, what) =
                    self.pacer.pop_for_probe().map_or((padding, Sent::Padding), |it| (it, Sent::Media));
                self.padding += if what == Sent::Padding { PADDING } else { 0 };
                self.send(packet, what);
                due = due.saturating_sub(packet.len);
            }
        }
    }

    fn deliver(&mut self) {
        while let Some((at, datagram)) = self.network.poll(self.now) {
            if datagram.to == server() {
                rtcp::read(&datagram.bytes, |message| match message {
                    Message::TransportCc(feedback) => self.bandwidth.handle_transport_cc(at, &feedback),
                    Message::Report(block) => self.bandwidth.handle_report(at, block.fraction_lost, None),
                    _ => {}
                });
                continue;
            }
            self.arrive(at, &datagram.bytes);
        }
    }

    fn arrive(&mut self, at: Instant, bytes: &[u8]) {
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        self.recorder.record(at, 7, word(0));
        self.received[1].0 += 1;
        self.received[1].1 = word(0);
        let sent = u64::from_be_bytes(bytes[11..19].try_into().expect("eight octets"));
        let took = (at - self.start).saturating_sub(Duration::from_micros(sent));
        match bytes[2] {
            VOICE_TRACK => {
                self.voice.received += 1;
                self.voice.arrivals.push(at - self.start);
                self.voice.longest = self.voice.longest.max(took);
                self.voice.total += took;
            }
            PADDING_TRACK => {}
            track => {
                let frame = u32::from_be_bytes(bytes[3..7].try_into().expect("four octets"));
                self.tracks[usize::from(track)].receive(at - self.start, frame, word(9));
            }
        }
    }

    fn feed_back(&mut self) {
        while self.recorder.is_pending() {
            let mut compound = Vec::new();
            self.recorder.write(&mut compound, 1);
            if self.feedback == Feedback::TransportCc {
                self.network.send(self.now, client(), server(), compound);
            }
        }
        if self.feedback == Feedback::Reports && self.now >= self.next_report {
            self.next_report += Duration::from_secs(1);
            self.report();
        }
    }

    fn report(&mut self) {
        let [(count, number), (count_now, number_now)] = self.received;
        let expected = u32::from(number_now.wrapping_sub(number));
        let lost = expected.saturating_sub(count_now - count);
        self.received[0] = self.received[1];
        let fraction_lost = (lost * 256).checked_div(expected).unwrap_or(0).min(255) as u8;
        let mut compound = Vec::new();
        rtcp::receiver_report(&mut compound, 1, &[ReportBlock { ssrc: 7, fraction_lost, ..ReportBlock::default() }]);
        self.network.send(self.now, client(), server(), compound);
    }

    /// When this track showed the layer for the first time after `after`.
    pub fn shown(&self, track: usize, layer: Layer, after: Duration) -> Option<Duration> {
        let track = &self.tracks[track];
        let at_then = track.changes.iter().rev().find(|(at, _)| *at <= after).and_then(|(_, layer)| *layer);
        if at_then == Some(layer) {
            return Some(after);
        }
        track.changes.iter().find(|(at, shown)| *at > after && *shown == Some(layer)).map(|(at, _)| *at)
    }

    /// Changes of the layer that this track showed, the first one included.
    pub fn switches(&self, track: usize) -> usize {
        self.tracks[track].changes.len()
    }

    pub fn changes(&self, track: usize) -> &[(Duration, Option<Layer>)] {
        &self.tracks[track].changes
    }

    /// Part of the time from `from` to now that this track showed the layer.
    pub fn part(&self, track: usize, layer: Layer, from: Duration) -> f64 {
        let end = self.now - self.start;
        let mut sum = Duration::ZERO;
        let changes = &self.tracks[track].changes;
        for (at, (begin, shown)) in changes.iter().enumerate() {
            let until = changes.get(at + 1).map_or(end, |(next, _)| *next);
            if *shown == Some(layer) {
                sum += until.saturating_sub((*begin).max(from));
            }
        }
        sum.as_secs_f64() / (end - from).as_secs_f64()
    }

    /// Complete pictures of a track per second.
    pub fn pictures_per_second(&self, track: usize, from: Duration, to: Duration) -> f64 {
        let count = self.tracks[track].pictures.iter().filter(|at| (from..to).contains(*at)).count();
        count as f64 / (to - from).as_secs_f64()
    }

    pub fn mean_estimate(&self, from: Duration, to: Duration) -> Bitrate {
        let found: Vec<_> =
            self.estimates.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, it)| it.0).collect();
        Bitrate(found.iter().sum::<u64>() / found.len().max(1) as u64)
    }

    pub fn dropped_by_pacer(&self) -> u64 {
        self.pacer.dropped()
    }
}
