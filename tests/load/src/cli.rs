//! The command line.
use crate::api::Api;
use crate::run::Plan;
use anyhow::{Context as _, Result, bail};
use clap::Parser;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What `--version` says.
const VERSION: &str =
    concat!(env!("RTCD_BUILD_VERSION"), " (commit ", env!("RTCD_BUILD_HASH"), " of ", env!("RTCD_BUILD_DATE"), ")");
/// One thread plays so many participants before another one is worth it.
const PER_THREAD: u32 = 250;

/// How many people does this machine carry? Plays participants of calls against an rtcd and measures what arrives.
///
/// Everybody has a socket, ICE, DTLS, SRTP and a data channel of its own, and speaks to the server as web clients do. Packets
/// carry when and by whom they were sent. Run it on another machine than the server's to measure the network as well; on the
/// same one it takes CPU from the server.
///
/// Exit status: 0, or 1 when somebody got what was not for them, fell out or did not get in; 2 for a wrong command line.
#[derive(Parser, Debug)]
#[command(name = "rtcd-load", version = VERSION)]
pub struct Args {
    /// The API of the server.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8045")]
    pub url: String,
    /// Which client of the API to be. Without a key a new one registers for this run and is removed after it; with a key: `load`.
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,
    /// The client's key. Command lines are seen by everybody on the machine: better in this variable, or in a file.
    #[arg(long, value_name = "KEY", env = "RTCD_LOAD_AUTH_KEY", hide_env_values = true)]
    pub auth_key: Option<String>,
    /// A file with the client's key.
    #[arg(long, value_name = "FILE", conflicts_with = "auth_key")]
    pub auth_key_file: Option<PathBuf>,
    /// Calls at the same time.
    #[arg(long, default_value_t = 1)]
    pub calls: u32,
    /// Participants of each call.
    #[arg(long, default_value_t = 100)]
    pub participants: u32,
    /// How many of each call speak: 50 packets a second each.
    #[arg(long, default_value_t = 1)]
    pub voices: u32,
    /// 1: somebody in each call shares a screen: 1.6 Mbit/s, 20 pictures a second.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=1))]
    pub screens: u32,
    /// How many of each call show themselves: 600 kbit/s each.
    #[arg(long, default_value_t = 0)]
    pub cameras: u32,
    /// Screens come in two layers, 500 kbit/s and 2.5 Mbit/s.
    #[arg(long)]
    pub simulcast: bool,
    /// How long it is measured.
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    /// How long to wait before that, after everybody has got in.
    #[arg(long, default_value_t = 6, value_name = "SECONDS")]
    pub warm_up: u64,
    /// Participants who leave and others who come, each second.
    #[arg(long, default_value_t = 0.0, value_name = "N")]
    pub churn: f64,
    /// Media over TCP.
    #[arg(long)]
    pub tcp: bool,
    /// The server's process on this machine: its CPU and memory are measured.
    #[arg(long)]
    pub pid: Option<u32>,
    /// The address of this machine that participants have; else the one that leads to the API.
    #[arg(long, value_name = "IP")]
    pub bind: Option<IpAddr>,
    /// Threads that play; else one for 250 participants, and no more than there are CPUs.
    #[arg(long)]
    pub threads: Option<usize>,
    /// Raises the calls (with more than one) or the participants, step by step, until more than 1 % is lost or the 99th percentile
    /// of the latency is above 100 ms; says what was carried and why the next step was not.
    #[arg(long)]
    pub find_limit: bool,
    /// Starts the server itself, and prints what it costs in five cases beside the raw floor, as Markdown.
    #[arg(long, conflicts_with_all = ["find_limit", "json", "url", "pid", "auth_key_file"])]
    pub table: bool,
    /// With --table: the server; else the `rtcd` beside this program, or in PATH.
    #[arg(long, value_name = "PATH", requires = "table")]
    pub daemon: Option<PathBuf>,
    /// With --table: another server that takes the same variables, in turn with the first.
    #[arg(long, value_name = "PATH", requires = "table")]
    pub against: Option<PathBuf>,
    /// With --table: how many times each case is measured; the middle value counts.
    #[arg(long, value_name = "N", requires = "table", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// With --table: this case alone, 1 to 5.
    #[arg(long, value_name = "N", requires = "table")]
    pub case: Option<usize>,
    /// The result as JSON, on standard output.
    #[arg(long)]
    pub json: bool,
}

impl Args {
    /// The server.
    pub fn api(&self) -> Result<Api> {
        let key = match &self.auth_key_file {
            None => self.auth_key.clone(),
            Some(path) => {
                let key =
                    std::fs::read_to_string(path).with_context(|| format!("--auth-key-file {}", path.display()))?;
                Some(key.trim().to_owned())
            }
        };
        if key.as_deref() == Some("") {
            bail!(
                "the key is empty: leave RTCD_LOAD_AUTH_KEY, --auth-key and --auth-key-file away to register for this run"
            );
        }
        Api::new(&self.url, self.client_id.clone(), key)
    }

    /// What is played.
    pub fn plan(&self) -> Plan {
        let total = self.calls.saturating_mul(self.participants);
        Plan {
            calls: self.calls,
            participants: self.participants,
            voices: self.voices,
            screen: self.screens > 0,
            cameras: self.cameras,
            simulcast: self.simulcast,
            tcp: self.tcp,
            lasting: Duration::from_secs(self.seconds),
            warm_up: Duration::from_secs(self.warm_up),
            churn: self.churn,
            threads: self.threads.unwrap_or_else(|| threads(total)),
            pid: self.pid,
            local: self.bind,
        }
    }
}

/// As many as play so many participants.
pub fn threads(participants: u32) -> usize {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    (participants.div_ceil(PER_THREAD) as usize).clamp(1, cpus)
}
