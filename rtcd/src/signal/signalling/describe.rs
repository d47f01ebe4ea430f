//! What signalling knows of its sessions, for whoever looks after the machine.
use super::Signalling;
use super::session::{Link, Sent, Session};
use crate::signal::{ReceivedTrack, SentTrack, SessionStatus, Stage};
use rtcd_media::sfu::command::TransportId;
use std::time::Instant;

/// What a participant has said last of its own way.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Reported {
    /// Share of packets that it lost, 0..=1.
    pub loss: Option<f64>,
    /// In seconds.
    pub round_trip: Option<f64>,
    /// In seconds.
    pub jitter: Option<f64>,
}

impl Signalling {
    /// All sessions, by group, call and age.
    pub(in crate::signal) fn describe(&self, now: Instant) -> Vec<SessionStatus> {
        let mut all: Vec<_> =
            self.sessions.iter().map(|(id, session)| self.describe_session(now, *id, session)).collect();
        all.sort_by(|a, b| (&a.group, &a.call, b.joined).cmp(&(&b.group, &b.call, a.joined)));
        all
    }

    fn describe_session(&self, now: Instant, id: TransportId, session: &Session) -> SessionStatus {
        let sends = session.incoming.iter().filter_map(|track| {
            let (kind, codec) = track.running()?;
            Some(SentTrack { track: track.id, kind, codec, speaking: track.speaking })
        });
        let receives = session.outgoing.iter().filter(|track| track.sent == Sent::Flowing).filter_map(|track| {
            let from = self.sessions.get(&track.publisher)?.join.session.clone();
            Some(ReceivedTrack { track: track.track, kind: track.kind, codec: track.codec, from })
        });
        SessionStatus {
            transport: id,
            group: session.group.clone(),
            call: session.join.call.clone(),
            user: session.join.user.clone(),
            session: session.join.session.clone(),
            conn: session.conn.clone(),
            joined: now.saturating_duration_since(session.joined_at),
            stage: match session.link {
                Link::AwaitingOffer => Stage::AwaitsOffer,
                Link::AwaitingClaim { .. } => Stage::AwaitsCheck,
                Link::Claimed(_) if session.channel_open => Stage::InCall,
                Link::Claimed(_) => Stage::Connecting,
            },
            muted: session.muted,
            refusals: session.refusals,
            sends: sends.collect(),
            receives: receives.collect(),
            reported: session.reported,
        }
    }
}
