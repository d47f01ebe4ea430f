//! Workers that go on behind a death know what they had written down, which may be a moment older than what is known here, and
//! the other way round: both are brought together.
use super::Signalling;
use super::life::EndReason;
use super::session::{Link, Sent, Session};
use rtcd_media::rtp::Ssrc;
use rtcd_media::sfu::command::{Command, TransportId, WorkerId};
use rtcd_media::transport::CloseReason;
use std::collections::HashSet;
use std::time::Instant;

impl Signalling {
    /// One worker has hit a bug and goes on with these transports.
    pub(super) fn begun_again(&mut self, now: Instant, worker: WorkerId, transports: &[TransportId]) {
        let transports = transports.iter().copied().collect();
        self.bring_together(now, &transports, |session| session.worker() == Some(worker));
    }

    /// A process has died, and the workers of this one go on with these transports. Those who were still connecting, and those
    /// of whom nothing was written down, end by a `close` and can join anew at once.
    pub(in crate::signal) fn survive(&mut self, now: Instant, transports: &HashSet<TransportId>) {
        self.bring_together(now, transports, |session| !matches!(session.link, Link::AwaitingOffer));
        let unknown = transports.iter().filter(|id| !self.sessions.contains_key(id));
        let unknown: Vec<TransportId> = unknown.copied().collect();
        for id in unknown {
            self.send_to_all(|| Command::Close { transport: id });
        }
    }

    fn bring_together(&mut self, now: Instant, alive: &HashSet<TransportId>, is_meant: impl Fn(&Session) -> bool) {
        let meant = self.sessions.iter().filter(|(_, session)| is_meant(session)).map(|(id, _)| *id);
        let (alive, lost): (Vec<TransportId>, Vec<TransportId>) = meant.partition(|id| alive.contains(id));
        for id in lost {
            let reason = "it was not written down yet".to_owned();
            self.end(now, id, EndReason::Transport(CloseReason::NotCarried(reason)));
        }
        // Who sends what comes first: receivers name the sender.
        alive.iter().for_each(|id| self.tell_incoming(*id));
        // A worker knows no way for a track that it did not know.
        alive.iter().for_each(|id| self.tell_routes(*id));
        alive.iter().for_each(|id| self.tell_outgoing(*id));
    }

    /// Says again what a participant is sent.
    fn tell_outgoing(&mut self, id: TransportId) {
        let Some(session) = self.sessions.get(&id) else { return };
        let flowing = (0..session.outgoing.len()).filter(|at| session.outgoing[*at].sent == Sent::Flowing);
        let flows: Vec<_> = flowing.filter_map(|at| self.outgoing(id, at)).collect();
        let ssrcs: Vec<Ssrc> = flows.iter().map(|outgoing| outgoing.ssrc).collect();
        self.send(id, Command::RetainOutgoing { transport: id, ssrcs });
        flows.into_iter().for_each(|outgoing| self.send(id, Command::AddOutgoing(Box::new(outgoing))));
    }
}
