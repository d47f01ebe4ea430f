//! A client, its participants, a plane and a clock, all of them values: what [`Signalling`] says is carried out and noted.
use super::super::*;
use crate::signal::message::RtcType;
use crate::signal::reading::{self, Outcome, SignalingChannel};
use rtcd_media::demux::Protocol;
use rtcd_media::dtls::Identity;
use rtcd_media::ice::candidate::PeerPolicy;
use rtcd_media::sfu::command::{Command, Event, Incoming, Outgoing, WorkerSet};
use rtcd_media::transport::TransportEvent;
use std::collections::{HashSet, VecDeque};

pub(super) const WORKERS: usize = 2;
pub(super) const READERS: usize = 1;

pub(super) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(super) fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub(super) fn close(session: &str) -> ServerMessage {
    ServerMessage::Close { session: session.into() }
}

/// One client, `mattermost`, with a WebSocket, `ws`.
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) signalling: Signalling,
    /// WebSockets whose queue takes no message.
    pub(super) full: HashSet<ConnId>,
    /// WebSockets that were closed, each after how many messages to all.
    pub(super) closed: Vec<(ConnId, usize)>,
    pub(super) sent: Vec<(ConnId, ServerMessage)>,
    pub(super) counts: Vec<Count>,
    pub(super) commands: Vec<(WorkerId, Command)>,
    /// Descriptions that are being read; [`read`](Self::read) finishes the oldest.
    pub(super) reading: VecDeque<(TransportId, SignalingChannel, Vec<u8>)>,
    /// Nothing is read until [`read`](Self::read) is called.
    pub(super) slow_readers: bool,
    /// What each participant sends, in sections of its own.
    pub(super) own: HashMap<TransportId, String>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with_bound(100)
    }

    /// One in which a client may have so many sessions.
    pub(super) fn with_bound(max_sessions_per_client: usize) -> Self {
        let address = "192.0.2.1:8443".parse().expect("an address");
        let address: std::net::SocketAddr = address;
        let candidate = Candidate { protocol: Protocol::Udp, address, rank: 0, base: None };
        let fingerprint = Identity::generate().expect("an identity").fingerprint();
        let settings = Settings {
            candidates: [candidate].into(),
            fingerprint,
            max_sessions_per_client,
            refuse_calls_while_draining: false,
            peers: PeerPolicy { own: vec![address.ip()], alone: None },
        };
        let mut world = Self {
            now: Instant::now(),
            signalling: Signalling::new(settings, WORKERS, READERS),
            full: HashSet::new(),
            closed: Vec::new(),
            sent: Vec::new(),
            counts: Vec::new(),
            commands: Vec::new(),
            reading: VecDeque::new(),
            slow_readers: false,
            own: HashMap::new(),
        };
        world.connect("mattermost", "ws");
        world.forget();
        world
    }

    /// What was sent and counted so far is of no interest.
    pub(super) fn forget(&mut self) {
        self.sent.clear();
        self.counts.clear();
    }

    /// Tells [`Signalling`] of one thing and does what it wants done, until there is nothing.
    pub(super) fn step(&mut self, handle: impl FnOnce(&mut Signalling, Instant)) {
        handle(&mut self.signalling, self.now);
        self.drain(Duration::ZERO);
        self.settle();
    }

    /// The same with something that takes `cost` of a core.
    pub(super) fn costly_step(&mut self, cost: Duration, handle: impl FnOnce(&mut Signalling, Instant)) {
        handle(&mut self.signalling, self.now);
        self.drain(cost);
        self.settle();
    }

    /// Another process goes on, whose connections are yet to come, on workers of other numbers; `change` may spoil what it
    /// reads. What was told to the workers of before is known to those of the new plane.
    pub(super) fn hand_over(&mut self, change: impl FnOnce(&mut SignallingRecord)) {
        let before = self.signalling.write(self.now);
        let mut bytes = Vec::new();
        rtcd_media::handover::write(&mut bytes, 1, self.now, &before);
        self.pass_by(seconds(3));
        let mut record = rtcd_media::handover::read(&bytes, 1, self.now).expect("readable");
        change(&mut record);
        let settings = self.signalling.settings.clone();
        self.signalling = Signalling::new(settings, WORKERS, READERS);
        self.full.clear();
        self.step(|signalling, now| signalling.start(now, now, record, |worker| WorkerId(1 - worker.0)));
    }

    /// The process dies, and the next one's workers go on with these.
    pub(super) fn crash(&mut self, survivors: HashSet<TransportId>) {
        let mut bytes = Vec::new();
        rtcd_media::handover::write(&mut bytes, 1, self.now, &self.signalling.outline(self.now));
        self.pass_by(seconds(1));
        let record = rtcd_media::handover::read(&bytes, 1, self.now).expect("readable");
        let settings = self.signalling.settings.clone();
        self.signalling = Signalling::new(settings, WORKERS, READERS);
        self.full.clear();
        self.step(|signalling, now| signalling.start(now, now, record, |worker| worker));
        self.step(|signalling, now| signalling.survive(now, &survivors));
    }

    /// Something happens in the plane.
    pub(super) fn happen(&mut self, event: Event) {
        self.step(|signalling, now| signalling.handle_event(now, event));
    }

    /// Whether the session is there, whatever it is called.
    pub(super) fn sessions_has(&self, id: TransportId) -> bool {
        self.signalling.sessions.contains_key(&id)
    }

    /// Time goes by, and nobody notices.
    fn pass_by(&mut self, time: Duration) {
        self.now += time;
    }

    fn settle(&mut self) {
        loop {
            while self.signalling.take_turn(self.now) {
                self.drain(Duration::ZERO);
            }
            if self.slow_readers || !self.finish_reading(Duration::ZERO) {
                return;
            }
        }
    }

    /// The oldest description that is being read has been, after `took`.
    pub(super) fn read(&mut self, took: Duration) {
        assert!(self.finish_reading(took), "nothing is being read");
        self.settle();
    }

    fn finish_reading(&mut self, took: Duration) -> bool {
        let Some((id, channel, bytes)) = self.reading.pop_front() else { return false };
        let read = reading::read(channel, &bytes);
        self.signalling.handle_description_read(self.now, Outcome { id, channel, took, read });
        self.drain(Duration::ZERO);
        true
    }

    fn drain(&mut self, cost: Duration) {
        while let Some(output) = self.signalling.poll_output() {
            match output {
                Output::Message(envelope) if self.full.contains(&envelope.conn) => {
                    self.signalling.handle_refused(envelope);
                }
                Output::Message(Envelope { conn, message, .. }) => self.sent.push((conn, message)),
                Output::Disconnect(conn) => self.closed.push((conn, self.sent.len())),
                Output::Command { worker, command } => self.commands.push((worker, command)),
                Output::Measure { .. } => {}
                Output::Read { id, channel, bytes } => self.reading.push_back((id, channel, bytes)),
                Output::Count(count) => self.counts.push(count),
            }
        }
        self.signalling.charge(self.now, cost);
    }

    /// Time goes by; what is due on the way is done when it is due.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut wakes = 0;
        while let Some(at) = self.signalling.next_timeout(self.now).filter(|at| *at <= end) {
            self.now = self.now.max(at);
            wakes += 1;
            assert!(wakes < 1000, "a deadline that has passed is due again");
            self.settle();
            self.step(|signalling, now| signalling.handle_timeout(now));
        }
        self.now = end;
    }

    pub(super) fn connect(&mut self, client: &str, conn: &str) {
        self.step(|signalling, now| signalling.handle_connected(now, client.into(), conn.into()));
    }

    pub(super) fn disconnect(&mut self, conn: &str) {
        self.step(|signalling, _| signalling.handle_disconnected("mattermost".into(), &conn.into()));
    }

    /// A client says something over one of its WebSockets.
    pub(super) fn say(&mut self, conn: &str, message: ClientMessage) {
        self.step(|signalling, now| signalling.handle_message(now, conn.into(), Ok(message)));
    }

    /// The transport of a session of `mattermost`.
    pub(super) fn id(&self, session: &str) -> TransportId {
        self.signalling.find(&"mattermost".into(), &session.into()).expect("a live session")
    }

    pub(super) fn is_live(&self, session: &str) -> bool {
        self.signalling.find(&"mattermost".into(), &session.into()).is_some()
    }

    /// The plane tells of a transport.
    pub(super) fn event(&mut self, session: &str, event: TransportEvent) {
        let transport = self.id(session);
        self.step(|signalling, now| signalling.handle_event(now, Event::Transport { transport, event }));
    }

    pub(super) fn claim(&mut self, session: &str, worker: u8) {
        let event = Event::Claimed { transport: self.id(session), worker: WorkerId(worker) };
        self.step(|signalling, now| signalling.handle_event(now, event));
    }

    /// The first packet of what a participant sends in a section has come.
    pub(super) fn start(&mut self, session: &str, mid: &str, codec: rtcd_media::codec::Codec) {
        let (transport, track) = (self.id(session), self.track(session, mid).track);
        self.step(|signalling, now| signalling.handle_event(now, Event::TrackStarted { transport, track, codec }));
    }

    pub(super) fn voice(&mut self, session: &str, mid: &str, active: bool) {
        let (transport, track) = (self.id(session), self.track(session, mid).track);
        self.step(|signalling, now| signalling.handle_event(now, Event::Voice { transport, track, active }));
    }

    /// Where the plane was told to have a participant: where the others of its call are, if they are anywhere yet; `None`: on
    /// whichever worker hears it.
    pub(super) fn home(&self, session: &str) -> Option<Option<WorkerId>> {
        let id = self.id(session);
        let claim = self.commands.iter().find_map(|(_, command)| match command {
            Command::Open { open, claim } if open.transport == id => Some(claim),
            _ => None,
        });
        claim.expect("it has been offered").home().map(|home| home.worker())
    }

    /// What the plane was told last of a section that a participant sends in.
    pub(super) fn track(&self, session: &str, mid: &str) -> Incoming {
        let id = self.id(session);
        let tracks = self.commands.iter().rev().find_map(|(_, command)| match command {
            Command::SetIncoming { transport, tracks } if *transport == id => Some(tracks),
            _ => None,
        });
        let tracks = tracks.expect("the plane was told of tracks");
        tracks.iter().find(|track| &*track.mid.0 == mid).expect("a track in that section").clone()
    }

    /// What the plane sends to a participant.
    pub(super) fn flows_to(&self, session: &str) -> Vec<Outgoing> {
        let id = self.id(session);
        let mut flowing: Vec<Outgoing> = Vec::new();
        for (_, command) in &self.commands {
            match command {
                Command::AddOutgoing(outgoing) if outgoing.transport == id => flowing.push((**outgoing).clone()),
                Command::RemoveOutgoing { transport, ssrc } if *transport == id => {
                    flowing.retain(|outgoing| outgoing.ssrc != *ssrc);
                }
                _ => {}
            }
        }
        flowing
    }

    /// The workers that get a track's packets.
    pub(super) fn route(&self, session: &str, mid: &str) -> WorkerSet {
        let wanted = self.track(session, mid).track;
        let route = self.commands.iter().rev().find_map(|(_, command)| match command {
            Command::Route { track, workers } if *track == wanted => Some(*workers),
            _ => None,
        });
        route.unwrap_or_default()
    }

    pub(super) fn errors(&self, kind: ErrorKind) -> usize {
        self.counts.iter().filter(|count| matches!(count, Count::Error(_, known) if *known == kind)).count()
    }

    /// What was sent on one WebSocket.
    pub(super) fn sent_on(&self, conn: &str) -> Vec<&ServerMessage> {
        self.sent.iter().filter(|(known, _)| known.as_str() == conn).map(|(_, message)| message).collect()
    }

    /// Sessions that were said to have ended, in that order.
    pub(super) fn ended<'a>(&'a self) -> Vec<&'a str> {
        let ended = |(_, message): &'a (ConnId, ServerMessage)| match message {
            ServerMessage::Close { session } => Some(session.as_str()),
            _ => None,
        };
        self.sent.iter().filter_map(ended).collect()
    }

    /// The types of rtc and vad messages about a session, in their order.
    pub(super) fn told(&self, session: &str) -> Vec<RtcType> {
        let kind = |(_, message): &(ConnId, ServerMessage)| match message {
            ServerMessage::Rtc(rtc) | ServerMessage::Vad(rtc) if rtc.session.as_str() == session => Some(rtc.kind),
            _ => None,
        };
        self.sent.iter().filter_map(kind).collect()
    }
}
