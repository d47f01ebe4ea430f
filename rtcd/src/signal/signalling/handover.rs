//! What another process needs to know to go on with the calls: sessions, each in a record of its own, who is in which call,
//! and what has not been said or done yet.
use super::Signalling;
use super::intake::Work;
use super::output::{Count, Envelope, Output};
use super::session::{Link, Sent, Session};
use super::tracks::track_type;
use crate::ids::{CallId, ClientId, ConnId, SessionId};
use crate::metrics::Direction;
use crate::signal::data_channel::TrackKind;
use crate::signal::message::ServerMessage;
use rtcd_media::codec::Codec;
use rtcd_media::handover;
use rtcd_media::sdp::write::Candidate;
use rtcd_media::sfu::command::{Command, TrackId, TransportId, WorkerId};
use serde::{Deserialize, Serialize, Serializer};
use serde_with::{Bytes, serde_as};
use std::time::Instant;

const SESSION_VERSION: u8 = 1;

/// All that signalling leaves to another process.
#[derive(Default, Serialize, Deserialize)]
pub struct SignallingRecord {
    next_transport: u64,
    next_track: u64,
    sessions: Vec<SessionRecord>,
    calls: Vec<CallRecord>,
    ended: Vec<(ClientId, SessionId)>,
    waiting: Vec<(TransportId, Work)>,
    undelivered: Vec<Envelope>,
    /// Commands that came too late for the workers, as those of before were numbered.
    commands: Vec<(WorkerId, Command)>,
    /// What participants have been told.
    candidates: Vec<Candidate>,
}

/// A [`SignallingRecord`] of which one session after the other is made while it is written.
#[derive(Serialize)]
struct Outline<'a> {
    next_transport: u64,
    next_track: u64,
    sessions: Sessions<'a>,
    calls: Vec<CallRecord>,
    ended: Vec<(ClientId, SessionId)>,
    waiting: [(); 0],
    undelivered: [(); 0],
    commands: [(); 0],
    candidates: &'a [Candidate],
}

struct Sessions<'a>(&'a Signalling, Instant);

impl Serialize for Sessions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.session_records(self.1))
    }
}

/// A session: an envelope that can be read without the rest.
#[serde_as]
#[derive(Serialize, Deserialize)]
struct SessionRecord {
    id: TransportId,
    group: ClientId,
    session: SessionId,
    #[serde_as(as = "Bytes")]
    state: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct CallRecord {
    pub(super) group: ClientId,
    pub(super) call: CallId,
    /// By age.
    pub(super) sessions: Vec<TransportId>,
    pub(super) screen: Option<(TransportId, String)>,
}

impl std::fmt::Debug for SignallingRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignallingRecord").field("sessions", &self.sessions.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
impl SignallingRecord {
    /// Of this session something is left that nobody can read.
    pub(super) fn spoil(&mut self, id: TransportId) {
        let session = self.sessions.iter_mut().find(|session| session.id == id).expect("it is in it");
        session.state[0] = SESSION_VERSION + 1;
    }
}

impl SignallingRecord {
    /// Sessions that it has.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }
}

impl Signalling {
    /// All that another process needs. Nothing may be done here any more: neither workers nor connections would hear of it.
    pub(in crate::signal) fn write(&mut self, now: Instant) -> SignallingRecord {
        let mut record = SignallingRecord {
            next_transport: self.next_transport,
            next_track: self.next_track,
            calls: self.calls.write(),
            ended: self.ended.write(),
            waiting: self.intake.drain(),
            candidates: self.settings.candidates.to_vec(),
            ..SignallingRecord::default()
        };
        // Whatever is still to be said or told is said and told by the other process.
        while let Some(output) = self.outputs.pop() {
            match output {
                Output::Message(envelope) => record.undelivered.push(envelope),
                // Only an offer opens a transport, and none has been read since connections were closed.
                Output::Command { command: Command::Open { .. }, .. } => {}
                Output::Command { worker, command } => record.commands.push((worker, command)),
                Output::Read { id, channel, bytes } => record.waiting.push((id, Work::Describe { channel, bytes })),
                Output::Disconnect(_) | Output::Measure { .. } | Output::Count(_) => {}
            }
        }
        record.undelivered.extend(self.away.drain());
        record.sessions = self.session_records(now).collect();
        record
    }

    /// What goes on if this process dies: nothing that was still to be said or done.
    pub(in crate::signal) fn outline(&self, now: Instant) -> impl Serialize + '_ {
        Outline {
            next_transport: self.next_transport,
            next_track: self.next_track,
            sessions: Sessions(self, now),
            calls: self.calls.write(),
            ended: self.ended.write(),
            waiting: [],
            undelivered: [],
            commands: [],
            candidates: &self.settings.candidates,
        }
    }

    fn session_records(&self, now: Instant) -> impl Iterator<Item = SessionRecord> {
        self.sessions.iter().map(move |(id, session)| {
            let (group, name) = (session.group.clone(), session.join.session.clone());
            let mut state = Vec::new();
            handover::write(&mut state, SESSION_VERSION, now, session);
            SessionRecord { id: *id, group, session: name, state }
        })
    }

    /// Goes on where another process has been, whose record was written at `then` by our clock; `place` says which worker
    /// is in the place of one of its own. The plane has started before. Sessions that cannot be read end by a `close`.
    pub(in crate::signal) fn start(
        &mut self,
        then: Instant,
        now: Instant,
        record: SignallingRecord,
        place: impl Fn(WorkerId) -> WorkerId,
    ) {
        self.next_transport = self.next_transport.max(record.next_transport);
        self.next_track = self.next_track.max(record.next_track);
        let mut lost = Vec::new();
        for SessionRecord { id, group, session: name, state } in record.sessions {
            match handover::read::<Session>(&state, SESSION_VERSION, then) {
                Ok(session) => self.start_session(id, session, &place),
                Err(error) => {
                    tracing::warn!(group_id = %group, session_id = %name, %error, "a session of the process before ends");
                    lost.push((id, group, name));
                }
            }
        }
        let sessions = &self.sessions;
        self.calls.start(record.calls, |id| sessions.contains_key(id));
        record.ended.into_iter().for_each(|(client, session)| self.ended.insert(client, session));
        record.undelivered.into_iter().for_each(|envelope| self.keep_for_later(envelope));
        for (id, group, name) in lost {
            self.send_to_all(|| Command::Close { transport: id });
            self.say_close(group.clone(), name.clone());
            self.ended.insert(group, name);
        }
        self.send_commands(record.commands, &place);
        self.start_routes();
        for (id, work) in record.waiting {
            self.take_again(now, id, work);
        }
        // What was told is not told again.
        self.settings.candidates = record.candidates.into();
        self.renew_candidates();
        let ids: Vec<TransportId> = self.sessions.keys().copied().collect();
        for id in ids {
            if matches!(self.sessions[&id].link, Link::AwaitingClaim { .. }) {
                self.tell_candidates(id);
            }
            self.drop_orphans(id);
            self.offer_if_needed(now, id);
            self.schedule(now, id);
        }
    }

    fn start_session(&mut self, id: TransportId, mut session: Session, place: &impl Fn(WorkerId) -> WorkerId) {
        session.begin_span();
        if let Link::Claimed(worker) = &mut session.link {
            *worker = place(*worker);
        }
        let group = session.group.clone();
        self.outputs.count(Count::SessionJoined(group.clone()));
        let counted = session.incoming.iter().filter_map(|track| track.counted);
        let count = |direction, codec: Codec| Count::TrackStarted(group.clone(), direction, track_type(codec));
        let flowing = session.outgoing.iter().filter(|track| track.sent == Sent::Flowing);
        let counts: Vec<Count> = counted
            .map(|codec| count(Direction::In, codec))
            .chain(flowing.map(|track| count(Direction::Out, track.codec)))
            .collect();
        counts.into_iter().for_each(|count| self.outputs.count(count));
        for track in &mut session.incoming {
            track.receivers = vec![0; self.workers];
        }
        // Whoever is in stays in.
        self.quota.take(&group, usize::MAX);
        self.names.insert((group, session.join.session.clone()), id);
        self.sessions.insert(id, Box::new(session));
    }

    /// Commands that came too late for the workers of before. What is between workers is worked out anew.
    fn send_commands(&mut self, commands: Vec<(WorkerId, Command)>, place: &impl Fn(WorkerId) -> WorkerId) {
        for (worker, command) in commands {
            match command {
                Command::Route { .. } => {}
                Command::AddOutgoing(mut outgoing) => {
                    outgoing.publisher.1 = place(outgoing.publisher.1);
                    self.outputs.command(place(worker), Command::AddOutgoing(outgoing));
                }
                command => self.outputs.command(place(worker), command),
            }
        }
    }

    /// Which workers have receivers of which track, and whose writes are measured.
    fn start_routes(&mut self) {
        let flows: Vec<(TransportId, TrackId, WorkerId, ClientId, TrackKind)> = self
            .sessions
            .values()
            .filter_map(|session| Some((session, session.worker()?)))
            .flat_map(|(session, worker)| {
                let flowing = session.outgoing.iter().filter(|track| track.sent == Sent::Flowing);
                flowing.map(move |track| (track.publisher, track.track, worker, session.group.clone(), track.kind))
            })
            .collect();
        for (publisher, track, worker, group, kind) in flows {
            self.outputs.push(Output::Measure { worker, track, group, kind: kind.media_type() });
            self.route(publisher, track, worker, true);
        }
    }

    /// Tracks of participants that are not here any more are not sent to this one.
    fn drop_orphans(&mut self, id: TransportId) {
        let Some(session) = self.sessions.get(&id) else { return };
        let is_orphan = |publisher: &TransportId| !self.sessions.contains_key(publisher);
        let orphans = session.outgoing.iter().filter(|track| is_orphan(&track.publisher)).map(|track| track.ssrc);
        let orphans: Vec<_> = orphans.collect();
        orphans.into_iter().for_each(|ssrc| self.remove_outgoing(id, ssrc));
    }

    fn say_close(&mut self, client: ClientId, session: SessionId) {
        let conn = ConnId::from("");
        let message = ServerMessage::Close { session };
        self.keep_for_later(Envelope { client, conn, session: None, message });
    }
}
