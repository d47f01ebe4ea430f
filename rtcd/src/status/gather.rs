//! Puts together what signalling, the workers and the rest know.
use super::{Call, Client, Drops, Notice, Receives, Sends, Session, Status, Told, Worker};
use crate::build_info;
use crate::ids::ClientId;
use crate::metrics::Address;
use crate::notices::Topic;
use crate::signal::{SentTrack, SessionStatus, Stage};
use rtcd_media::demux::Protocol;
use rtcd_media::sfu::Layer;
use rtcd_media::sfu::bandwidth::Bitrate;
use rtcd_media::sfu::command::{TrackId, TransportId, WorkerId};
use rtcd_media::sfu::switch::{PeerStatus, SentStatus};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// A certificate that ends sooner waits for the admin.
const CERTIFICATE_SOON: Duration = Duration::from_secs(14 * DAY);
const DAY: u64 = 24 * 60 * 60;

/// What there is to see.
#[derive(Debug, Default)]
pub struct Look {
    /// Since the start.
    pub uptime: Duration,
    /// New calls are to go elsewhere.
    pub draining: bool,
    /// As `GET /system` tells it.
    pub cpu_load: f64,
    /// Share of a processor that each worker has used of late.
    pub worker_cpu: Vec<f64>,
    /// A worker has not time for everything.
    pub overloaded: bool,
    /// What parts of the daemon have found odd.
    pub notices: Vec<(Topic, String)>,
    /// What other parts of the machine have left for the admin.
    pub machine: Vec<(String, String)>,
    /// Why nobody can use it, if so.
    pub nobody_can_register: Option<&'static str>,
    /// Until the certificate of the API ends; `Some(ZERO)`: it has.
    pub certificate: Option<Duration>,
    /// What participants are told.
    pub advertised: Vec<Address>,
    /// Ids of all registered clients.
    pub registered: Vec<ClientId>,
    /// Clients with their WebSockets and sessions.
    pub live: Vec<(ClientId, usize, usize)>,
    /// What signalling knows.
    pub sessions: Vec<SessionStatus>,
    /// What the workers know.
    pub peers: Vec<(WorkerId, Vec<PeerStatus>)>,
    /// Drops by reason.
    pub drops: Vec<(&'static str, u64)>,
}

/// How the daemon is.
pub fn gather(look: Look) -> Status {
    let workers = look.peers.iter().map(|(worker, peers)| Worker {
        number: worker.0,
        cpu: look.worker_cpu.get(usize::from(worker.0)).copied().unwrap_or_default(),
        sessions: peers.len(),
    });
    Status {
        version: build_info::VERSION,
        hash: build_info::HASH,
        state: if look.draining { "draining" } else { "serving" },
        uptime_s: look.uptime.as_secs(),
        notices: notices(&look),
        cpu_load: look.cpu_load,
        cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        memory_bytes: memory(),
        workers: workers.collect(),
        advertised: look.advertised.iter().map(told).collect(),
        clients: clients(&look),
        calls: calls(&look.sessions, &look.peers),
        drops: look
            .drops
            .iter()
            .filter(|(_, packets)| *packets > 0)
            .map(|(reason, packets)| Drops { reason, packets: *packets })
            .collect(),
    }
}

fn memory() -> u64 {
    let stat = procfs::process::Process::myself().and_then(|process| process.stat());
    stat.map_or(0, |stat| stat.rss * procfs::page_size())
}

fn told(address: &Address) -> Told {
    Told { protocol: address.protocol, address: address.address.clone(), origin: address.origin.clone() }
}

fn notices(look: &Look) -> Vec<Notice> {
    let notice = |topic: &str, text: String| Notice { topic: topic.to_owned(), text };
    let mut all = Vec::new();
    if look.draining {
        all.push(notice("drain", "new calls go to other hosts; running calls end by themselves".into()));
    }
    if look.overloaded {
        let text = "a worker does not keep up: participants get less of screens and cameras, voice goes on, new calls are sent \
                    elsewhere; the machine needs more processors, or another host beside it";
        all.push(notice("overload", text.into()));
    }
    if look.advertised.is_empty() {
        let text = "participants are told no address: nobody can join a call, see rtc.ice_address_udp and _tcp";
        all.push(notice("addresses", text.into()));
    }
    all.extend(look.nobody_can_register.map(|text| notice("registration", text.into())));
    if let Some(left) = look.certificate.filter(|left| *left < CERTIFICATE_SOON) {
        let text = match left.as_secs() / DAY {
            _ if left.is_zero() => {
                "the certificate of the API has ended: Mattermost cannot connect, renew it".to_owned()
            }
            0 => "the certificate of the API ends within a day: renew it".to_owned(),
            days => format!("the certificate of the API ends in {days} days: renew it"),
        };
        all.push(notice("certificate", text));
    }
    all.extend(look.machine.iter().map(|(topic, text)| notice(topic, text.clone())));
    all.extend(look.notices.iter().map(|(topic, text)| notice(topic.as_str(), text.clone())));
    all
}

fn clients(look: &Look) -> Vec<Client> {
    let mut all: BTreeMap<&ClientId, (usize, usize)> = look.registered.iter().map(|id| (id, (0, 0))).collect();
    all.extend(look.live.iter().map(|(id, connections, sessions)| (id, (*connections, *sessions))));
    let client = |(id, (connections, sessions)): (&ClientId, (usize, usize))| Client {
        client_id: id.to_string(),
        connections,
        sessions,
    };
    // The check page's group is nobody's.
    all.into_iter().filter(|(id, _)| !is_of_check_page(id)).map(client).collect()
}

fn is_of_check_page(id: &ClientId) -> bool {
    id.as_str().starts_with(crate::check_page::GROUP)
}

fn calls(sessions: &[SessionStatus], peers: &[(WorkerId, Vec<PeerStatus>)]) -> Vec<Call> {
    let peers: HashMap<TransportId, (WorkerId, &PeerStatus)> =
        peers.iter().flat_map(|(worker, peers)| peers.iter().map(|peer| (peer.transport, (*worker, peer)))).collect();
    // A layer is measured where somebody receives it, which may be another worker than its sender's.
    let of_peer = |(_, peer): &(WorkerId, &PeerStatus)| {
        peer.receives.iter().filter_map(|track| Some(((track.track, track.layer), track.bitrate?))).collect::<Vec<_>>()
    };
    let rates: Rates = peers.values().flat_map(of_peer).collect();
    let of_call = |a: &SessionStatus, b: &SessionStatus| (&a.group, &a.call) == (&b.group, &b.call);
    let call = |sessions: &[SessionStatus]| Call {
        group_id: sessions[0].group.to_string(),
        call_id: sessions[0].call.to_string(),
        sessions: sessions.iter().map(|known| session(known, peers.get(&known.transport).copied(), &rates)).collect(),
    };
    sessions.chunk_by(of_call).map(call).collect()
}

/// What layers carry, wherever that is known.
type Rates = HashMap<(TrackId, Layer), Bitrate>;

fn session(known: &SessionStatus, peer: Option<(WorkerId, &PeerStatus)>, rates: &Rates) -> Session {
    let (worker, peer) = peer.unzip();
    let path = peer.and_then(|peer| peer.path);
    let milliseconds = |seconds: f64| seconds * 1000.0;
    let measured = peer.and_then(|peer| peer.round_trip).map(|time| time.as_secs_f64());
    let received: HashMap<TrackId, _> =
        peer.map(|peer| peer.receives.iter().map(|track| (track.track, track)).collect()).unwrap_or_default();
    let receives = known.receives.iter().map(|track| {
        let way = received.get(&track.track);
        Receives {
            kind: track.kind.as_str(),
            codec: track.codec.mime_type(),
            from: track.from.to_string(),
            layer: way.filter(|_| track.kind.is_video()).map(|way| way.layer.0),
            bitrate_bps: way.and_then(|way| way.bitrate).map(|rate| rate.0),
            paused: way.is_some_and(|way| way.paused),
        }
    });
    Session {
        session_id: known.session.to_string(),
        user_id: known.user.to_string(),
        conn_id: known.conn.to_string(),
        stage: match known.stage {
            Stage::AwaitsOffer => "awaits_offer",
            Stage::AwaitsCheck => "awaits_check",
            Stage::Connecting => "connecting",
            Stage::InCall => "in_call",
        },
        joined_s: known.joined.as_secs(),
        muted: known.muted,
        speaking: known.sends.iter().any(|track| track.speaking),
        refused_messages: known.refusals,
        protocol: path.map(|path| match path.protocol {
            Protocol::Udp => "udp",
            Protocol::Tcp => "tcp",
            Protocol::Relay => "relay",
        }),
        family: path.map(|path| if path.remote.ip().to_canonical().is_ipv4() { "ipv4" } else { "ipv6" }),
        worker: worker.map(|worker| worker.0),
        round_trip_ms: measured.or(known.reported.round_trip).map(milliseconds),
        jitter_ms: known.reported.jitter.map(milliseconds),
        loss: peer.and_then(|peer| peer.lost).map(f64::from).or(known.reported.loss),
        estimate_bps: peer.and_then(|peer| peer.estimate).map(|rate| rate.0),
        sends: known.sends.iter().flat_map(|track| sends(track, peer, rates)).collect(),
        receives: receives.collect(),
    }
}

/// A track by its layers that run.
fn sends(track: &SentTrack, peer: Option<&PeerStatus>, rates: &Rates) -> Vec<Sends> {
    const STOPPED: Duration = Duration::from_secs(5);
    let streams = peer.map(|peer| peer.sends.as_slice()).unwrap_or_default();
    let of_track = streams.iter().filter(|stream| stream.track == track.track && stream.silent < STOPPED);
    let layer = |stream: &SentStatus| {
        let (received, expected) = stream.packets;
        Sends {
            kind: track.kind.as_str(),
            codec: track.codec.mime_type(),
            layer: stream.layer.0,
            bitrate_bps: stream.bitrate.or(rates.get(&(stream.track, stream.layer)).copied()).map(|rate| rate.0),
            loss: if expected == 0 { 0.0 } else { expected.saturating_sub(received) as f64 / expected as f64 },
            jitter_ms: stream.jitter.as_secs_f64() * 1000.0,
        }
    };
    let mut layers: Vec<_> = of_track.map(layer).collect();
    layers.sort_by_key(|layer| layer.layer);
    layers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(look: Look) -> Vec<String> {
        gather(look).notices.into_iter().map(|notice| format!("{}: {}", notice.topic, notice.text)).collect()
    }

    #[test]
    fn what_waits_for_the_admin_is_said_as_long_as_it_is_so() {
        let address = Address { protocol: "udp", address: "192.0.2.1:8443".into(), origin: "eth0".into() };
        let well = || Look { advertised: vec![address.clone()], ..Look::default() };
        assert_eq!(texts(well()), [""; 0]);
        assert!(texts(Look::default())[0].starts_with("addresses: participants are told no address"));
        let days = |days| Look { certificate: Some(Duration::from_secs(days * DAY)), ..well() };
        assert_eq!(texts(days(15)), [""; 0]);
        assert_eq!(texts(days(13)), ["certificate: the certificate of the API ends in 13 days: renew it"]);
        assert!(texts(days(0))[0].contains("has ended"));
        let look = Look {
            draining: true,
            nobody_can_register: Some("nobody can register"),
            notices: vec![(Topic::Kernel, "UDP buffers are small".into())],
            ..well()
        };
        let said = texts(look);
        let topics: Vec<_> = said.iter().map(|text| text.split(':').next().unwrap_or_default()).collect();
        assert_eq!(topics, ["drain", "registration", "kernel"]);
    }
}
