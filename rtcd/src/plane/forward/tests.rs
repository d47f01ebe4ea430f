use crate::plane::command::{Command, Event, Incoming, Open, Outgoing, TrackId, TransportId, WorkerId};
use crate::plane::handoff::Shared;
use crate::plane::worker::{Claim, Worker};
use rtcd_media::codec::Codec;
use rtcd_media::dtls::{Identity, Role};
use rtcd_media::ice::Credentials;
use rtcd_media::rtp::{ExtensionIds, Ssrc};
use rtcd_media::sdp::{MediaKind, Mid};
use rtcd_media::sfu::Meta;
use rtcd_media::sfu::rewrite::Numbers;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

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

struct World {
    worker: Worker,
    events: mpsc::Receiver<Event>,
}

impl World {
    /// One sender of a voice and three receivers, whose streams have the numbers of their transports.
    fn new() -> Self {
        let identity = Identity::generate().expect("a certificate");
        let shared = Arc::new(Shared::new(identity.clone(), 0, 1).expect("a letter box"));
        let (control, events) = mpsc::channel(1000);
        let now = Instant::now();
        let mut worker = Worker::new(WorkerId(0), shared, Vec::new(), Vec::new(), control, now).expect("a worker");
        for transport in [SENDER].into_iter().chain(RECEIVERS) {
            let open = Arc::new(Open {
                transport,
                local: Credentials::generate(),
                remote_ufrag: "peer".into(),
                fingerprint: identity.fingerprint(),
                role: Role::Server,
            });
            worker.handle_command(now, Command::Open { open: open.clone(), claim: Arc::new(Claim::default()) });
            worker.adopt(now, &open);
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
            detect_voice: false,
            open: true,
        };
        worker.handle_command(now, Command::SetIncoming { transport: SENDER, tracks: vec![voice] });
        let histogram =
            prometheus::Histogram::with_opts(prometheus::HistogramOpts::new("writes", "writes")).expect("well formed");
        for transport in RECEIVERS {
            let outgoing = Outgoing {
                transport,
                track: TrackId(1),
                publisher: (SENDER, WorkerId(0)),
                ssrc: transport.0 as Ssrc,
                codec: Codec::Opus,
                numbers: Numbers { payload_type: 111, ..Numbers::default() },
                cname: "ann".into(),
                writes: histogram.clone(),
            };
            worker.handle_command(now, Command::AddOutgoing(Box::new(outgoing)));
        }
        Self { worker, events }
    }

    /// Forwards a packet; the bug hits at this receiver.
    fn forward(&mut self, bug: Option<TransportId>) {
        BUG.set(bug.map(|transport| transport.0 as Ssrc));
        let place = self.worker.tracks_by_id[&TrackId(1)];
        self.worker.guarded(|worker| {
            worker.forward_packets(Instant::now(), place, 1, |_| (Meta::default(), &b"opus"[..]));
        });
    }

    fn receivers(&self) -> Vec<Ssrc> {
        let track = &self.worker.tracks[self.worker.tracks_by_id[&TrackId(1)]];
        track.receivers.iter().map(|receiver| receiver.rewriter.ssrc()).collect()
    }

    fn closed(&mut self) -> Vec<TransportId> {
        let mut closed = Vec::new();
        while let Ok(event) = self.events.try_recv() {
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
