//! Forwarding: the packets of a track to each of its receivers here, at once or when their turn comes, and to the workers that
//! have others.
mod table;

pub(super) use table::{ForwardTrack, Kept, KeptTrack, Receiver};

use super::admission::Passage;
use super::peer::{Held, Peer};
use super::{Class, Counters, Sink, Switch};
use crate::rtcp;
use crate::rtp::Ssrc;
use crate::sfu::bandwidth::Sent;
use crate::sfu::command::TrackId;
use crate::sfu::receive::ClockReference;
use crate::sfu::rewrite::Rewriter;
use crate::sfu::{Layer, Meta};
use std::time::Instant;

/// Longest compound packet before protection: with SRTCP's trailer, UDP and IPv6 it stays below the least MTU of 1280.
const MAX_COMPOUND: usize = 1100;

/// One stream that a peer receives, and what it takes to send it.
pub(super) struct SentStream<'a> {
    /// Its place in the forward table.
    pub place: usize,
    /// Who receives it.
    pub peer: &'a mut Peer,
    /// Its state.
    pub receiver: &'a mut Receiver,
    /// What can be sent again of it.
    pub kept: Kept<'a>,
}

impl Switch {
    /// The stream that a peer receives as `ssrc`.
    pub(super) fn sent_stream(&mut self, key: usize, ssrc: Ssrc) -> Option<SentStream<'_>> {
        let peer = self.peers.get_mut(key)?;
        let (_, place) = *peer.receives.iter().find(|(known, _)| *known == ssrc)?;
        let (receiver, kept) = self.tracks.get_mut(place)?.receiver_and_kept(key, ssrc)?;
        Some(SentStream { place, peer, receiver, kept })
    }

    /// Hands `count` packets of one track, given by `packet`, to the workers that have receivers of it; whether there are any.
    pub(super) fn hand_over_packets<'b, S: Sink>(
        &self,
        forward: usize,
        count: usize,
        packet: impl Fn(usize) -> (Meta, &'b [u8]),
        sink: &mut S,
    ) -> bool {
        let Some(track) = self.tracks.get(forward) else { return false };
        for worker in track.remote.iter() {
            for at in 0..count {
                let (meta, payload) = packet(at);
                sink.hand_over_media(worker, track.id, &meta, payload);
            }
        }
        !track.remote.is_empty()
    }

    /// Forwards `count` packets of one track, given by `packet`: per receiver all of them, so that they leave together.
    pub(super) fn forward_packets<'b, S: Sink>(
        &mut self,
        now: Instant,
        forward: usize,
        count: usize,
        packet: impl Fn(usize) -> (Meta, &'b [u8]),
        sink: &mut S,
    ) {
        let Some(track) = self.tracks.get_mut(forward) else { return };
        for at in 0..count {
            let (meta, payload) = packet(at);
            track.keep(now, meta, payload);
        }
        let (id, keeps, mut wake, mut broken) = (track.id, track.keeps(), false, Vec::new());
        let sheds = u64::from(self.overload.is_on());
        self.forwarding = Some(forward);
        let (kept, clocks) = (Kept(&track.caches), &track.clocks);
        for receiver in &mut track.receivers {
            // A panic ends one session, see `handle_panic`.
            self.current = Some(receiver.peer);
            let Some(peer) = self.peers.get_mut(receiver.peer) else { continue };
            for at in 0..count {
                let (meta, payload) = packet(at);
                if receiver.kind.is_some() {
                    if receiver.is_paused {
                        self.counters.shed += sheds;
                        continue;
                    }
                    let passage = receiver.admission.admit(now, &meta, payload.len());
                    if passage == Passage::LeftOut {
                        self.counters.shed += sheds;
                        continue;
                    }
                    if keeps && let Some(held) = hold(now, peer, receiver, id, (&meta, passage), sheds > 0) {
                        wake |= !peer.touched;
                        broken.extend(held.map(|ssrc| (receiver.peer, ssrc)));
                        continue;
                    }
                    prepare(&mut receiver.rewriter, meta.layer, passage);
                }
                if !forward_one(now, peer, receiver, clocks, &meta, payload, sink) {
                    continue;
                }
                self.counters.forwarded += 1;
                if peer.repetition.is_on(now) && repeat(now, peer, receiver, kept, sink) {
                    self.counters.repeated += 1;
                }
            }
            if receiver.rewriter.is_short() {
                self.keeping.hold();
            }
            if std::mem::take(&mut wake) {
                peer.touched = true;
                self.touched.push(receiver.peer);
            }
        }
        (self.current, self.forwarding) = (None, None);
        if !track.receivers.is_empty() {
            sink.forwarded(track.id);
        }
        for (key, ssrc) in broken {
            self.break_picture(now, key, ssrc, sink);
        }
    }

    /// Protects a compound RTCP packet and sends it to a peer, in as many datagrams as it takes.
    pub(super) fn send_rtcp(peer: &mut Peer, compound: &[u8], counters: &mut Counters, sink: &mut impl Sink) {
        for part in rtcp::split(compound, MAX_COMPOUND) {
            let Some((path, protector)) = peer.transport.outgoing() else { return };
            let slot = sink.slot();
            let Some(room) = slot.get_mut(..part.len()) else {
                counters.rtcp_dropped += 1;
                continue;
            };
            room.copy_from_slice(part);
            if let Some(len) = protector.protect_rtcp(slot, part.len()) {
                sink.commit(path, len, Class::Control);
            }
        }
    }
}

/// Lets a picture's packet wait for its turn, in any case while it `waits_for_voice`; `None` when it can go out at once.
/// `Some(Some(ssrc))`: another one had to give way for it, and the picture of that stream is broken.
#[inline]
fn hold(
    now: Instant,
    peer: &mut Peer,
    receiver: &Receiver,
    track: TrackId,
    (meta, passage): (&Meta, Passage),
    waits_for_voice: bool,
) -> Option<Option<Ssrc>> {
    let sending = peer.sending.as_mut()?;
    if !waits_for_voice && sending.pacer.is_idle() && sending.pacer.has_room(now) {
        return None;
    }
    let (ssrc, layer, epoch, seq) = (receiver.rewriter.ssrc(), meta.layer, meta.epoch, meta.seq);
    if passage == Passage::Switches {
        // What waits of the layer before has not been numbered: it is not missed, and the new one comes sooner.
        sending.pacer.retain(|held| held.ssrc() != ssrc || matches!(held, Held::Again { .. }));
    }
    let pushed_out = sending.pacer.push(now, Held::Picture { track, ssrc, layer, epoch, seq, passage });
    Some(pushed_out.map(|held| held.ssrc()))
}

/// Tells the rewriter what a packet that leaves now is the beginning of.
pub(super) fn prepare(rewriter: &mut Rewriter, layer: Layer, passage: Passage) {
    rewriter.set_target(layer);
    if passage == Passage::Begins {
        rewriter.suspend();
    }
}

/// Sends one packet of a track to one of its receivers; whether it goes out.
#[inline]
pub(super) fn forward_one(
    now: Instant,
    peer: &mut Peer,
    receiver: &mut Receiver,
    clocks: &[Option<ClockReference>],
    meta: &Meta,
    payload: &[u8],
    sink: &mut impl Sink,
) -> bool {
    #[cfg(test)]
    tests::hit_bug(receiver.rewriter.ssrc());
    let Some((path, protector)) = peer.transport.outgoing() else { return false };
    let number = peer.sending.as_ref().map_or(0, |sending| sending.bandwidth.next_number());
    let slot = sink.slot();
    let Some((len, seq)) = receiver.rewriter.forward(now, meta, payload, clocks, number, slot) else { return false };
    let Some(len) = protector.protect_rtp(slot, len, seq) else { return false };
    if let Some(sending) = &mut peer.sending {
        sending.note_sent(now, len, Sent::Media);
        if receiver.kind.is_some() {
            sending.begin(now);
        }
    }
    let is_video = receiver.rewriter.codec().is_video();
    let class = if is_video { Class::Video { keyframe: meta.keyframe } } else { Class::Voice };
    sink.commit(path, len, class);
    true
}

/// Sends a packet of a stream again, by its outgoing number `wire`. Gives its length; `None` when it is not here any more.
pub(super) fn retransmit_one(
    now: Instant,
    peer: &mut Peer,
    receiver: &mut Receiver,
    kept: Kept<'_>,
    wire: u16,
    what: Sent,
    sink: &mut impl Sink,
) -> Option<usize> {
    let (path, protector) = peer.transport.outgoing()?;
    let number = peer.sending.as_ref().map_or(0, |sending| sending.bandwidth.next_number());
    let slot = sink.slot();
    let (len, seq) = receiver.rewriter.retransmit(wire, |layer, seq| kept.get(layer, seq), number, slot)?;
    let len = protector.protect_rtp(slot, len, seq)?;
    match &mut peer.sending {
        // It goes out under the transport-wide number that it has.
        Some(sending) if receiver.rewriter.numbers().rtx.is_none() => sending.pacer.charge(now, len),
        Some(sending) => sending.note_sent(now, len, what),
        None => {}
    }
    sink.commit(path, len, if receiver.kind.is_some() { Class::Video { keyframe: false } } else { Class::Voice });
    Some(len)
}

/// Sends the packet before the newest one of a stream again, where the way has room for that; whether it goes out.
fn repeat(now: Instant, peer: &mut Peer, receiver: &mut Receiver, kept: Kept<'_>, sink: &mut impl Sink) -> bool {
    // A call without pictures has no estimate: two packets of voice are no burden.
    let has_room = match &peer.sending {
        Some(sending) if receiver.kind.is_some() => receiver.rewriter.numbers().rtx.is_some() && sending.carries_twice,
        Some(sending) => sending.carries_voice_twice,
        None => true,
    };
    let newest = receiver.rewriter.newest().filter(|_| has_room);
    newest.is_some_and(|newest| {
        let wire = newest.wire().wrapping_sub(1);
        retransmit_one(now, peer, receiver, kept, wire, Sent::Retransmission, sink).is_some()
    })
}

#[cfg(test)]
mod tests;
