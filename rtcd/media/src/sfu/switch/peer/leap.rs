//! How far everything is that a peer's keys are used with, and how the peer goes on when the process that had it has died: see
//! [`reserve`](crate::reserve).
use super::{Peer, Stream};
use crate::rtp::{SeqNo, Ssrc};
use crate::sfu::command::{TrackId, TransportId};
use crate::sfu::receive::Reception;
use crate::sfu::rewrite::{Rewriter, StreamNumbers};
use crate::sfu::switch::forward::{ForwardTrack, Receiver};
use crate::sfu::switch::keep::rewriter;
use crate::transport::TransportNumbers;
use serde::{Deserialize, Serialize, Serializer};
use slab::Slab;
use std::time::Instant;

/// Streams that may have been heard for the first time since the peer was written down.
const STREAMS: u32 = 64;

/// How far a peer is.
#[derive(Clone, Debug, Deserialize)]
pub struct PeerNumbers {
    /// Which peer.
    pub(in crate::sfu::switch) transport: TransportId,
    of_transport: TransportNumbers,
    heard: Vec<(Ssrc, SeqNo)>,
    heard_rtcp: Vec<(Ssrc, SeqNo)>,
    /// The next transport-wide number.
    number: Option<u64>,
    streams: Vec<Option<StreamNumbers>>,
}

/// [`PeerNumbers`] as they are written: nothing is allocated for it.
#[derive(Serialize)]
pub(in crate::sfu::switch) struct Written<H, R, S> {
    transport: TransportId,
    of_transport: TransportNumbers,
    heard: H,
    heard_rtcp: R,
    number: Option<u64>,
    streams: S,
}

/// A sequence that is made while it is written.
struct Each<F>(F);

impl<I: Iterator<Item: Serialize>, F: Fn() -> I> Serialize for Each<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

impl Peer {
    /// How far it is, by its place among the peers. `None` until the handshake is over.
    pub fn numbers<'a>(&'a self, key: usize, tracks: &'a Slab<ForwardTrack>) -> Option<impl Serialize + 'a> {
        let (of_transport, unprotector) = self.transport.numbers()?;
        let stream =
            move |(ssrc, place): &(Ssrc, usize)| rewriter(tracks, *place, key, *ssrc).map(Rewriter::stream_numbers);
        let streams = move || self.receives.iter().map(stream).chain(self.used.iter().map(|used| Some(*used)));
        Some(Written {
            transport: self.id,
            of_transport,
            heard: Each(|| unprotector.newest()),
            heard_rtcp: Each(|| unprotector.newest_rtcp()),
            number: self.sending.as_ref().map(|sending| sending.bandwidth.numbers_used()),
            streams: Each(streams),
        })
    }

    /// How far it was when it was written down itself; `receives` are those that it is sent.
    pub fn numbers_of(&self, receives: &[(TrackId, Receiver)]) -> Option<PeerNumbers> {
        let (of_transport, unprotector) = self.transport.numbers()?;
        let streams = receives.iter().map(|(_, receiver)| Some(receiver.rewriter.stream_numbers()));
        Some(PeerNumbers {
            transport: self.id,
            of_transport,
            heard: unprotector.newest().collect(),
            heard_rtcp: unprotector.newest_rtcp().collect(),
            number: self.sending.as_ref().map(|sending| sending.bandwidth.numbers_used()),
            streams: streams.collect(),
        })
    }

    /// Goes on behind whoever died. Its own streams are heard anew; `receives` are those that it is sent.
    pub fn leap<'a>(&mut self, now: Instant, numbers: PeerNumbers, receives: impl Iterator<Item = &'a mut Rewriter>) {
        let PeerNumbers { of_transport, heard, heard_rtcp, number, streams, .. } = numbers;
        self.transport.leap(now, of_transport, &heard, &heard_rtcp);
        self.epochs.0 = self.epochs.0.wrapping_add(STREAMS);
        for stream in &mut self.streams {
            self.epochs.0 = self.epochs.0.wrapping_add(1);
            stream.leap(now, self.epochs);
        }
        for track in &mut self.tracks {
            track.fall_silent();
        }
        self.arrivals = crate::rtcp::TransportCcRecorder::new(now);
        if let (Some(sending), Some(number)) = (&mut self.sending, number) {
            sending.bandwidth.leap(number);
        }
        self.used = streams.into_iter().flatten().collect();
        for rewriter in receives {
            self.leap_stream(rewriter);
        }
    }

    /// A stream goes on behind what was sent of it before, if anything was.
    pub fn leap_stream(&mut self, rewriter: &mut Rewriter) {
        match self.used.iter().position(|used| used.ssrc == rewriter.ssrc()) {
            Some(at) => rewriter.leap(&self.used.swap_remove(at)),
            // Nothing of it was written down, so that nothing was sent.
            None => rewriter.hold(),
        }
    }
}

impl Stream {
    fn leap(&mut self, now: Instant, epoch: crate::sfu::Epoch) {
        self.reception = self.reception.begin_anew(now, epoch);
        self.gate = super::gate::Gate::default();
        self.heard = now;
        if self.is_video {
            self.keyframes.want(now);
        }
    }
}

impl Reception {
    /// The same stream, of which nothing is known any more.
    fn begin_anew(&self, now: Instant, epoch: crate::sfu::Epoch) -> Self {
        Self::new(self.ssrc(), epoch, self.clock_rate(), self.asks_for_missing(), now)
    }
}
