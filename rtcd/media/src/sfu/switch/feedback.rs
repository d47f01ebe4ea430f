//! RTCP both ways: what receivers want, what senders say of their clocks, what we report and ask for.
use super::forward::{SentStream, retransmit_one};
use super::peer::{Held, Peer, REPORT_INTERVAL};
use super::{Handoff, Owner, Sink, Switch};
use crate::demux::Path;
use crate::rtcp::{self, Message, ReportBlock, SenderInfo};
use crate::rtp::Ssrc;
use crate::sfu::Layer;
use crate::sfu::bandwidth::{Bitrate, Sent};
use crate::sfu::command::TrackId;
use std::time::{Duration, Instant};

/// Our own stream in RTCP: we have none, any constant will do.
const OUR_SSRC: Ssrc = 1;
/// Messages of one compound packet that are acted upon. A browser that has lost 200 ms of a screen share asks for some 60
/// packets at once.
const MAX_MESSAGES: usize = 256;
/// Blocks in one receiver report: a field of five bits counts them.
const MAX_BLOCKS: usize = 31;

/// A message that is acted upon after the packet has been read.
enum Action {
    Sender(SenderInfo),
    Resend(Ssrc, u16),
    Keyframe(Ssrc),
}

impl Switch {
    /// Opens and acts upon a compound RTCP packet of a peer.
    pub(super) fn handle_rtcp(&mut self, now: Instant, key: usize, datagram: &mut [u8], sink: &mut impl Sink) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let Ok(len) = peer.transport.unprotect_rtcp(datagram) else {
            self.counters.srtp_refused += 1;
            return;
        };
        let mut actions = Vec::new();
        let mut is_feedback = false;
        let was_silent = peer.is_silent();
        let (tracks, sending, receives) = (&mut self.tracks, &mut peer.sending, &peer.receives);
        let (repetition, way) = (&mut peer.repetition, &mut peer.way);
        rtcp::read(&datagram[..len], |message| {
            if actions.len() >= MAX_MESSAGES {
                return;
            }
            match message {
                Message::Sender(info) => actions.push(Action::Sender(info)),
                Message::Nack { media, pairs } => {
                    actions.extend(rtcp::lost_packets(pairs).take(MAX_MESSAGES).map(|seq| Action::Resend(media, seq)));
                }
                Message::Pli { media } | Message::Fir { media } => actions.push(Action::Keyframe(media)),
                Message::TransportCc(feedback) => {
                    if let Some(sending) = sending {
                        sending.bandwidth.handle_transport_cc(now, &feedback);
                        repetition.handle_loss(now, sending.bandwidth.loss());
                        is_feedback = true;
                    }
                }
                Message::Remb(remb) => {
                    if let Some(sending) = sending {
                        sending.bandwidth.handle_remb(now, Bitrate(remb.bitrate));
                        is_feedback = true;
                    }
                }
                Message::Report(block) => {
                    let of_block = receives.iter().find(|(ssrc, _)| *ssrc == block.ssrc);
                    let Some((ssrc, place)) = of_block.copied() else { return };
                    let receiver = tracks.get_mut(place).and_then(|track| track.receiver(key, ssrc));
                    if let Some(receiver) = &receiver {
                        way.round_trip = round_trip(now, &block, receiver.reported).or(way.round_trip);
                        way.lost = Some(block.fraction_lost);
                    }
                    match (receiver, sending.as_mut()) {
                        (Some(receiver), _) if receiver.kind.is_none() => {
                            repetition.handle_report(now, receiver.lost_on_its_way(block.fraction_lost));
                        }
                        (Some(receiver), Some(sending)) => {
                            let round_trip = round_trip(now, &block, receiver.reported);
                            sending.bandwidth.handle_report(now, block.fraction_lost, round_trip);
                            is_feedback = true;
                        }
                        _ => {}
                    }
                }
            }
        });
        if is_feedback {
            if was_silent && !self.peers.get(key).is_some_and(Peer::is_silent) {
                // What was sent meanwhile has reached nobody, and more than can be sent again.
                self.refresh_pictures(now, key, sink);
            }
            self.after_feedback(now, key, sink);
        }
        for action in actions {
            match action {
                Action::Sender(info) => self.handle_sender_info(now, key, info, sink),
                Action::Resend(ssrc, seq) => self.resend(now, key, ssrc, seq, sink),
                Action::Keyframe(ssrc) => self.receiver_lost_picture(now, key, ssrc, sink),
            }
        }
    }

    /// Chooses layers again if the estimate is another, and looks at deadlines only if one has come closer: feedback comes
    /// more often than anything else.
    fn after_feedback(&mut self, now: Instant, key: usize, sink: &mut impl Sink) {
        let Some(peer) = self.peers.get(key) else { return };
        let Some(sending) = &peer.sending else { return };
        let is_closer = sending.next_timeout(now).is_some_and(|due| peer.scheduled.is_none_or(|known| due < known));
        if sending.is_news() {
            self.decide(now, key, sink);
        } else if !is_closer {
            return;
        }
        self.touch(key);
    }

    /// Asks for key frames of everything that a peer sees.
    fn refresh_pictures(&mut self, now: Instant, key: usize, sink: &mut impl Sink) {
        let receives = self.peers.get(key).map(|peer| peer.receives.clone()).unwrap_or_default();
        for (ssrc, place) in receives {
            let receiver = self.tracks.get_mut(place).and_then(|track| track.receiver(key, ssrc));
            if receiver.is_some_and(|receiver| receiver.kind.is_some() && !receiver.is_paused) {
                self.receiver_lost_picture(now, key, ssrc, sink);
            }
        }
    }

    fn handle_sender_info(&mut self, now: Instant, key: usize, info: SenderInfo, sink: &mut impl Sink) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let Some(stream) = peer.streams.iter_mut().find(|stream| stream.reception.ssrc() == info.ssrc) else { return };
        stream.reception.handle_sender_info(now, info);
        let (track, layer, clock) = (stream.track, stream.layer, stream.reception.clock());
        let Some((place, clock)) = self.tracks_by_id.get(&track).copied().zip(clock) else { return };
        let entry = &mut self.tracks[place];
        if let Some(known) = entry.clocks.get_mut(layer.0 as usize) {
            *known = Some(clock);
        }
        for worker in entry.remote.iter() {
            sink.hand_over(worker, Handoff::Clock { track, layer, clock });
        }
    }

    /// Sends a packet again that a receiver misses, or lets it wait for its turn.
    fn resend(&mut self, now: Instant, key: usize, ssrc: Ssrc, wire: u16, sink: &mut impl Sink) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if !peer.retransmissions.take(now) {
            self.counters.retransmit_missed += 1;
            return;
        }
        if let Some(sending) = &mut peer.sending {
            if !sending.may_repair(now, ssrc, wire) {
                self.counters.retransmit_missed += 1;
                return;
            }
            if !sending.pacer.has_room(now) {
                if sending.pacer.push_retransmission(now, Held::Again { ssrc, wire }).is_some() {
                    self.counters.paced_dropped += 1;
                }
                return self.touch(key);
            }
        }
        self.send_again(now, key, ssrc, wire, sink);
    }

    /// Sends a packet again that its receiver has asked for.
    pub(super) fn send_again(&mut self, now: Instant, key: usize, ssrc: Ssrc, wire: u16, sink: &mut impl Sink) {
        let Some(SentStream { peer, receiver, kept, .. }) = self.sent_stream(key, ssrc) else { return };
        let Some(len) = retransmit_one(now, peer, receiver, kept, wire, Sent::Retransmission, sink) else {
            self.counters.retransmit_missed += 1;
            return;
        };
        if let Some(sending) = &mut peer.sending {
            sending.note_repaired(now, len);
        }
        self.counters.retransmitted += 1;
    }

    /// A stream over this path has a hole that nothing but a key frame closes: what waited for the path was dropped.
    pub fn handle_backlog_dropped(&mut self, now: Instant, path: Path, ssrc: Ssrc, sink: &mut impl Sink) {
        if let Some(Owner::Peer(key)) = self.paths.get(&path).copied() {
            self.receiver_lost_picture(now, key, ssrc, sink);
        }
    }

    pub(super) fn receiver_lost_picture(&mut self, now: Instant, key: usize, ssrc: Ssrc, sink: &mut impl Sink) {
        if let Some(SentStream { place, receiver, .. }) = self.sent_stream(key, ssrc) {
            let layer = receiver.admission.target();
            self.ask_for_keyframe(now, place, layer, sink);
        }
    }

    /// Asks the sender of a track, on whatever worker it is.
    pub(super) fn ask_for_keyframe(&mut self, now: Instant, place: usize, layer: Layer, sink: &mut impl Sink) {
        let Some((id, publisher)) = self.tracks.get(place).and_then(|track| Some((track.id, track.publisher?))) else {
            return;
        };
        let (transport, worker) = publisher;
        if worker != self.config.worker {
            return sink.hand_over(worker, Handoff::Keyframe { transport, track: id, layer });
        }
        if let Some(key) = self.peers_by_id.get(&transport).copied() {
            self.request_keyframe(now, key, id, layer, sink);
        }
    }

    /// Asks a sender of ours, within the rule of one a second.
    pub(super) fn request_keyframe(
        &mut self,
        now: Instant,
        key: usize,
        track: TrackId,
        layer: Layer,
        sink: &mut impl Sink,
    ) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let ssrc = peer.request_keyframe(now, track, layer);
        self.touch_anew(key);
        if let Some(ssrc) = ssrc {
            self.send_pli(key, ssrc, sink);
        }
    }

    /// The peer may have noted a deadline without being on the list.
    fn touch_anew(&mut self, key: usize) {
        if let Some(peer) = self.peers.get_mut(key) {
            peer.touched = false;
        }
        self.touched.retain(|known| *known != key);
        self.touch(key);
    }

    fn send_pli(&mut self, key: usize, ssrc: Ssrc, sink: &mut impl Sink) {
        let mut compound = std::mem::take(&mut self.rtcp);
        compound.clear();
        rtcp::pli(&mut compound, OUR_SSRC, ssrc);
        if let Some(peer) = self.peers.get_mut(key) {
            Self::send_rtcp(peer, &compound, &mut self.counters, sink);
        }
        self.counters.keyframe_requests += 1;
        self.rtcp = compound;
    }

    /// Whatever is due of NACKs, key frame requests, arrival feedback and reports.
    pub(super) fn send_feedback(&mut self, now: Instant, key: usize, sink: &mut impl Sink) {
        let mut compound = std::mem::take(&mut self.rtcp);
        let mut missing = Vec::new();
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        compound.clear();
        let Some(peer) = self.peers.get_mut(key) else { return };
        for stream in &mut peer.streams {
            missing.clear();
            if stream.reception.poll_missing(now, &peer.answers, &mut missing) && stream.is_video {
                stream.keyframes.want(now);
            }
            if !missing.is_empty() {
                rtcp::nack(&mut compound, OUR_SSRC, stream.reception.ssrc(), &missing);
            }
            if stream.keyframes.poll(now) {
                rtcp::pli(&mut compound, OUR_SSRC, stream.reception.ssrc());
                self.counters.keyframe_requests += 1;
            }
        }
        if is_due(peer.arrivals_due) {
            while peer.arrivals.is_pending() {
                peer.arrivals.write(&mut compound, OUR_SSRC);
            }
            peer.arrivals_due = None;
        }
        peer.end_voices(now, &mut self.events);
        let report = is_due(peer.report_due);
        if report {
            let blocks: Vec<_> = peer.streams.iter_mut().filter_map(|stream| stream.reception.report(now)).collect();
            blocks.chunks(MAX_BLOCKS).for_each(|some| rtcp::receiver_report(&mut compound, OUR_SSRC, some));
            let has_media = !peer.streams.is_empty() || !peer.receives.is_empty();
            peer.report_due = has_media.then_some(now + REPORT_INTERVAL);
        }
        Self::send_rtcp(peer, &compound, &mut self.counters, sink);
        self.rtcp = compound;
        if report {
            self.send_sender_reports(now, key, sink);
        }
    }

    /// Tells a receiver the clocks of what it receives.
    fn send_sender_reports(&mut self, now: Instant, key: usize, sink: &mut impl Sink) {
        let mut compound = std::mem::take(&mut self.rtcp);
        compound.clear();
        let receives = self.peers.get(key).map(|peer| peer.receives.clone()).unwrap_or_default();
        for (ssrc, place) in receives {
            let Some(track) = self.tracks.get_mut(place) else { continue };
            let clocks = track.clocks;
            let Some(receiver) = track.receiver(key, ssrc) else { continue };
            let Some(info) = receiver.rewriter.sender_report(now, &clocks) else { continue };
            receiver.reported = Some(((info.ntp >> 16) as u32, now));
            rtcp::sender_report(&mut compound, &info);
            rtcp::source_description(&mut compound, ssrc, &receiver.cname);
        }
        if let Some(peer) = self.peers.get_mut(key) {
            Self::send_rtcp(peer, &compound, &mut self.counters, sink);
        }
        self.rtcp = compound;
    }
}

/// The round trip to a receiver, by its answer to a sender report (RFC 3550, section 6.4.1).
fn round_trip(now: Instant, block: &ReportBlock, reported: Option<(u32, Instant)>) -> Option<Duration> {
    let (_, at) = reported.filter(|(ntp, _)| *ntp == block.last_sr)?;
    let delay = Duration::from_micros(u64::from(block.delay_since_last_sr) * 1_000_000 / 65_536);
    now.saturating_duration_since(at).checked_sub(delay)
}
