//! One participant on its worker: the transport, the tracks it sends, the streams it receives.
use super::command::{Event, Incoming, TrackId, TransportId};
use super::counters::{Counters, count};
use rtcd_media::ice::Credentials;
use rtcd_media::rtcp::TransportCcRecorder;
use rtcd_media::rtp::{ExtensionIds, Header, Ssrc};
use rtcd_media::sdp::MediaKind;
use rtcd_media::sfu::codec::Codec;
use rtcd_media::sfu::keyframe::KeyframeRequests;
use rtcd_media::sfu::receive::Reception;
use rtcd_media::sfu::voice_activity::VoiceActivity;
use rtcd_media::sfu::{Layer, MAX_LAYERS, Meta};
use rtcd_media::srtp::{SeqNo, SrtpError};
use rtcd_media::transport::Transport;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Streams bound per peer: eight tracks of three layers, and replaced ones.
const MAX_STREAMS: usize = 32;
/// How often reports go out (RFC 3550 wants 5 s at least for big sessions; 1 s is what SFUs use for synchronisation).
pub const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Retransmissions a second that one receiver can cause, and how many at once.
const RETRANSMISSIONS_PER_SECOND: f64 = 500.0;
const RETRANSMISSION_BURST: f64 = 256.0;

/// The mute gate of a track. What it swallows leaves no hole: numbering goes on where it stopped.
#[derive(Debug)]
struct Gate {
    open: bool,
    /// A packet was swallowed since the last one that passed.
    swallowed: bool,
    /// Subtracted from sequence numbers.
    shift: u64,
    /// The first number since the gate last opened, and the newest that passed.
    first: SeqNo,
    newest: Option<SeqNo>,
}

impl Gate {
    fn new(open: bool) -> Self {
        Self { open, swallowed: false, shift: 0, first: SeqNo(0), newest: None }
    }

    /// The number to go on with, and whether this is the first one after a pause; `None`: swallowed.
    fn pass(&mut self, seq: SeqNo) -> Option<(SeqNo, bool)> {
        if !self.open {
            self.swallowed = true;
            return None;
        }
        let resumed = std::mem::take(&mut self.swallowed);
        if resumed {
            let next = self.newest.map_or(seq.0, |newest| newest.0 - self.shift + 1);
            self.shift = seq.0.saturating_sub(next);
            self.first = seq;
        }
        if seq < self.first {
            return None;
        }
        self.newest = self.newest.max(Some(seq));
        Some((SeqNo(seq.0 - self.shift), resumed))
    }
}

/// A track that the peer sends.
pub struct IncomingTrack {
    /// As announced.
    pub spec: Incoming,
    /// Its place in the worker's forward table.
    pub forward: usize,
    gate: Gate,
    voice: Option<VoiceActivity>,
    started: bool,
}

/// One stream of a track: a layer.
pub struct Stream {
    /// Statistics and what is missing.
    pub reception: Reception,
    /// Requests towards the peer.
    pub keyframes: KeyframeRequests,
    /// Whose layer.
    pub track: TrackId,
    /// Which layer.
    pub layer: Layer,
}

/// A packet that may be forwarded: what it is, and where its payload lies in the datagram.
#[derive(Debug)]
pub struct Ingested {
    /// Place in the worker's forward table.
    pub forward: usize,
    /// What it is.
    pub meta: Meta,
    /// Its payload.
    pub payload: Range<usize>,
}

/// One participant on its worker.
pub struct Peer {
    /// Its id.
    pub id: TransportId,
    /// ICE, DTLS, SCTP, SRTP.
    pub transport: Transport,
    /// What it may send.
    pub tracks: Vec<IncomingTrack>,
    /// What it does send.
    pub streams: Vec<Stream>,
    /// What it receives: stream and place in the forward table.
    pub receives: Vec<(Ssrc, usize)>,
    /// All sections of a bundle share the ids.
    extensions: ExtensionIds,
    /// Arrival times for the peer's congestion control.
    pub arrivals: TransportCcRecorder,
    /// When feedback on arrivals is due.
    pub arrivals_due: Option<Instant>,
    /// When reports are due.
    pub report_due: Option<Instant>,
    retransmissions: f64,
    retransmissions_at: Instant,
    /// The timer entry that counts.
    pub scheduled: Option<Instant>,
    /// Its deadlines must be looked at when the batch is done.
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
            extensions: ExtensionIds::default(),
            arrivals: TransportCcRecorder::new(now),
            arrivals_due: None,
            report_due: None,
            retransmissions: RETRANSMISSION_BURST,
            retransmissions_at: now,
            scheduled: None,
            touched: false,
        }
    }

    /// Restarts ICE.
    pub fn restart_ice(&mut self, local: Credentials, remote_ufrag: String) {
        self.transport.restart_ice(local, remote_ufrag);
    }

    /// Takes over the list of what the peer may send; `place` gives a new track its place in the forward table.
    /// Returns the tracks that have ended.
    pub fn set_tracks(&mut self, specs: Vec<Incoming>, mut place: impl FnMut(TrackId) -> usize) -> Vec<IncomingTrack> {
        let mut old = std::mem::take(&mut self.tracks);
        for spec in specs {
            self.extensions = merge(self.extensions, spec.extensions);
            match old.iter().position(|track| track.spec.track == spec.track) {
                Some(at) => {
                    let mut track = old.swap_remove(at);
                    track.gate.open = spec.open;
                    track.spec = spec;
                    self.tracks.push(track);
                }
                None => self.tracks.push(IncomingTrack {
                    forward: place(spec.track),
                    gate: Gate::new(spec.open),
                    voice: spec.detect_voice.then(VoiceActivity::default),
                    started: false,
                    spec,
                }),
            }
        }
        self.streams.retain(|stream| !old.iter().any(|track| track.spec.track == stream.track));
        old
    }

    /// Opens or closes the mute gate of a track; returns whether that ended voice.
    pub fn set_gate(&mut self, id: TrackId, open: bool) -> bool {
        let Some(track) = self.tracks.iter_mut().find(|track| track.spec.track == id) else { return false };
        track.gate.open = open;
        !open && track.voice.as_mut().is_some_and(VoiceActivity::reset)
    }

    /// Opens a protected packet in place and finds out what it is. Events are appended to `events`.
    pub fn ingest(
        &mut self,
        now: Instant,
        datagram: &mut [u8],
        counters: &Counters,
        events: &mut Vec<Event>,
    ) -> Option<Ingested> {
        let (len, seq) = match self.transport.unprotect_rtp(datagram) {
            Ok(opened) => opened,
            Err(SrtpError::Replayed) => {
                count(&counters.srtp_replayed);
                return None;
            }
            Err(_) => {
                count(&counters.srtp_refused);
                return None;
            }
        };
        let header = Header::parse(&datagram[..len], &self.extensions)?;
        if let Some(number) = header.transport_cc {
            self.arrivals.record(now, header.ssrc, number);
            self.arrivals_due.get_or_insert(now + rtcd_media::rtcp::TRANSPORT_CC_INTERVAL);
            self.touched = true;
        }
        let Some((stream, codec)) = self.stream_of(now, &header) else {
            count(&counters.rtp_unknown);
            return None;
        };
        let (id, layer) = (self.streams[stream].track, self.streams[stream].layer);
        let payload = header.len..len;
        let keyframe = codec.is_keyframe_start(&datagram[payload.clone()]);
        let entry = &mut self.streams[stream];
        let arrival = entry.reception.handle_packet(now, seq, header.timestamp);
        if codec.is_video() {
            if keyframe {
                entry.keyframes.fulfilled();
            } else if arrival.unrepairable && entry.keyframes.request(now) {
                self.arrivals_due.get_or_insert(now);
            }
            self.touched |= entry.reception.next_timeout().is_some();
        }
        let track = self.tracks.iter_mut().find(|track| track.spec.track == id)?;
        if !std::mem::replace(&mut track.started, true) {
            events.push(Event::TrackStarted { transport: self.id, track: id, codec });
        }
        let Some((seq, resumed)) = track.gate.pass(seq) else {
            count(&counters.rtp_gated);
            return None;
        };
        if let (Some(voice), Some(level)) = (&mut track.voice, header.audio_level)
            && let Some(active) = voice.handle_level(now, level)
        {
            events.push(Event::Voice { transport: self.id, track: id, active });
        }
        let meta = Meta {
            layer,
            seq,
            timestamp: header.timestamp,
            // A decoder treats the first packet after a pause as the beginning of a talk spurt.
            marker: header.marker || (resumed && !codec.is_video()),
            padding: datagram[0] & 0x20 != 0,
            keyframe,
            audio_level: header.audio_level,
        };
        Some(Ingested { forward: track.forward, meta, payload })
    }

    /// The stream of a packet, bound at its first packet, and its codec.
    fn stream_of(&mut self, now: Instant, header: &Header<'_>) -> Option<(usize, Codec)> {
        if let Some(at) = self.streams.iter().position(|stream| stream.reception.ssrc() == header.ssrc) {
            let id = self.streams[at].track;
            let track = self.tracks.iter().find(|track| track.spec.track == id)?;
            return Some((at, codec_of(&track.spec, header.payload_type)?));
        }
        let track =
            self.tracks.iter().find(|track| announces(&track.spec, header)).or_else(|| self.only_fit(header))?;
        let codec = codec_of(&track.spec, header.payload_type)?;
        let layer = layer_of(&track.spec, header)?;
        let id = track.spec.track;
        // A stream that takes the place of another (a new SSRC for the same layer) inherits nothing.
        self.streams.retain(|stream| stream.track != id || stream.layer != layer);
        if self.streams.len() == MAX_STREAMS {
            self.streams.remove(0);
        }
        let reception = Reception::new(header.ssrc, codec.clock_rate(), codec.is_video(), now);
        self.streams.push(Stream { reception, keyframes: KeyframeRequests::default(), track: id, layer });
        self.report_due.get_or_insert(now + REPORT_INTERVAL);
        self.touched = true;
        Some((self.streams.len() - 1, codec))
    }

    /// Without MID and announced SSRC, a payload type that only one section uses still tells (RFC 8843, section 9.2).
    fn only_fit(&self, header: &Header<'_>) -> Option<&IncomingTrack> {
        if header.mid.is_some() {
            return None;
        }
        let mut fitting = self.tracks.iter().filter(|track| codec_of(&track.spec, header.payload_type).is_some());
        fitting.next().filter(|_| fitting.next().is_none())
    }

    /// Asks this peer for a key frame, now or as soon as the rule allows. Whether one is to be sent now.
    pub fn request_keyframe(&mut self, now: Instant, track: TrackId, layer: Layer) -> Option<Ssrc> {
        self.touched = true;
        let stream = self.streams.iter_mut().find(|stream| stream.track == track && stream.layer == layer)?;
        stream.keyframes.request(now).then(|| stream.reception.ssrc())
    }

    /// Takes one from the budget of retransmissions.
    pub fn may_retransmit(&mut self, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.retransmissions_at).as_secs_f64() * RETRANSMISSIONS_PER_SECOND;
        self.retransmissions = (self.retransmissions + earned).min(RETRANSMISSION_BURST);
        self.retransmissions_at = now;
        let granted = self.retransmissions >= 1.0;
        if granted {
            self.retransmissions -= 1.0;
        }
        granted
    }

    /// When this peer must be looked at next.
    pub fn next_timeout(&self, now: Instant) -> Option<Instant> {
        let streams = self.streams.iter().flat_map(|stream| {
            [stream.reception.next_timeout(), stream.keyframes.next_timeout()].into_iter().flatten()
        });
        let own = [self.transport.next_timeout(now), self.arrivals_due, self.report_due].into_iter().flatten();
        own.chain(streams).min()
    }
}

fn merge(known: ExtensionIds, new: ExtensionIds) -> ExtensionIds {
    let or = |new: u8, known: u8| if new != 0 { new } else { known };
    ExtensionIds {
        mid: or(new.mid, known.mid),
        rid: or(new.rid, known.rid),
        repaired_rid: or(new.repaired_rid, known.repaired_rid),
        audio_level: or(new.audio_level, known.audio_level),
        transport_cc: or(new.transport_cc, known.transport_cc),
    }
}

fn codec_of(spec: &Incoming, payload_type: u8) -> Option<Codec> {
    spec.formats.iter().find(|(known, _)| *known == payload_type).map(|(_, codec)| *codec)
}

/// Whether the packet says itself, by MID or an announced SSRC, that it belongs to the track.
fn announces(spec: &Incoming, header: &Header<'_>) -> bool {
    match header.mid {
        Some(mid) => mid == spec.mid.0.as_bytes(),
        None => spec.ssrcs.contains(&header.ssrc),
    }
}

fn layer_of(spec: &Incoming, header: &Header<'_>) -> Option<Layer> {
    if spec.kind == MediaKind::Audio || (spec.rids.is_empty() && spec.ssrcs.len() <= 1) {
        return Some(Layer(0));
    }
    let at = match header.rid {
        Some(rid) => spec.rids.iter().position(|known| known.0.as_bytes() == rid),
        None if spec.rids.is_empty() => spec.ssrcs.iter().position(|known| *known == header.ssrc),
        // A simulcast stream that has not said its RID yet.
        None => None,
    };
    at.filter(|at| *at < MAX_LAYERS).map(|at| Layer(at as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_leaves_no_hole_in_the_numbering() {
        let mut gate = Gate::new(true);
        let pass = |gate: &mut Gate, seq| gate.pass(SeqNo(seq)).map(|(seq, resumed)| (seq.0, resumed));
        assert_eq!(pass(&mut gate, 100), Some((100, false)));
        assert_eq!(pass(&mut gate, 101), Some((101, false)));
        gate.open = false;
        assert_eq!(pass(&mut gate, 102), None);
        assert_eq!(pass(&mut gate, 110), None);
        gate.open = true;
        assert_eq!(pass(&mut gate, 111), Some((102, true)));
        assert_eq!(pass(&mut gate, 109), None, "late, from the pause");
        assert_eq!(pass(&mut gate, 113), Some((104, false)));
        assert_eq!(pass(&mut gate, 112), Some((103, false)));
    }

    #[test]
    fn a_gate_that_was_never_open_begins_with_the_first_packet_that_passes() {
        let mut gate = Gate::new(false);
        assert_eq!(gate.pass(SeqNo(5)), None);
        gate.open = true;
        assert_eq!(gate.pass(SeqNo(9)), Some((SeqNo(9), true)));
    }
}
