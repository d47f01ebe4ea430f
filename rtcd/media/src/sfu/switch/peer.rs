//! One participant on its worker: the transport, the tracks it sends, the streams it receives.
mod gate;
mod held;
mod incoming;
mod leap;
mod repair;
mod repetition;
mod sending;
mod streams;

pub(super) use incoming::{IncomingTrack, Stream};
pub use leap::PeerNumbers;
pub(super) use sending::{DECIDE_INTERVAL, Held, Sending};

use super::Counters;
use super::keep::Kept;
use crate::codec::Codec;
use crate::handover::Age;
use crate::ice::Credentials;
use crate::rtcp::TransportCcRecorder;
use crate::rtp::{ExtensionMap, Header, SeqNo, Ssrc};
use crate::sfu::command::{Event, Incoming, TrackId, TransportId};
use crate::sfu::receive::AnswerTime;
use crate::sfu::rewrite::StreamNumbers;
use crate::sfu::voice_activity::VoiceActivity;
use crate::sfu::{Epoch, Layer, Meta};
use crate::srtp::SrtpError;
use crate::token_bucket::TokenBucket;
use crate::transport::Transport;
use repair::Repair;
use repetition::Repetition;
use serde::{Deserialize, Serialize};
use serde_with::serde_as;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Streams bound per peer: eight tracks of three layers, and as many that come and go. The one that has been silent
/// longest makes room.
const MAX_STREAMS: usize = 32;
/// How often reports go out (RFC 3550 wants 5 s at least for big sessions; 1 s is what SFUs use for synchronisation).
pub const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Retransmissions a second that one receiver can cause, and how many at once.
const RETRANSMISSIONS_PER_SECOND: f64 = 500.0;
const RETRANSMISSION_BURST: f64 = 256.0;

/// A packet that may be forwarded: what it is, and where its payload lies in the datagram.
#[derive(Debug)]
pub(super) struct Ingested {
    /// Place in the worker's forward table.
    pub forward: usize,
    /// What it is.
    pub meta: Meta,
    /// Its payload.
    pub payload: Range<usize>,
}

/// Why a packet that was authentic goes nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoStream {
    /// No description announced it.
    Unknown,
    /// Its stream has just been replaced.
    Superseded,
    /// It is of an RTX stream and repairs nothing.
    Useless,
}

/// Where a packet belongs.
struct Packet {
    /// Place among the peer's streams.
    stream: usize,
    codec: Codec,
    /// Its number in that stream.
    seq: SeqNo,
    /// Where its payload lies.
    payload: Range<usize>,
}

/// The way to a peer, by its last reports.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Way {
    /// There and back.
    pub round_trip: Option<Duration>,
    /// In 1/256, of what we have sent.
    pub lost: Option<u8>,
}

/// One participant on its worker.
#[serde_as]
#[derive(Serialize, Deserialize)]
pub(super) struct Peer {
    /// Its id.
    pub id: TransportId,
    /// ICE, DTLS, SCTP, SRTP.
    pub transport: Transport,
    /// What it may send.
    pub tracks: Vec<IncomingTrack>,
    /// What it does send.
    pub streams: Vec<Stream>,
    /// What it receives: stream and place in the forward table.
    #[serde(skip)]
    pub receives: Vec<(Ssrc, usize)>,
    /// What the ids of header extensions mean, over all sections.
    #[serde(skip)]
    extensions: ExtensionMap,
    #[serde_as(as = "VecDeque<(_, Age)>")]
    retired: VecDeque<(Ssrc, Instant)>,
    /// RTX streams that it repairs others by.
    repairs: Vec<Repair>,
    /// How long it takes to send again what we ask for.
    pub answers: AnswerTime,
    /// Streams heard so far.
    epochs: Epoch,
    /// Arrival times for the peer's congestion control.
    pub arrivals: TransportCcRecorder,
    /// When feedback on arrivals is due.
    #[serde_as(as = "Option<Age>")]
    pub arrivals_due: Option<Instant>,
    /// When reports are due.
    #[serde_as(as = "Option<Age>")]
    pub report_due: Option<Instant>,
    /// Whether packets go out to it twice.
    pub repetition: Repetition,
    /// What it can be sent, once it receives pictures.
    pub sending: Option<Box<Sending>>,
    /// What its last reports say of the way to it.
    #[serde(skip)]
    pub way: Way,
    /// Packets that may be sent again.
    pub retransmissions: TokenBucket,
    /// Streams that whoever died has sent, and that are not sent here yet.
    #[serde(skip)]
    pub used: Vec<StreamNumbers>,
    /// What is written down of it for whoever goes on after a crash.
    #[serde(skip)]
    pub kept: Option<Kept>,
    /// The timer entry that counts.
    #[serde(skip)]
    pub scheduled: Option<Instant>,
    /// Its deadlines must be looked at when the batch is done.
    #[serde(skip)]
    pub touched: bool,
}

impl Peer {
    /// A participant whose first check has just come.
    pub fn new(id: TransportId, transport: Transport, now: Instant) -> Self {
        Self {
            id,
            transport,
            tracks: Vec::new(),
            streams: Vec::new(),
            receives: Vec::new(),
            extensions: ExtensionMap::default(),
            retired: VecDeque::new(),
            repairs: Vec::new(),
            answers: AnswerTime::default(),
            epochs: Epoch::default(),
            arrivals: TransportCcRecorder::new(now),
            arrivals_due: None,
            report_due: None,
            repetition: Repetition::default(),
            sending: None,
            way: Way::default(),
            retransmissions: TokenBucket::new(RETRANSMISSIONS_PER_SECOND, RETRANSMISSION_BURST, now),
            used: Vec::new(),
            kept: None,
            scheduled: None,
            touched: false,
        }
    }

    /// Goes on in another process; `places` of its tracks in the forward table, in their order.
    pub fn go_on(&mut self, now: Instant, places: &[usize]) {
        for (track, place) in self.tracks.iter_mut().zip(places) {
            track.forward = *place;
            self.extensions.add(&track.spec.extensions);
        }
        self.streams.truncate(MAX_STREAMS);
        if let Some(sending) = &mut self.sending {
            sending.decide_at = now;
        }
    }

    /// Restarts ICE.
    pub fn restart_ice(&mut self, local: Credentials, remote_ufrag: String) {
        self.transport.restart_ice(local, remote_ufrag);
    }

    /// Takes over the list of what the peer may send; `place` gives a new track its place in the forward table.
    /// Returns the tracks that have ended.
    pub fn set_tracks(&mut self, specs: Vec<Incoming>, mut place: impl FnMut(TrackId) -> usize) -> Vec<IncomingTrack> {
        let mut old = std::mem::replace(&mut self.tracks, Vec::with_capacity(specs.len()));
        self.extensions = ExtensionMap::default();
        for spec in specs {
            self.extensions.add(&spec.extensions);
            match old.iter().position(|track| track.spec.track == spec.track) {
                Some(at) => {
                    let mut track = old.swap_remove(at);
                    track.renew(spec);
                    self.tracks.push(track);
                }
                None => {
                    let forward = place(spec.track);
                    self.tracks.push(IncomingTrack::new(spec, forward));
                }
            }
        }
        self.streams.retain(|stream| !old.iter().any(|track| track.spec.track == stream.track));
        self.forget_repairs();
        old
    }

    /// Opens or closes the mute gate of a track; returns whether that ended voice.
    pub fn set_gate(&mut self, id: TrackId, open: bool) -> bool {
        let Some(track) = self.tracks.iter_mut().find(|track| track.spec.track == id) else { return false };
        track.spec.open = open;
        !open && track.voice.as_mut().is_some_and(VoiceActivity::reset)
    }

    /// Opens a protected packet in place and finds out what it is. Events are appended to `events`.
    pub fn ingest(
        &mut self,
        now: Instant,
        datagram: &mut [u8],
        counters: &mut Counters,
        events: &mut VecDeque<Event>,
    ) -> Option<Ingested> {
        let (len, seq) = match self.transport.unprotect_rtp(datagram) {
            Ok(opened) => opened,
            Err(SrtpError::Replayed) => {
                counters.srtp_replayed += 1;
                return None;
            }
            Err(_) => {
                counters.srtp_refused += 1;
                return None;
            }
        };
        self.ingest_plain(now, &datagram[..len], seq, counters, events)
    }

    /// The same with a packet that has been opened already.
    fn ingest_plain(
        &mut self,
        now: Instant,
        packet: &[u8],
        seq: SeqNo,
        counters: &mut Counters,
        events: &mut VecDeque<Event>,
    ) -> Option<Ingested> {
        let header = Header::parse(packet, &self.extensions)?;
        if let Some(number) = header.transport_cc {
            self.arrivals.record(now, header.ssrc, number);
            self.arrivals_due.get_or_insert(now + crate::rtcp::TRANSPORT_CC_INTERVAL);
            self.touched = true;
        }
        let Packet { stream, codec, seq, payload } = match self.place(now, &header, packet, seq) {
            Ok(placed) => placed,
            Err(nowhere) => {
                match nowhere {
                    NoStream::Unknown => counters.rtp_unknown += 1,
                    NoStream::Superseded => counters.rtp_superseded += 1,
                    NoStream::Useless => counters.rtx_useless += 1,
                }
                return None;
            }
        };
        let is_repair = header.ssrc != self.streams[stream].reception.ssrc();
        counters.rtx_repaired += u64::from(is_repair);
        let keyframe = codec.is_keyframe_start(&packet[payload.clone()]);
        let entry = &mut self.streams[stream];
        let (id, layer, epoch) = (entry.track, entry.layer, entry.reception.epoch());
        entry.heard = now;
        let arrival = entry.reception.handle_packet(now, seq, header.timestamp);
        if let Some(took) = arrival.answered {
            self.answers.sample(took);
        }
        if codec.is_video() {
            if keyframe {
                entry.keyframes.fulfilled();
            } else if arrival.unrepairable || arrival.first {
                // A decoder cannot go on, or begin, with this.
                entry.keyframes.want(now);
            }
        }
        self.touched |= entry.reception.next_timeout().is_some() || entry.keyframes.next_timeout().is_some();
        let track = self.tracks.iter_mut().find(|track| track.spec.track == id)?;
        if track.carries(now, codec) {
            events.push_back(Event::TrackStarted { transport: self.id, track: id, codec });
        }
        let Some((seq, resumed)) = entry.gate.pass(track.spec.open, seq) else {
            counters.rtp_gated += 1;
            return None;
        };
        if let (Some(voice), Some(level)) = (&mut track.voice, header.audio_level)
            && let Some(active) = voice.handle_level(now, level)
        {
            // Voice ends by the clock, too.
            self.touched |= active;
            events.push_back(Event::Voice { transport: self.id, track: id, active });
        }
        let meta = Meta {
            layer,
            epoch,
            codec,
            seq,
            timestamp: header.timestamp,
            // A decoder treats the first packet after a pause as the beginning of a talk spurt.
            marker: header.marker || (resumed && !codec.is_video()),
            // What repairs a packet has lost its padding.
            padding: packet[0] & 0x20 != 0 && !is_repair,
            keyframe,
            audio_level: header.audio_level,
        };
        Some(Ingested { forward: track.forward, meta, payload })
    }

    /// Asks this peer for a key frame, now or as soon as the rule allows and the layer's stream is heard. Whether one is to
    /// be sent now.
    pub fn request_keyframe(&mut self, now: Instant, track: TrackId, layer: Layer) -> Option<Ssrc> {
        self.touched = true;
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.track == track && stream.layer == layer) {
            return stream.keyframes.request(now).then(|| stream.reception.ssrc());
        }
        self.tracks.iter_mut().find(|known| known.spec.track == track)?.wish(layer);
        None
    }

    /// Voices that end by the clock.
    pub fn end_voices(&mut self, now: Instant, events: &mut VecDeque<Event>) {
        for track in &mut self.tracks {
            let due = track.voice.as_mut().filter(|voice| voice.next_timeout().is_some_and(|due| due <= now));
            if let Some(active) = due.and_then(|voice| voice.handle_timeout(now)) {
                events.push_back(Event::Voice { transport: self.id, track: track.spec.track, active });
            }
        }
    }

    /// Whether it receives pictures and has not said for a while what arrives.
    pub fn is_silent(&self) -> bool {
        self.sending.as_ref().is_some_and(|sending| sending.bandwidth.is_silent())
    }

    /// When this peer must be looked at next.
    pub fn next_timeout(&self, now: Instant) -> Option<Instant> {
        let streams = self.streams.iter().flat_map(|stream| {
            [stream.reception.next_timeout(), stream.keyframes.next_timeout()].into_iter().flatten()
        });
        let own = [self.transport.next_timeout(now), self.arrivals_due, self.report_due].into_iter().flatten();
        let voices = self.tracks.iter().filter_map(|track| track.voice.as_ref()?.next_timeout());
        let sending = self.sending.as_ref().and_then(|sending| sending.next_timeout(now));
        own.chain(streams).chain(voices).chain(sending).min()
    }
}

#[cfg(test)]
mod tests;
