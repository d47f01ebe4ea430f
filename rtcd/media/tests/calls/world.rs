//! Switches, participants and the network between them, in virtual time. What the daemon's signalling does is done here
//! at once and without descriptions.
mod crash;
mod handover;
mod nonces;
mod slow;
mod tracks;
mod wire;

use crate::encoder::{HIGH, LOW};
use crate::network::{Conditions, Datagram, Network};
use crate::participant::{Manner, Participant, TCP_PORT, Wants};
use crate::screen::Screen;
use nonces::Nonces;
use rtcd_media::demux::{Path, Protocol};
use rtcd_media::dtls::{Fingerprint, Identity, Role};
use rtcd_media::ice::Credentials;
use rtcd_media::rtp::ExtensionIds;
use rtcd_media::sfu::balance::Balance;
use rtcd_media::sfu::command::{Claim, Command, Event, Home, Open, Outgoing, TrackId, TransportId, WorkerId};
use rtcd_media::sfu::switch::{Age, Counters, Switch, SwitchConfig};
use rtcd_media::transport::{CloseReason, TransportEvent};
pub use slow::Slow;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracks::Published;
use wire::Wire;

/// What str0m calls the header extensions by default.
const IDS: ExtensionIds = ExtensionIds { mid: 4, rid: 10, repaired_rid: 11, audio_level: 1, transport_cc: 3 };

pub struct World {
    pub now: Instant,
    pub started: Instant,
    pub network: Network,
    pub server: SocketAddr,
    switches: Vec<(Switch, Wire)>,
    pub people: Vec<Participant>,
    identity: Identity,
    owners: HashMap<TransportId, WorkerId>,
    /// TCP connections that are no longer where they came in.
    connections: HashMap<SocketAddr, WorkerId>,
    waiting: Vec<(TransportId, Command)>,
    tracks: HashMap<TrackId, Published>,
    /// Those whose data channel is open.
    ready: Vec<TransportId>,
    pub closed: Vec<(TransportId, CloseReason)>,
    /// What came on data channels.
    pub messages: Vec<(TransportId, String)>,
    /// Voices that have begun and ended.
    pub activity: Vec<(TrackId, bool)>,
    next_ssrc: u32,
    /// Steps in a row at whose end something was due still.
    spins: u32,
    /// The switches hand over to new ones again and again: how often, and when next.
    hands_over: Option<(Duration, Instant)>,
    /// What the switches have written down for whoever goes on after a crash, and when they do so next.
    memories: Vec<crash::Memory>,
    keep_at: Instant,
    /// What participants are sent.
    sent: Vec<Outgoing>,
    pub nonces: Nonces,
    /// Whoever joins is of one small call; else everybody stays on the worker that hears him.
    pub home: Option<Arc<Home>>,
    /// The only worker has not all the time of the world.
    pub slow: Option<Slow>,
    /// What switches have taken for datagrams and deadlines, and for writing down.
    pub spent: (Duration, Duration),
}

impl World {
    pub fn new(seed: u64, workers: u8) -> Self {
        #[allow(clippy::disallowed_methods, reason = "some instant to start from")]
        let now = Instant::now();
        let identity = Identity::generate().expect("a certificate");
        let balance = Arc::new(Balance::new(usize::from(workers)));
        let switch = |worker| {
            let config = SwitchConfig {
                worker: WorkerId(worker),
                identity: identity.clone(),
                nack_buffer: 512,
                reflex: |_, _| None,
                balance: balance.clone(),
            };
            (Switch::new(config, now), Wire::default())
        };
        Self {
            now,
            started: now,
            network: Network::new(seed),
            server: ([192, 0, 2, 1], 8443).into(),
            switches: (0..workers).map(switch).collect(),
            people: Vec::new(),
            identity,
            owners: HashMap::new(),
            connections: HashMap::new(),
            waiting: Vec::new(),
            tracks: HashMap::new(),
            ready: Vec::new(),
            closed: Vec::new(),
            messages: Vec::new(),
            activity: Vec::new(),
            next_ssrc: 1000,
            spins: 0,
            hands_over: handover::always().map(|every| (every, now + every)),
            memories: Vec::new(),
            keep_at: now,
            sent: Vec::new(),
            nonces: Nonces::default(),
            home: None,
            slow: None,
            spent: (Duration::ZERO, Duration::ZERO),
        }
    }

    /// The part of pictures that the first worker has time for.
    pub fn share_of_pictures(&self) -> f64 {
        self.switches[0].0.share()
    }

    pub fn counters(&self, worker: usize) -> &Counters {
        self.switches[worker].0.counters()
    }

    /// A participant that begins to connect; returns its place.
    pub fn join(&mut self) -> usize {
        self.join_as(Manner::default())
    }

    pub fn join_as(&mut self, manner: Manner) -> usize {
        let at = self.people.len();
        let id = TransportId(at as u64 + 1);
        let host = [10, 0, 0, at as u8 + 1].into();
        let mut person = Participant::new(id, host, manner, self.started, self.now);
        let local = Credentials::generate();
        person.connect(self.server, &local, &self.identity.fingerprint().to_string());
        let api = person.rtc.direct_api();
        let remote = format!("{}", api.local_dtls_fingerprint());
        let open = Arc::new(Open {
            transport: id,
            local,
            remote_ufrag: api.local_ice_credentials().ufrag,
            fingerprint: Fingerprint::parse(&remote).expect("SHA-256"),
            role: if manner.is_dtls_server { Role::Client } else { Role::Server },
        });
        let claim = Arc::new(self.home.clone().map_or_else(Claim::default, Claim::at_home));
        for (switch, wire) in &mut self.switches {
            let command = Command::Open { open: open.clone(), claim: claim.clone() };
            switch.handle_command(self.now, command, wire);
        }
        self.people.push(person);
        at
    }

    /// The worker that a participant is on.
    pub fn worker(&self, at: usize) -> Option<WorkerId> {
        self.owners.get(&self.people[at].id).copied()
    }

    /// Whether the switch has seen a participant's data channel open.
    pub fn has_channel(&self, at: usize) -> bool {
        self.ready.contains(&self.people[at].id)
    }

    /// Mutes or unmutes a track.
    pub fn set_gate(&mut self, at: usize, track: TrackId, open: bool) {
        let transport = self.people[at].id;
        self.command(transport, Command::SetGate { transport, track, open });
    }

    /// Says something on a participant's data channel.
    pub fn tell(&mut self, at: usize, text: &str) {
        let transport = self.people[at].id;
        self.command(transport, Command::Send { transport, text: false, data: text.into() });
    }

    /// Both ways between a participant and the server have these conditions from now on.
    pub fn set_way(&mut self, at: usize, conditions: Conditions) {
        let address = self.people[at].address;
        self.network.set(self.now, address, self.server, conditions);
        self.network.set(self.now, self.server, address, conditions);
    }

    /// The same of its TCP connection.
    pub fn set_tcp_way(&mut self, at: usize, conditions: Conditions) {
        let address = self.people[at].tcp_address();
        self.network.set(self.now, address, self.server, conditions);
        self.network.set(self.now, self.server, address, conditions);
    }

    /// The way to a participant.
    pub fn set_down(&mut self, at: usize, conditions: Conditions) {
        let address = self.people[at].address;
        self.network.set(self.now, self.server, address, conditions);
    }

    /// What a participant sees of a track.
    pub fn screen(&self, at: usize, track: TrackId) -> &Screen {
        self.people[at].seen.screens.get(&track).expect("the track is seen")
    }

    /// Goes on until a participant has seen a picture of a track.
    pub fn wait_picture(&mut self, at: usize, track: TrackId) {
        let seen = self.wait(Duration::from_secs(30), |world| {
            world.people[at].seen.screens.get(&track).is_some_and(|screen| !screen.shown.is_empty())
        });
        assert!(seen, "{:?}", self.counters(0));
    }

    /// The first of three speaks and shares a screen, the second has its camera on; goes on until all see it, and the third has
    /// heard the voice. Returns voice, camera and screen.
    pub fn meet(&mut self, [ann, bob, cid]: [usize; 3], way: Conditions) -> (TrackId, TrackId, TrackId) {
        for at in [ann, bob, cid] {
            self.set_way(at, way);
        }
        let voice = self.speak(ann, &[bob, cid]);
        let camera = self.share_camera(bob, &[LOW], &[ann, cid]);
        let screen = self.share(ann, &[LOW, HIGH], &[bob, cid]);
        for (at, track) in [(cid, camera), (ann, camera), (bob, screen), (cid, screen)] {
            self.wait_picture(at, track);
        }
        self.wait_voice(cid, voice);
        (voice, camera, screen)
    }

    /// Goes on until a participant has heard a voice.
    pub fn wait_voice(&mut self, at: usize, track: TrackId) {
        let heard = self.wait(Duration::from_secs(5), |world| world.people[at].seen.voices.contains_key(&track));
        assert!(heard, "{:?}", self.counters(0));
    }

    fn command(&mut self, id: TransportId, command: Command) {
        match self.owners.get(&id) {
            Some(worker) => {
                let (switch, wire) = &mut self.switches[usize::from(worker.0)];
                switch.handle_command(self.now, command, wire);
            }
            None => self.waiting.push((id, command)),
        }
    }

    /// Goes on for so long.
    pub fn run(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    pub fn run_until(&mut self, end: Instant) {
        while self.now < end {
            let people = self.people.iter().map(Participant::next_timeout);
            let switches = self.switches.iter().filter_map(|(switch, _)| switch.next_timeout());
            let next = people.chain(switches).chain(self.network.next_timeout()).min().unwrap_or(end);
            let is_due = |(switch, _): &(Switch, Wire)| switch.next_timeout().is_some_and(|at| at <= self.now);
            self.spins = if self.slow.is_none() && self.switches.iter().any(is_due) { self.spins + 1 } else { 0 };
            assert!(self.spins < 100, "a worker would not sleep any more");
            // As a worker that is woken in whole milliseconds.
            let tick = self.now + Duration::from_millis(1);
            self.now = next.clamp(tick, end.max(tick));
            self.step();
            if let Some((every, at)) = self.hands_over
                && at <= self.now
            {
                self.hand_over(Duration::ZERO);
                self.hands_over = Some((every, self.now + every));
            }
        }
    }

    /// Goes on until something holds; whether it did within the time.
    pub fn wait(&mut self, most: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + most;
        while self.now < end && !holds(self) {
            self.run(Duration::from_millis(5));
        }
        holds(self)
    }

    fn step(&mut self) {
        let now = self.now;
        while let Some((_, datagram)) = self.network.poll(now) {
            if datagram.to == self.server {
                match &mut self.slow {
                    Some(slow) => slow.push(datagram),
                    None => self.deliver(datagram),
                }
            } else if let Some(person) = self.people.iter_mut().find(|person| person.is_at(datagram.to)) {
                person.handle_datagram(now, (datagram.from, datagram.to), &datagram.bytes);
                drain(person, now, &mut self.network);
            }
        }
        self.read_what_waits();
        for person in &mut self.people {
            if person.next_timeout() <= now {
                person.handle_timeout(now);
            }
            drain(person, now, &mut self.network);
        }
        loop {
            self.settle();
            if !self.carry() {
                break;
            }
        }
        let took = timed(|| self.keep_what_is_due());
        self.spent.1 += took;
    }

    /// A datagram comes to a worker.
    fn deliver(&mut self, datagram: Datagram) {
        let worker = usize::from(datagram.from.port()) % self.switches.len();
        let worker = self.connections.get(&datagram.from).map_or(worker, |owner| usize::from(owner.0));
        let protocol = if datagram.from.port() == TCP_PORT { Protocol::Tcp } else { Protocol::Udp };
        let path = Path { protocol, local: 0, remote: datagram.from };
        let mut bytes = datagram.bytes;
        let (switch, wire) = &mut self.switches[worker];
        let took = timed(|| switch.handle_datagram(self.now, path, &mut bytes, Age::Fresh, wire));
        self.spent.0 += took;
    }

    fn settle(&mut self) {
        if self.is_busy() {
            return;
        }
        let mut events = Vec::new();
        for (switch, wire) in &mut self.switches {
            self.spent.0 += timed(|| {
                switch.handle_timeout(self.now, wire);
                switch.settle(self.now, wire);
            });
            events.extend(std::iter::from_fn(|| switch.poll_event()));
            if let Some(slow) = &mut self.slow {
                slow.send(self.now, wire.datagrams.len());
            }
            for (path, bytes) in wire.datagrams.drain(..) {
                self.nonces.note(path.remote, &bytes);
                self.network.send(self.now, self.server, path.remote, bytes);
            }
        }
        events.into_iter().for_each(|event| self.handle_event(event));
    }

    /// Carries what switches have given each other; whether there was something.
    fn carry(&mut self) -> bool {
        let (mut handoffs, mut misrouted, mut media) = (Vec::new(), Vec::new(), Vec::new());
        for (_, wire) in &mut self.switches {
            handoffs.extend(wire.handoffs.drain(..));
            misrouted.extend(wire.misrouted.drain(..));
            media.extend(wire.media.drain(..));
        }
        let any = !handoffs.is_empty() || !misrouted.is_empty() || !media.is_empty();
        for (worker, path, mut bytes) in misrouted {
            // A connection moves as a whole.
            if path.protocol == Protocol::Tcp {
                self.connections.insert(path.remote, worker);
            }
            let (switch, wire) = &mut self.switches[usize::from(worker.0)];
            switch.handle_datagram(self.now, path, &mut bytes, Age::Fresh, wire);
        }
        for (worker, handoff) in handoffs {
            let (switch, wire) = &mut self.switches[usize::from(worker.0)];
            switch.handle_handoff(self.now, handoff, wire);
        }
        for (worker, track, meta, payload) in media {
            let (switch, wire) = &mut self.switches[usize::from(worker.0)];
            switch.handle_media(self.now, track, 1, |_| (meta, &payload[..]), wire);
        }
        any
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Claimed { transport, worker } => {
                self.owners.insert(transport, worker);
                let (ready, rest) = std::mem::take(&mut self.waiting).into_iter().partition(|(id, _)| *id == transport);
                self.waiting = rest;
                let ready: Vec<(TransportId, Command)> = ready;
                ready.into_iter().for_each(|(id, command)| self.command(id, command));
            }
            Event::TrackStarted { track, .. } => {
                let Some(published) = self.tracks.get_mut(&track) else { return };
                if !std::mem::replace(&mut published.started, true) {
                    let receivers = published.receivers.clone();
                    receivers.into_iter().for_each(|id| self.forward(track, id));
                }
            }
            // Signalling offers tracks to those whose data channel is open.
            Event::Transport { transport, event: TransportEvent::ChannelOpen } => self.is_ready(transport),
            Event::Transport { transport, event: TransportEvent::Closed(reason) } => {
                self.closed.push((transport, reason));
            }
            Event::Transport { transport, event: TransportEvent::Message { data, .. } } => {
                self.messages.push((transport, String::from_utf8(data).expect("text")));
            }
            Event::Transport { .. } | Event::BegunAgain { .. } => {}
            Event::Voice { track, active, .. } => self.activity.push((track, active)),
        }
    }
}

impl World {
    fn is_ready(&mut self, transport: TransportId) {
        // Who goes on after a crash says it again.
        if self.ready.contains(&transport) {
            return;
        }
        self.ready.push(transport);
        let running = self.tracks.iter().filter(|(_, track)| track.started && track.receivers.contains(&transport));
        let running: Vec<TrackId> = running.map(|(track, _)| *track).collect();
        running.into_iter().for_each(|track| self.forward(track, transport));
    }
}

#[allow(clippy::disallowed_methods, reason = "this is about the real time that it takes")]
fn timed(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

fn drain(person: &mut Participant, now: Instant, network: &mut Network) {
    while let Some(Wants::Send { from, to, bytes }) = person.poll(now) {
        network.send(now, from, to, bytes);
    }
}
