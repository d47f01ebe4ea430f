//! Which stream a packet is of; a new one is bound to its track at its first packet.
use super::gate::Gate;
use super::{MAX_STREAMS, NoStream, Packet, Peer, REPORT_INTERVAL, Stream};
use crate::codec::Codec;
use crate::rtp::{Header, SeqNo, Ssrc};
use crate::sfu::Layer;
use crate::sfu::keyframe::KeyframeRequests;
use crate::sfu::receive::Reception;
use std::time::{Duration, Instant};

/// Replaced streams that are remembered, and for how long: packets that were under way when their stream was replaced do
/// not replace it back.
const MAX_RETIRED: usize = 16;
pub(super) const RETIRED_FOR: Duration = Duration::from_secs(1);

impl Peer {
    /// Finds out which stream a packet is of, or which one it repairs.
    pub(super) fn place(
        &mut self,
        now: Instant,
        header: &Header<'_>,
        packet: &[u8],
        seq: SeqNo,
    ) -> Result<Packet, NoStream> {
        let known = self.streams.iter().position(|stream| stream.reception.ssrc() == header.ssrc);
        if known.is_none()
            && let Some(repair) = self.repair_of(header)
        {
            return self.repaired(&repair, header, packet).ok_or(NoStream::Useless);
        }
        let (stream, codec) = match known {
            Some(at) => (at, self.codec_of(at, header)?),
            None => self.new_stream(now, header)?,
        };
        Ok(Packet { stream, codec, seq, payload: header.len..packet.len() })
    }

    /// The codec of a packet of a stream that is known.
    fn codec_of(&self, stream: usize, header: &Header<'_>) -> Result<Codec, NoStream> {
        let id = self.streams[stream].track;
        let track = self.tracks.iter().find(|track| track.spec.track == id);
        track.and_then(|track| track.codec_of(header.payload_type)).ok_or(NoStream::Unknown)
    }

    /// Binds a stream at its first packet; gives its place and the packet's codec.
    fn new_stream(&mut self, now: Instant, header: &Header<'_>) -> Result<(usize, Codec), NoStream> {
        let announced = self.tracks.iter().position(|track| track.announces(header));
        let track = announced.or_else(|| self.only_fit(header)).ok_or(NoStream::Unknown)?;
        let codec = self.tracks[track].codec_of(header.payload_type).ok_or(NoStream::Unknown)?;
        let layer = self.tracks[track].layer_of(header).ok_or(NoStream::Unknown)?;
        if self.retired.iter().any(|(ssrc, at)| *ssrc == header.ssrc && now < *at + RETIRED_FOR) {
            return Err(NoStream::Superseded);
        }
        Ok((self.bind(now, header.ssrc, track, layer, codec), codec))
    }

    /// A stream is heard for the first time. One that takes the place of another (a new SSRC for the same layer) inherits
    /// nothing but the wish for a key frame: its receivers are carried over by its epoch.
    fn bind(&mut self, now: Instant, ssrc: Ssrc, track: usize, layer: Layer, codec: Codec) -> usize {
        let id = self.tracks[track].spec.track;
        let mut keyframes = KeyframeRequests::default();
        if let Some(at) = self.streams.iter().position(|stream| stream.track == id && stream.layer == layer) {
            let old = self.streams.swap_remove(at);
            if self.retired.len() == MAX_RETIRED {
                self.retired.pop_front();
            }
            self.retired.push_back((old.reception.ssrc(), now));
            keyframes = old.keyframes;
        }
        if self.tracks[track].grant(layer) {
            keyframes.want(now);
        }
        if self.streams.len() == MAX_STREAMS {
            let silent = (0..MAX_STREAMS).min_by_key(|at| self.streams[*at].heard).unwrap_or(0);
            self.streams.swap_remove(silent);
        }
        self.epochs.0 = self.epochs.0.wrapping_add(1);
        let (is_video, nack) = (codec.is_video(), codec.is_video() || self.tracks[track].spec.nack);
        let reception = Reception::new(ssrc, self.epochs, codec.clock_rate(), nack, now);
        self.streams.push(Stream {
            reception,
            keyframes,
            track: id,
            layer,
            is_video,
            heard: now,
            gate: Gate::default(),
        });
        self.report_due.get_or_insert(now + REPORT_INTERVAL);
        self.touched = true;
        self.streams.len() - 1
    }

    /// Without MID and announced SSRC, a payload type that only one section uses still tells (RFC 8843, section 9.2).
    fn only_fit(&self, header: &Header<'_>) -> Option<usize> {
        if header.mid.is_some() {
            return None;
        }
        let fits = |at: &usize| self.tracks[*at].codec_of(header.payload_type).is_some();
        let mut fitting = (0..self.tracks.len()).filter(fits);
        fitting.next().filter(|_| fitting.next().is_none())
    }
}
