#![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
use super::table::lost_on_the_way;
use crate::codec::Codec;
use crate::demux::Path;
use crate::dtls::{Identity, Role};
use crate::ice::Credentials;
use crate::rtp::{ExtensionIds, Ssrc};
use crate::sdp::{MediaKind, Mid};
use crate::sfu::Meta;
use crate::sfu::balance::Balance;
use crate::sfu::command::{Claim, Command, Event, Incoming, Open, Outgoing, TrackId, TransportId, WorkerId};
use crate::sfu::rewrite::Numbers;
use crate::sfu::switch::{Class, Handoff, SLOT_SIZE, Sink, Switch, SwitchConfig};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

thread_local! {
    /// The receiver whose next packet hits a bug.
    static BUG: Cell<Option<Ssrc>> = const { Cell::new(None) };
}

pub(super) fn hit_bug(ssrc: Ssrc) {
    if BUG.get() == Some(ssrc) {
        BUG.set(None);
        panic!("a bug that a test has put here");
    }
}

const SENDER: TransportId = TransportId(1);
const RECEIVERS: [TransportId; 3] = [TransportId(2), TransportId(3), TransportId(4)];

/// A road that leads nowhere.
struct Nowhere([u8; SLOT_SIZE]);

impl Sink for Nowhere {
    fn slot(&mut self) -> &mut [u8; SLOT_SIZE] {
        &mut self.0
    }
    fn commit(&mut self, _path: Path, _len: usize, _class: Class) {}
    fn hand_over(&mut self, _worker: WorkerId, _handoff: Handoff) {}
    fn hand_over_datagram(&mut self, _worker: WorkerId, _path: Path, _bytes: &[u8]) {}
    fn hand_over_media(&mut self, _worker: WorkerId, _track: TrackId, _meta: &Meta, _payload: &[u8]) {}
    fn handed_over(&mut self) {}
    fn path_verified(&mut self, _path: Path) {}
    fn path_closed(&mut self, _path: Path) {}
    fn forwarded(&mut self, _track: TrackId) {}
}

struct World {
    switch: Switch,
    sink: Nowhere,
}

impl World {
    /// One sender of a voice and three receivers, whose streams have the numbers of their transports.
    fn new() -> Self {
        let identity = Identity::generate().expect("a certificate");
        let now = Instant::now();
        let config = SwitchConfig {
            worker: WorkerId(0),
            identity: identity.clone(),
            nack_buffer: 0,
            reflex: |_, _| None,
            balance: Arc::new(Balance::new(1)),
        };
        let mut sink = Nowhere([0; SLOT_SIZE]);
        let mut switch = Switch::new(config, now);
        for transport in [SENDER].into_iter().chain(RECEIVERS) {
            let open = Arc::new(Open {
                transport,
                local: Credentials::generate(),
                remote_ufrag: "peer".into(),
                fingerprint: identity.fingerprint(),
                role: Role::Server,
            });
            let command = Command::Open { open: open.clone(), claim: Arc::new(Claim::default()) };
            switch.handle_command(now, command, &mut sink);
            switch.adopt(now, &open);
        }
        let voice = Incoming {
            track: TrackId(1),
            mid: Mid("0".into()),
            kind: MediaKind::Audio,
            formats: vec![(111, Codec::Opus)],
            extensions: ExtensionIds::default(),
            ssrcs: Vec::new(),
            rtx: Vec::new(),
            rtx_ssrcs: Vec::new(),
            rids: Vec::new(),
            nack: false,
            detect_voice: false,
            open: true,
        };
        switch.handle_command(now, Command::SetIncoming { transport: SENDER, tracks: vec![voice] }, &mut sink);
        for transport in RECEIVERS {
            let outgoing = Outgoing {
                transport,
                track: TrackId(1),
                publisher: (SENDER, WorkerId(0)),
                ssrc: transport.0 as Ssrc,
                codec: Codec::Opus,
                kind: None,
                numbers: Numbers { payload_type: 111, ..Numbers::default() },
                cname: "ann".into(),
            };
            switch.handle_command(now, Command::AddOutgoing(Box::new(outgoing)), &mut sink);
        }
        Self { switch, sink }
    }

    /// Forwards a packet; the bug hits at this receiver.
    fn forward(&mut self, bug: Option<TransportId>) {
        BUG.set(bug.map(|transport| transport.0 as Ssrc));
        let Self { switch, sink } = self;
        let packet = |_| (Meta::default(), &b"opus"[..]);
        let work = || switch.handle_media(Instant::now(), TrackId(1), 1, packet, sink);
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            switch.handle_panic(sink);
        }
    }

    fn receivers(&self) -> Vec<Ssrc> {
        let track = &self.switch.tracks[self.switch.tracks_by_id[&TrackId(1)]];
        track.receivers.iter().map(|receiver| receiver.rewriter.ssrc()).collect()
    }

    fn closed(&mut self) -> Vec<TransportId> {
        let mut closed = Vec::new();
        while let Some(event) = self.switch.poll_event() {
            if let Event::Transport { transport, .. } = event {
                closed.push(transport);
            }
        }
        closed
    }
}

#[test]
fn a_bug_hit_for_one_receiver_ends_its_session_and_the_others_go_on_receiving() {
    let mut world = World::new();
    world.forward(None);
    assert_eq!(world.receivers(), [2, 3, 4]);
    world.forward(Some(RECEIVERS[1]));
    assert_eq!(world.closed(), [RECEIVERS[1]]);
    assert_eq!(world.receivers(), [2, 4]);
    world.forward(None);
    assert_eq!(world.receivers(), [2, 4]);
}

#[test]
fn a_track_that_hits_bugs_again_and_again_ends_with_its_sender() {
    let mut world = World::new();
    world.forward(Some(RECEIVERS[0]));
    world.closed();
    world.forward(Some(RECEIVERS[1]));
    assert_eq!(world.closed(), [SENDER]);
    assert_eq!(world.receivers(), [3, 4]);
}

#[test]
fn what_the_senders_way_has_lost_is_not_taken_for_the_receivers_loss() {
    assert_eq!(lost_on_the_way(26, 250, 250), 25, "a tenth of what was sent");
    assert_eq!(lost_on_the_way(26, 250, 225), 0, "it never came here");
    assert_eq!(lost_on_the_way(51, 250, 225), 27, "a tenth on either way");
    assert_eq!(lost_on_the_way(255, 0, 0), 0, "nothing was sent");
    assert_eq!(lost_on_the_way(255, 1000, 1), 0);
}
