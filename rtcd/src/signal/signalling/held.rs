//! What signalling holds, by kind.
use super::Signalling;
use super::session::{IncomingTrack, Link, Session};
use rtcd_media::footprint::{Footprint, Per, Tally, flat, flat_table};
use rtcd_media::sfu::command::Command;

/// What is kept of a session's span by those who write lines: its names as text and a share for each place (heaptrack).
const SPAN: usize = 1024;

impl Signalling {
    /// What all sessions hold here, and what is there for all of them.
    pub(in crate::signal) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for session in self.sessions.values() {
            tally.add(Per::Session, "signalling sessions", 1, size_of::<Session>() + session.heap_bytes());
            tally.add(Per::Session, "negotiations", 1, session.negotiation.heap_bytes());
        }
        tally.add(Per::Session, "spans of log lines", self.sessions.len(), self.sessions.len() * SPAN);
        let tables = flat_table(&self.sessions) + flat_table(&self.names) + self.calls.heap_bytes();
        let turns = self.intake.heap_bytes() + self.deadlines.heap_bytes();
        tally.add(Per::Session, "tables of signalling", 1, tables + turns);
        tally.add(Per::Process, "names of ended sessions", self.ended.len(), self.ended.heap_bytes());
        tally.add(Per::Process, "messages that wait", 1, self.outputs.heap_bytes() + self.away.bytes());
        tally
    }
}

/// Without the negotiation's.
impl Footprint for Session {
    fn heap_bytes(&self) -> usize {
        let join = &self.join;
        let names = join.call.heap_bytes() + join.user.heap_bytes() + join.session.heap_bytes();
        let waiting = match &self.link {
            Link::AwaitingClaim { waiting } => waiting.capacity() * size_of::<Command>(),
            Link::AwaitingOffer | Link::Claimed(_) => 0,
        };
        let streams = self.video_stream.heap_bytes() + self.camera.heap_bytes() + self.ended_streams().heap_bytes();
        let tracks = self.incoming.heap_bytes() + flat(&self.outgoing);
        names + join.channel_id.heap_bytes() + flat(&self.candidates) + waiting + streams + tracks
    }
}

impl Footprint for IncomingTrack {
    fn heap_bytes(&self) -> usize {
        self.media.heap_bytes() + flat(&self.receivers)
    }
}
