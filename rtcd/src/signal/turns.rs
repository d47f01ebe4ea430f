//! The actor's side of [`Intake`](super::intake::Intake): what each message costs is charged to its session, and nothing
//! that costs milliseconds is done before it is its turn.
use super::actor::Actor;
use super::data_channel::PeerMessage;
use super::intake::{Admission, Excess, Next, Work};
use super::message::{RtcMessage, RtcType};
use super::offers::SignalingChannel;
use super::reading::{self, Outcome, Read};
use crate::ids::ConnId;
use crate::metrics::ErrorKind;
use rtcd_media::sfu::command::TransportId;
use std::time::Instant;

/// Longest `data` of a message that is no description: a candidate or a stream id.
const MAX_SMALL: usize = 16 * 1024;

impl Actor {
    /// A message of a participant over the WebSocket.
    pub(super) fn take_rtc(&mut self, now: Instant, id: TransportId, conn: &ConnId, message: RtcMessage) {
        match message.kind {
            RtcType::Sdp => {
                let work = Work::Describe { channel: SignalingChannel::WebSocket, bytes: message.data };
                self.take_in(now, id, Some(conn), work);
            }
            _ if message.data.len() > MAX_SMALL => {
                self.refuse(id, ErrorKind::Signaling, "more data than a message of its type has");
            }
            // A microphone is off at once, whatever else waits.
            RtcType::Mute | RtcType::Unmute => self.perform(now, id, Some(conn), Work::Rtc(message)),
            RtcType::Ice => self.take_unordered(now, id, Some(conn), Work::Rtc(message)),
            _ => self.take_in(now, id, Some(conn), Work::Rtc(message)),
        }
    }

    /// A message of a participant over the data channel.
    pub(super) fn take_channel(&mut self, now: Instant, id: TransportId, message: PeerMessage) {
        match message {
            PeerMessage::Sdp(bytes) => {
                self.take_in(now, id, None, Work::Describe { channel: SignalingChannel::DataChannel, bytes });
            }
            PeerMessage::Lock | PeerMessage::Unlock => self.take_in(now, id, None, Work::Channel(message)),
            _ => self.take_unordered(now, id, None, Work::Channel(message)),
        }
    }

    /// What needs no order is done at once or not at all.
    fn take_unordered(&mut self, now: Instant, id: TransportId, conn: Option<&ConnId>, work: Work) {
        if self.intake.is_within_share(now, id) {
            self.perform(now, id, conn, work);
        } else {
            self.metrics.signal_refused(Excess::Session.as_str());
        }
    }

    fn take_in(&mut self, now: Instant, id: TransportId, conn: Option<&ConnId>, work: Work) {
        let describes = matches!(work, Work::Describe { .. });
        match self.intake.admit(now, id, conn, work) {
            Admission::Now(work) => self.perform(now, id, conn, work),
            Admission::Waits => self.take_turns(now),
            Admission::Refused(excess) => {
                self.metrics.signal_refused(excess.as_str());
                self.refuse(id, ErrorKind::Signaling, &excess.to_string());
                if describes {
                    self.give_lock_back(now, id);
                }
            }
        }
    }

    /// Does what may be done now, and has read what may be read.
    pub(super) fn take_turns(&mut self, now: Instant) {
        while let Some(Next { id, work, waited }) = self.intake.next(now) {
            match work {
                Work::Describe { channel, bytes } => {
                    self.metrics.signal_queue_time(waited.as_secs_f64());
                    reading::spawn(id, channel, bytes, self.outcomes.clone());
                }
                work => {
                    let conn = self.sessions.get(&id).map(|session| session.conn.clone());
                    let conn = conn.filter(|_| matches!(work, Work::Rtc(_)));
                    self.perform(now, id, conn.as_ref(), work);
                }
            }
        }
    }

    fn perform(&mut self, now: Instant, id: TransportId, conn: Option<&ConnId>, work: Work) {
        let Some(session) = self.sessions.get(&id) else { return };
        let span = session.span.clone();
        let _in = span.enter();
        let begun = Instant::now();
        match work {
            Work::Rtc(message) => self.handle_rtc(now, id, &message),
            Work::Channel(message) => self.handle_channel_message(now, id, message),
            // Read first, always.
            Work::Describe { .. } => {}
        }
        self.charge(id, conn, begun);
    }

    /// The session may have ended by what was done for it.
    fn charge(&mut self, id: TransportId, conn: Option<&ConnId>, begun: Instant) {
        if self.sessions.contains_key(&id) {
            let now = Instant::now();
            self.intake.charge(now, id, conn, now.saturating_duration_since(begun));
        }
    }

    /// A description has been read.
    pub(super) fn handle_outcome(&mut self, now: Instant, outcome: Outcome) {
        let Outcome { id, channel, took, read } = outcome;
        self.intake.finished(id);
        if let Some(session) = self.sessions.get(&id) {
            let conn = (channel == SignalingChannel::WebSocket).then(|| session.conn.clone());
            let span = session.span.clone();
            let _in = span.enter();
            self.intake.charge(now, id, conn.as_ref(), took);
            let begun = Instant::now();
            match read {
                Ok(Read::Offer(offer)) => self.handle_offer(now, id, offer, channel),
                Ok(Read::Answer(answer)) => self.handle_answer(now, id, answer),
                Err(error) => {
                    self.refuse(id, error.kind(), &error.to_string());
                    self.give_lock_back(now, id);
                }
            }
            self.charge(id, conn.as_ref(), begun);
        }
        self.take_turns(now);
    }

    /// What a participant took the lock for has been refused: nobody waits for it.
    pub(super) fn give_lock_back(&mut self, now: Instant, id: TransportId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if let Some(held) = session.lock.take_back(now) {
            self.metrics.lock_locked_time(&session.group, held.as_secs_f64());
            self.offer_if_needed(now, id);
        }
    }
}
