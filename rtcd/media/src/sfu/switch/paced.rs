//! What does not go out when it comes: pictures that wait for their turn, packets that are sent again, and padding.
use super::admission::Passage;
use super::forward::{Receiver, SentStream, forward_one, prepare, retransmit_one};
use super::peer::{Held, Peer};
use super::{Class, Sink, Switch};
use crate::rtp::{SeqNo, Ssrc};
use crate::sfu::bandwidth::Sent;
use crate::sfu::command::TrackId;
use crate::sfu::pacer::Turn;
use crate::sfu::{Epoch, Layer};
use std::time::Instant;

/// Packets of padding at once, and how far back those reach that are sent again for it.
const MAX_PADDING: u16 = 256;
const PADDING_REACH: u16 = 32;
/// Octets of a packet that fills the usual path.
const FULL_PACKET: usize = 1200;

impl Switch {
    /// Sends a peer what has waited for its turn, then padding if the estimate is to be tried.
    pub(super) fn send_what_waits(&mut self, now: Instant, key: usize, sink: &mut impl Sink) {
        let Some(sending) = self.peers.get_mut(key).and_then(|peer| peer.sending.as_mut()) else { return };
        sending.bandwidth.handle_timeout(now);
        let is_due = sending.decide_at <= now;
        while let Some(turn) = self.peers.get_mut(key).and_then(|peer| peer.sending.as_mut()?.pacer.pop(now)) {
            match turn {
                Turn::Send(held) => self.send_held(now, key, held, sink),
                Turn::Dropped(Held::Picture { ssrc, .. }) => self.break_picture(now, key, ssrc, sink),
                Turn::Dropped(Held::Again { .. }) => self.counters.paced_dropped += 1,
            }
        }
        self.send_padding(now, key, sink);
        if is_due {
            self.decide(now, key, sink);
        }
    }

    /// Sends a peer all that waits, whatever its turn is: nobody will be here to do it.
    pub(super) fn send_all_that_waits(&mut self, now: Instant, key: usize, sink: &mut impl Sink) {
        while let Some(held) = self.peers.get_mut(key).and_then(|peer| peer.sending.as_mut()?.pacer.pop_for_probe()) {
            self.send_held(now, key, held, sink);
        }
    }

    /// A packet of a stream has waited for too long: its receiver goes on with a key frame, and what waits beside is of no
    /// use.
    pub(super) fn break_picture(&mut self, now: Instant, key: usize, ssrc: Ssrc, sink: &mut impl Sink) {
        self.counters.paced_dropped += 1;
        let Some(peer) = self.peers.get_mut(key) else { return };
        if let Some(sending) = &mut peer.sending {
            sending.pacer.retain(|held| held.ssrc() != ssrc);
        }
        if let Some(SentStream { receiver, .. }) = self.sent_stream(key, ssrc) {
            receiver.admission.interrupt();
        }
        self.receiver_lost_picture(now, key, ssrc, sink);
    }

    /// Sends a packet that has waited.
    fn send_held(&mut self, now: Instant, key: usize, held: Held, sink: &mut impl Sink) {
        match held {
            Held::Again { ssrc, wire } => self.send_again(now, key, ssrc, wire, sink),
            Held::Picture { track, ssrc, layer, epoch, seq, passage } => {
                if !self.send_picture(now, key, (track, ssrc), (layer, epoch, seq), passage, sink) {
                    self.break_picture(now, key, ssrc, sink);
                }
            }
        }
    }

    /// Sends a picture's packet that has waited; false when it cannot be found any more.
    fn send_picture(
        &mut self,
        now: Instant,
        key: usize,
        (track, ssrc): (TrackId, Ssrc),
        (layer, epoch, seq): (Layer, Epoch, SeqNo),
        passage: Passage,
        sink: &mut impl Sink,
    ) -> bool {
        let Some(place) = self.tracks_by_id.get(&track).copied() else { return false };
        let (Some(track), Some(peer)) = (self.tracks.get_mut(place), self.peers.get_mut(key)) else { return false };
        let clocks = track.clocks;
        let Some((receiver, kept)) = track.receiver_and_kept(key, ssrc) else { return false };
        let Some((meta, payload)) = kept.get(layer, seq).filter(|(meta, _)| meta.epoch == epoch) else { return false };
        prepare(&mut receiver.rewriter, layer, passage);
        if forward_one(now, peer, receiver, &clocks, meta, payload, sink) {
            self.counters.forwarded += 1;
        }
        true
    }

    /// Sends padding, if the estimate is to be tried: what waits, then packets that went out lately, once more, in an RTX
    /// stream.
    fn send_padding(&mut self, now: Instant, key: usize, sink: &mut impl Sink) {
        let Some(sending) = self.peers.get_mut(key).and_then(|peer| peer.sending.as_mut()) else { return };
        let mut octets = sending.bandwidth.poll_padding(now);
        // What waits is sent anyway: it asks as well as padding would.
        while octets > 0 {
            let Some(peer) = self.peers.get_mut(key) else { return };
            let Some(held) = peer.sending.as_mut().and_then(|sending| sending.pacer.pop_for_probe()) else { break };
            self.send_held(now, key, held, sink);
            octets = octets.saturating_sub(FULL_PACKET);
        }
        let Some(peer) = self.peers.get(key).filter(|_| octets > 0) else { return };
        let with_rtx = peer.receives.iter().find_map(|(ssrc, place)| {
            let receiver = self.tracks.get_mut(*place)?.receiver(key, *ssrc)?;
            receiver.rewriter.numbers().rtx?;
            Some((*ssrc, receiver.rewriter.newest()?.wire()))
        });
        let Some((ssrc, newest)) = with_rtx else { return };
        let Some(SentStream { peer, receiver, kept, .. }) = self.sent_stream(key, ssrc) else { return };
        let mut sent = 0;
        for back in 0..MAX_PADDING {
            if octets == 0 {
                break;
            }
            let wire = newest.wrapping_sub(back % PADDING_REACH);
            let Some(len) = retransmit_one(now, peer, receiver, kept, wire, Sent::Padding, sink)
                .or_else(|| pad_one(now, peer, receiver, sink))
            else {
                break;
            };
            sent += 1;
            octets = octets.saturating_sub(len);
        }
        self.counters.padding += sent;
    }
}

/// Sends a packet of nothing but padding in the RTX stream of another one. Gives its length.
fn pad_one(now: Instant, peer: &mut Peer, receiver: &mut Receiver, sink: &mut impl Sink) -> Option<usize> {
    let (path, protector) = peer.transport.outgoing()?;
    let sending = peer.sending.as_mut()?;
    let slot = sink.slot();
    let (len, seq) = receiver.rewriter.pad(u8::MAX, sending.bandwidth.next_number(), slot)?;
    let len = protector.protect_rtp(slot, len, seq)?;
    sending.note_sent(now, len, Sent::Padding);
    sink.commit(path, len, Class::Video { keyframe: false });
    Some(len)
}
