//! What does not go out when it comes: pictures that wait for their turn, packets that are sent again, and padding.
use super::admission::Passage;
use super::forward::{forward_one, prepare};
use super::peer::Held;
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

    /// A packet of a stream has waited for too long: its receiver goes on with a key frame, and what waits beside is of no
    /// use.
    pub(super) fn break_picture(&mut self, now: Instant, key: usize, ssrc: Ssrc, sink: &mut impl Sink) {
        self.counters.paced_dropped += 1;
        let Some(peer) = self.peers.get_mut(key) else { return };
        if let Some(sending) = &mut peer.sending {
            sending.pacer.retain(|held| held.ssrc() != ssrc);
        }
        let Some((_, place)) = peer.receives.iter().find(|(known, _)| *known == ssrc).copied() else { return };
        if let Some((receiver, _)) = self.tracks.get_mut(place).and_then(|track| track.receiver_and_kept(key, ssrc)) {
            receiver.admission.interrupt();
        }
        self.receiver_lost_picture(now, key, ssrc, sink);
    }

    /// Sends a packet that has waited.
    fn send_held(&mut self, now: Instant, key: usize, held: Held, sink: &mut impl Sink) {
        match held {
            Held::Again { ssrc, wire } => self.send_again(now, key, ssrc, wire, Sent::Retransmission, sink),
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
        let receives = peer.receives.clone();
        let with_rtx = receives.iter().find_map(|(ssrc, place)| {
            let (receiver, _) = self.tracks.get_mut(*place)?.receiver_and_kept(key, *ssrc)?;
            Some((*ssrc, *place, receiver.rewriter.newest_with_rtx()?))
        });
        let Some((ssrc, place, newest)) = with_rtx else { return };
        for back in 0..MAX_PADDING {
            if octets == 0 {
                return;
            }
            let wire = newest.wrapping_sub(back % PADDING_REACH);
            let (Some(track), Some(peer)) = (self.tracks.get_mut(place), self.peers.get_mut(key)) else { return };
            let Some((receiver, kept)) = track.receiver_and_kept(key, ssrc) else { return };
            let Some(sending) = &mut peer.sending else { return };
            let Some((path, protector)) = peer.transport.outgoing() else { return };
            let (number, slot) = (sending.bandwidth.next_number(), sink.slot());
            let rewriter = &mut receiver.rewriter;
            let mut written = rewriter.retransmit(wire, |layer, seq| kept.get(layer, seq), number, slot);
            if written.is_none() {
                written = rewriter.pad(u8::MAX, number, slot);
            }
            let Some((len, seq)) = written else { return };
            let Some(len) = protector.protect_rtp(slot, len, seq) else { return };
            sending.note_sent(now, len, Sent::Padding);
            sink.commit(path, len, Class::Video { keyframe: false });
            self.counters.padding += 1;
            octets = octets.saturating_sub(len);
        }
    }
}
