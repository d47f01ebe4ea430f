//! What a message or an event means for a session: each kind has one line here and its handler elsewhere.
use super::Signalling;
use super::life::EndReason;
use super::output::{Count, Sample};
use crate::metrics::{ConnState, ErrorKind};
use crate::signal::data_channel::{self, DataChannelError, PeerMessage};
use crate::signal::message::{RtcMessage, RtcType};
use rtcd_media::sfu::command::{Command, Event, TransportId};
use rtcd_media::transport::TransportEvent;
use std::time::Instant;

impl Signalling {
    pub(super) fn handle_rtc(&mut self, now: Instant, id: TransportId, message: &RtcMessage) {
        match message.kind {
            RtcType::Ice => self.handle_candidate(id, &message.data),
            // Read beside the actor, see `turns`.
            RtcType::Sdp => {}
            RtcType::Mute => self.set_muted(id, true),
            RtcType::Unmute => self.set_muted(id, false),
            RtcType::ScreenOn => self.screen_on(now, id, &message.data),
            RtcType::ScreenOff => self.screen_off(now, id),
            RtcType::VideoOn => self.video_on(now, id, &message.data),
            RtcType::VideoOff => self.video_off(id),
            // Voice is what we find out ourselves.
            RtcType::VoiceOn | RtcType::VoiceOff => {
                self.refuse(id, ErrorKind::Signaling, "voice state is not a client's")
            }
        }
    }

    /// Something has happened in the plane.
    pub(in crate::signal) fn handle_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Claimed { transport, worker } => self.claimed(transport, worker),
            Event::Transport { transport, event } => {
                let Some(session) = self.sessions.get(&transport) else { return };
                let span = session.span.clone();
                let _in = span.enter();
                self.handle_transport_event(now, transport, event);
            }
            Event::BegunAgain { worker, transports } => self.begun_again(now, worker, &transports),
            Event::TrackStarted { transport, track, codec } => self.track_started(now, transport, track, codec),
            Event::Voice { transport, track, active } => self.voice(transport, track, active),
        }
    }

    fn handle_transport_event(&mut self, now: Instant, id: TransportId, event: TransportEvent) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let since_join = now.saturating_duration_since(session.joined_at);
        match event {
            TransportEvent::Connected { profile } => {
                tracing::info!(?profile, "session connected");
                self.outputs.count(Count::ConnState(ConnState::Connected));
                self.outputs.sample(&session.group, Sample::Connected(since_join));
            }
            TransportEvent::Disconnected => {
                tracing::info!("session hears no checks");
                self.outputs.count(Count::ConnState(ConnState::Disconnected));
            }
            TransportEvent::Recovered => {
                tracing::info!("session hears checks again");
                self.outputs.count(Count::ConnState(ConnState::Connected));
            }
            // A worker that goes on after a crash says it again.
            TransportEvent::ChannelOpen if session.channel_open => {}
            TransportEvent::ChannelOpen => {
                tracing::debug!("data channel open");
                session.channel_open = true;
                self.outputs.sample(&session.group, Sample::ChannelOpen(since_join));
                self.subscribe(now, id);
            }
            TransportEvent::Message { text, data } => self.heard_on_channel(now, id, text, &data),
            TransportEvent::Closed(reason) => self.end(now, id, EndReason::Transport(reason)),
        }
    }

    fn heard_on_channel(&mut self, now: Instant, id: TransportId, text: bool, data: &[u8]) {
        let message = match (text, data_channel::reflex(text, data)) {
            // Workers answer it themselves where they have the reflex.
            (true, Some(answer)) => {
                return self.send(id, Command::Send { transport: id, text, data: answer.to_vec() });
            }
            (true, None) => Err(DataChannelError::Text),
            (false, _) => PeerMessage::decode(data),
        };
        match message {
            Ok(message) => self.take_channel(now, id, message),
            Err(error) => {
                let Some(session) = self.sessions.get(&id) else { return };
                self.outputs.error(&session.group, ErrorKind::DataChannel);
                tracing::debug!(%error, "data channel message dropped");
            }
        }
    }

    pub(super) fn handle_channel_message(&mut self, now: Instant, id: TransportId, message: PeerMessage) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        match &message {
            PeerMessage::LossRate(share) => session.reported.loss = Some(*share),
            PeerMessage::RoundTripTime(seconds) => session.reported.round_trip = Some(*seconds),
            PeerMessage::Jitter(seconds) => session.reported.jitter = Some(*seconds),
            _ => {}
        }
        let group = &session.group;
        match message {
            PeerMessage::Ping => self.send_channel(id, data_channel::PONG.to_vec()),
            // Read beside the actor, see `turns`.
            PeerMessage::Pong | PeerMessage::Sdp(_) => {}
            PeerMessage::LossRate(share) => self.outputs.sample(group, Sample::LossRate(share)),
            PeerMessage::RoundTripTime(seconds) => self.outputs.sample(group, Sample::RoundTripTime(seconds)),
            PeerMessage::Jitter(seconds) => self.outputs.sample(group, Sample::Jitter(seconds)),
            PeerMessage::Lock => self.lock_requested(now, id),
            PeerMessage::Unlock => self.unlocked(now, id),
        }
    }
}
