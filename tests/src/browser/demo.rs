//! `rtcd demo` as a child process.
use super::PATIENCE;
use crate::daemon::{binary, free_port, temp_dir};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Counters that an honest call leaves at 0.
const NOTHING_OF: [&str; 15] = [
    "plane_send_refused_total",
    "plane_too_long_total",
    "plane_stun_refused_total",
    "plane_stun_limited_total",
    "plane_srtp_refused_total",
    "plane_srtp_replayed_total",
    "plane_rtp_unknown_total",
    "plane_rtp_superseded_total",
    "plane_rtcp_dropped_total",
    "plane_handover_dropped_total",
    "plane_tcp_dropped_total",
    "plane_tcp_refused_total",
    "plane_events_dropped_total",
    "plane_panics_total",
    "signal_refused_total",
];

/// A running demo with its daemon; both end with this value.
pub struct Demo {
    child: Child,
    addr: SocketAddr,
    dir: PathBuf,
}

impl Demo {
    /// On loopback, with a daemon of its own.
    pub fn start() -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), &[])
    }

    /// At this address, with more arguments.
    pub fn start_at(ip: IpAddr, arguments: &[&str]) -> Self {
        Self::start_with(ip, arguments, &[])
    }

    /// The same, with more in the environment.
    pub fn start_with(ip: IpAddr, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let dir = temp_dir("demo");
        let addr = SocketAddr::from((ip, free_port()));
        let log = File::create(dir.join("log")).expect("the log file can be made");
        let child = Command::new(binary())
            .args(["demo", "--listen", &addr.to_string()])
            .args(arguments)
            .env("RTCD_LOGGER_CONSOLELEVEL", "DEBUG")
            .envs(environment.iter().copied())
            .current_dir(&dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle on the log"))
            .stderr(log)
            .spawn()
            .expect("the demo starts");
        let mut demo = Self { child, addr, dir };
        demo.wait_ready();
        demo
    }

    fn wait_ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains("The demo runs at") || TcpStream::connect(self.addr).is_err() {
            let ended = self.child.try_wait().expect("the child can be asked");
            assert!(ended.is_none() && Instant::now() < deadline, "no demo ({ended:?}):\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The page, with this query.
    pub fn url(&self, query: &str) -> String {
        let scheme = if self.addr.ip().is_loopback() { "http" } else { "https" };
        format!("{scheme}://{}/?{query}", self.addr)
    }

    /// Where the page is served.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where its daemon takes media over UDP.
    pub fn media(&self) -> SocketAddr {
        self.said("udp=[", [',', ']']).expect("the daemon says where it takes media")
    }

    /// The address in the daemon's log behind `before`.
    fn said(&self, before: &str, end: [char; 2]) -> Option<SocketAddr> {
        let log = self.log();
        log.split_once(before)?.1.split(end).next()?.parse().ok()
    }

    /// The text of `/metrics` of its daemon.
    pub fn metrics(&self) -> String {
        let address = self.said("api=Some(", [')', ' ']).expect("the daemon says where its API is");
        crate::http::request(address, "GET", "/metrics", None, None).expect("the daemon answers").text()
    }

    /// An honest call, however rude its clients are, is no fault: no error is counted, and nothing was refused or dropped.
    /// Call it while everybody who came is still there: who has just left may still be heard.
    pub fn assert_nothing_refused(&self) {
        let metrics = self.metrics();
        let counted = |line: &&str| {
            let name = line.split([' ', '{']).next().unwrap_or_default();
            let faults =
                name == "rtcd_rtc_errors_total" || NOTHING_OF.iter().any(|fault| name == format!("rtcd_{fault}"));
            faults && !line.ends_with(" 0")
        };
        let faults: Vec<_> = metrics.lines().filter(counted).collect();
        assert!(faults.is_empty(), "{faults:#?}\n{}", self.log());
        for fault in NOTHING_OF {
            let known = metrics.lines().any(|line| line.starts_with(&format!("rtcd_{fault}")));
            assert!(known || fault.starts_with("signal"), "no metric of the name rtcd_{fault}");
        }
    }

    /// What the demo and its daemon have logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // SIGTERM, so that it ends its daemon, too.
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        if std::thread::panicking() {
            eprintln!("--- log of the demo ---\n{}--- end of log ---", self.log());
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}
