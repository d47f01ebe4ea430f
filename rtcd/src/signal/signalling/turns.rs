//! Whose turn it is, by [`Intake`](super::intake::Intake): what each message costs is charged to its session, and nothing
//! that costs milliseconds is done before it is its turn.
use super::Signalling;
use super::intake::{Admission, Excess, Next, Work};
use super::output::{Count, Output, Sample};
use crate::ids::ConnId;
use crate::metrics::ErrorKind;
use crate::signal::data_channel::PeerMessage;
use crate::signal::message::{RtcMessage, RtcType};
use crate::signal::reading::SignalingChannel;
use crate::signal::reading::{Outcome, Read};
use rtcd_media::sfu::command::TransportId;
use std::time::{Duration, Instant};

/// Longest `data` of a message that is no description: a candidate or a stream id.
const MAX_SMALL: usize = 16 * 1024;

/// Who is charged for what is being done.
#[derive(Debug)]
pub(super) struct Payer {
    id: TransportId,
    /// Set when it was asked for over a WebSocket.
    conn: Option<ConnId>,
}

impl Signalling {
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
            self.outputs.count(Count::Refused(Excess::Session.as_str()));
        }
    }

    /// What another process has taken in and not done.
    pub(super) fn take_again(&mut self, now: Instant, id: TransportId, work: Work) {
        if self.sessions.contains_key(&id) {
            self.take_in(now, id, None, work);
        }
    }

    /// Nothing is being read: no outcome is on its way.
    pub(in crate::signal) fn is_reading(&self) -> bool {
        !self.intake.is_idle()
    }

    fn take_in(&mut self, now: Instant, id: TransportId, conn: Option<&ConnId>, work: Work) {
        let describes = matches!(work, Work::Describe { .. });
        match self.intake.admit(now, id, conn, work) {
            Admission::Now(work) => self.perform(now, id, conn, work),
            // `take_turn` gives it.
            Admission::Waits => {}
            Admission::Refused(excess) => {
                self.outputs.count(Count::Refused(excess.as_str()));
                self.refuse(id, ErrorKind::Signaling, &excess.to_string());
                if describes {
                    self.give_lock_back(now, id);
                }
            }
        }
    }

    /// Does the next thing whose turn it is; `false`: there is none.
    pub(in crate::signal) fn take_turn(&mut self, now: Instant) -> bool {
        let Some(Next { id, work, waited }) = self.intake.next(now) else { return false };
        match work {
            Work::Describe { channel, bytes } => {
                self.outputs.count(Count::Waited(waited));
                self.outputs.push(Output::Read { id, channel, bytes });
            }
            work => {
                let conn = self.sessions.get(&id).map(|session| session.conn.clone());
                let conn = conn.filter(|_| matches!(work, Work::Rtc(_)));
                self.perform(now, id, conn.as_ref(), work);
            }
        }
        true
    }

    fn perform(&mut self, now: Instant, id: TransportId, conn: Option<&ConnId>, work: Work) {
        let Some(session) = self.sessions.get(&id) else { return };
        let span = session.span.clone();
        let _in = span.enter();
        self.payer = Some(Payer { id, conn: conn.cloned() });
        match work {
            Work::Rtc(message) => self.handle_rtc(now, id, &message),
            Work::Channel(message) => self.handle_channel_message(now, id, message),
            // Read first, always.
            Work::Describe { .. } => {}
        }
    }

    /// What was done last, with its outputs, has taken so long: the session that it was for pays, if it was for one.
    pub(in crate::signal) fn charge(&mut self, now: Instant, took: Duration) {
        // The session may have ended by what was done for it.
        let Some(Payer { id, conn }) = self.payer.take().filter(|payer| self.sessions.contains_key(&payer.id)) else {
            return;
        };
        self.intake.charge(now, id, conn.as_ref(), took);
    }

    /// A description has been read.
    pub(in crate::signal) fn handle_description_read(&mut self, now: Instant, outcome: Outcome) {
        let Outcome { id, channel, took, read } = outcome;
        self.intake.finished(id);
        let Some(session) = self.sessions.get(&id) else { return };
        let conn = (channel == SignalingChannel::WebSocket).then(|| session.conn.clone());
        let span = session.span.clone();
        let _in = span.enter();
        self.intake.charge(now, id, conn.as_ref(), took);
        self.payer = Some(Payer { id, conn });
        match read {
            Ok(Read::Offer(offer)) => self.handle_offer(now, id, offer, channel),
            Ok(Read::Answer(answer)) => self.handle_answer(now, id, answer),
            Err(error) => {
                self.refuse(id, error.kind(), &error.to_string());
                self.give_lock_back(now, id);
            }
        }
    }

    /// What a participant took the lock for has been refused: nobody waits for it.
    pub(super) fn give_lock_back(&mut self, now: Instant, id: TransportId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if let Some(held) = session.lock.take_back(now) {
            self.outputs.sample(&session.group, Sample::LockHeld(held));
            self.offer_if_needed(now, id);
        }
    }
}
