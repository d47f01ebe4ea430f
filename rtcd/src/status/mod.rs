//! How the daemon is at this moment, as an admin wants to see it: one value, as JSON or as a page ([`page`]).
mod gather;
pub mod log;
pub mod page;
mod words;

pub use gather::{Look, gather};

use serde::Serialize;

/// How the daemon is. The names of the fields are those of the JSON at `/status`.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// What runs.
    pub version: &'static str,
    /// The commit that it was built from.
    pub hash: &'static str,
    /// `serving` or `draining`.
    pub state: &'static str,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// What waits for the admin.
    pub notices: Vec<Notice>,
    /// What `GET /system` tells Mattermost: 1 over the number of idle processors.
    pub cpu_load: f64,
    /// Processors that it may use.
    pub cpus: usize,
    /// Resident memory.
    pub memory_bytes: u64,
    /// Threads of the packet plane.
    pub workers: Vec<Worker>,
    /// What participants are told.
    pub advertised: Vec<Told>,
    /// Registered clients, and others that are connected.
    pub clients: Vec<Client>,
    /// Calls with their participants.
    pub calls: Vec<Call>,
    /// Packets that did not get where they were meant to go, by reason, since the start of the calls that run.
    pub drops: Vec<Drops>,
}

/// Something that is odd now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// What it is about.
    pub topic: String,
    /// What it is, and what to do.
    pub text: String,
}

/// A thread of the packet plane.
#[derive(Debug, Clone, Serialize)]
pub struct Worker {
    /// Its number.
    pub number: u8,
    /// Share of a processor that it has used of late, 0..=1.
    pub cpu: f64,
    /// Participants that it serves.
    pub sessions: usize,
}

/// An address that participants are told.
#[derive(Debug, Clone, Serialize)]
pub struct Told {
    /// `udp`, `tcp` or `relay`.
    pub protocol: &'static str,
    /// Address and port.
    pub address: String,
    /// Where it came from.
    pub origin: String,
}

/// A client of the API: one Mattermost installation.
#[derive(Debug, Clone, Serialize)]
pub struct Client {
    /// Its id.
    pub client_id: String,
    /// WebSockets that it has open: one from each of its nodes.
    pub connections: usize,
    /// Participants of its calls.
    pub sessions: usize,
}

/// One call.
#[derive(Debug, Clone, Serialize)]
pub struct Call {
    /// Whose it is: the client's id.
    pub group_id: String,
    /// Its id.
    pub call_id: String,
    /// Who is in it, by age.
    pub sessions: Vec<Session>,
}

/// One participant.
#[derive(Debug, Clone, Serialize)]
pub struct Session {
    /// Its id.
    pub session_id: String,
    /// The user.
    pub user_id: String,
    /// The WebSocket that its messages take.
    pub conn_id: String,
    /// How far it has come: `awaits_offer`, `awaits_check`, `connecting`, `in_call`.
    pub stage: &'static str,
    /// Seconds since it joined.
    pub joined_s: u64,
    /// Its microphone is off.
    pub muted: bool,
    /// Its voice is heard now.
    pub speaking: bool,
    /// Messages of it that were refused.
    pub refused_messages: u32,
    /// `udp`, `tcp` or `relay`; `null` before its first check.
    pub protocol: Option<&'static str>,
    /// `ipv4` or `ipv6`.
    pub family: Option<&'static str>,
    /// The worker that serves it.
    pub worker: Option<u8>,
    /// There and back, in milliseconds.
    pub round_trip_ms: Option<f64>,
    /// Variation of the times between packets that it receives, in milliseconds, as it has said itself.
    pub jitter_ms: Option<f64>,
    /// Share of what we have sent that did not arrive, 0..=1, by its last report.
    pub loss: Option<f64>,
    /// What its way is taken to carry, in bits a second; `null` unless it receives pictures.
    pub estimate_bps: Option<u64>,
    /// What it sends, by layer.
    pub sends: Vec<Sends>,
    /// What it receives.
    pub receives: Vec<Receives>,
}

/// A layer of a track that a participant sends.
#[derive(Debug, Clone, Serialize)]
pub struct Sends {
    /// `voice`, `screen`, `screen-audio` or `video`.
    pub kind: &'static str,
    /// MIME type.
    pub codec: &'static str,
    /// 0 is the lowest.
    pub layer: u8,
    /// Bits a second, while somebody receives it.
    pub bitrate_bps: Option<u64>,
    /// Share of its packets that did not arrive here, 0..=1, since it began.
    pub loss: f64,
    /// Variation of the times between its packets, in milliseconds.
    pub jitter_ms: f64,
}

/// A track that a participant receives.
#[derive(Debug, Clone, Serialize)]
pub struct Receives {
    /// `voice`, `screen`, `screen-audio` or `video`.
    pub kind: &'static str,
    /// MIME type.
    pub codec: &'static str,
    /// The session that sends it.
    pub from: String,
    /// The layer that it gets; 0 is the lowest.
    pub layer: Option<u8>,
    /// What the layer carries, in bits a second.
    pub bitrate_bps: Option<u64>,
    /// Its way has no room for it.
    pub paused: bool,
}

/// Packets that were dropped.
#[derive(Debug, Clone, Serialize)]
pub struct Drops {
    /// Why.
    pub reason: &'static str,
    /// How many.
    pub packets: u64,
}
