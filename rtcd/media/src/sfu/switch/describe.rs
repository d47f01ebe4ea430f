//! How peers and their tracks are at this moment, for whoever looks after the machine.
use super::Switch;
use super::forward::ForwardTrack;
use super::peer::{Peer, Stream};
use crate::demux::Path;
use crate::rtp::Ssrc;
use crate::sfu::Layer;
use crate::sfu::bandwidth::Bitrate;
use crate::sfu::command::{TrackId, TransportId};
use std::time::{Duration, Instant};

/// One participant on its worker.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerStatus {
    /// Whose it is.
    pub transport: TransportId,
    /// The way that packets take to it; `None` before its first check.
    pub path: Option<Path>,
    /// DTLS is through.
    pub connected: bool,
    /// There and back, by its last report.
    pub round_trip: Option<Duration>,
    /// Share of what we have sent that it has not received, 0..=1, by its last report.
    pub lost: Option<f32>,
    /// What its way is taken to carry; `None` unless it receives pictures.
    pub estimate: Option<Bitrate>,
    /// What it sends.
    pub sends: Vec<SentStatus>,
    /// What it receives.
    pub receives: Vec<ReceivedStatus>,
}

/// A stream that a peer sends: one layer of a track.
#[derive(Clone, Debug, PartialEq)]
pub struct SentStatus {
    /// The track.
    pub track: TrackId,
    /// Which of its layers; 0 is the lowest.
    pub layer: Layer,
    /// Of the last two seconds; `None` while nobody on this worker receives it.
    pub bitrate: Option<Bitrate>,
    /// Packets received, and those that should have been.
    pub packets: (u64, u64),
    /// Variation of the times between packets (RFC 3550, section 6.4.1).
    pub jitter: Duration,
    /// Since its last packet.
    pub silent: Duration,
}

/// A track that a peer receives.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceivedStatus {
    /// The track.
    pub track: TrackId,
    /// The layer that it gets, or will with the next key frame.
    pub layer: Layer,
    /// Its way has no room for it.
    pub paused: bool,
    /// It waits for a key frame.
    pub waits: bool,
    /// What the layer carries.
    pub bitrate: Option<Bitrate>,
}

impl Switch {
    /// Everybody on this worker.
    pub fn describe(&self, now: Instant) -> Vec<PeerStatus> {
        self.peers.iter().map(|(key, peer)| self.describe_peer(now, key, peer)).collect()
    }

    fn describe_peer(&self, now: Instant, key: usize, peer: &Peer) -> PeerStatus {
        let bandwidth = peer.sending.as_ref().map(|sending| &sending.bandwidth);
        let received = |(ssrc, place): &(Ssrc, usize)| {
            let track = self.tracks.get(*place)?;
            let receiver = track.receiver_of(key, *ssrc)?;
            let layer = receiver.admission.target();
            Some(ReceivedStatus {
                track: track.id,
                layer,
                paused: receiver.is_paused,
                waits: receiver.kind.is_some() && receiver.admission.awaits_keyframe(),
                bitrate: rate(track, now, layer),
            })
        };
        PeerStatus {
            transport: peer.id,
            path: peer.transport.ice().selected(),
            connected: peer.transport.is_connected(),
            round_trip: bandwidth.and_then(|bandwidth| bandwidth.round_trip()).or(peer.way.round_trip),
            lost: peer.way.lost.map(|lost| f32::from(lost) / 256.0),
            estimate: bandwidth.map(|bandwidth| bandwidth.estimate()),
            sends: peer.streams.iter().map(|stream| self.describe_stream(now, stream)).collect(),
            receives: peer.receives.iter().filter_map(received).collect(),
        }
    }

    fn describe_stream(&self, now: Instant, stream: &Stream) -> SentStatus {
        let track = self.tracks_by_id.get(&stream.track).and_then(|place| self.tracks.get(*place));
        SentStatus {
            track: stream.track,
            layer: stream.layer,
            bitrate: track.and_then(|track| rate(track, now, stream.layer)),
            packets: stream.reception.packets(),
            jitter: stream.reception.jitter(),
            silent: now.saturating_duration_since(stream.heard),
        }
    }
}

fn rate(track: &ForwardTrack, now: Instant, layer: Layer) -> Option<Bitrate> {
    track.rates(now).get(usize::from(layer.0)).copied().flatten()
}
