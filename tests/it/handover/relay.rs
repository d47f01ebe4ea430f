//! A daemon whose place others take.
use super::keeper::Keeper;
use super::lines;
use rtcd_tests::browser::demo::Demo;
use rtcd_tests::daemon::{Daemon, DaemonConfig, binary, temp_dir};
use std::path::PathBuf;
use std::process::Command;

/// A daemon whose place others take, with a demo in front of it.
pub struct Relay {
    pub config: DaemonConfig,
    pub daemon: Daemon,
    is_other: bool,
    store: PathBuf,
}

impl Relay {
    pub fn start() -> Self {
        Self::start_by(DaemonConfig::new(), |config| Daemon::start(config.clone()))
    }

    /// With a store that outlives the daemon.
    pub fn start_by(config: DaemonConfig, start: impl FnOnce(&DaemonConfig) -> Daemon) -> Self {
        let store = temp_dir("relay");
        let config = config.store(&store);
        Self { daemon: start(&config), config, is_other: false, store }
    }

    pub fn demo(&self) -> Demo {
        self.demo_at(std::net::Ipv4Addr::LOCALHOST, &[])
    }

    pub fn demo_at(&self, ip: std::net::Ipv4Addr, more: &[&str]) -> Demo {
        let key = self.store.join("key");
        std::fs::write(&key, "k".repeat(40)).expect("written");
        let (api, key) = (self.daemon.url(), key.display().to_string());
        let arguments = ["--connect", &api, "--client-id", "mattermost", "--auth-key-file", &key];
        Demo::start_at(ip.into(), &[&arguments, more].concat())
    }

    /// Whether every second process is of another version.
    pub fn has_others(&self) -> bool {
        std::env::var_os("RTCD_OTHER").is_some()
    }

    /// `RTCD_OTHER` is the program of another version, which every second process is of.
    pub fn next_config(&mut self) -> DaemonConfig {
        self.is_other = !self.is_other;
        let other = std::env::var_os("RTCD_OTHER").filter(|_| self.is_other);
        DaemonConfig { program: other.map(PathBuf::from).into_iter().collect(), ..self.config.clone() }
    }

    /// systemd stops the daemon and starts it again.
    pub fn hand_over_with(&mut self, keeper: &Keeper) {
        let mut command = Command::new(binary());
        let output = command.arg("hand-over").env_clear().envs(self.daemon.variables()).output().expect("run");
        assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), self.daemon.log());
        assert!(self.daemon.wait_exit().success());
        self.daemon = keeper.start_ready(&self.next_config());
        keeper.wait_names(["api", "socket", "written"]);
    }

    /// Another process takes over.
    pub fn hand_over(&mut self) {
        let next = Daemon::start(self.next_config().arg("--takeover"));
        let mut before = std::mem::replace(&mut self.daemon, next);
        assert!(before.wait_exit().success(), "{}", before.log());
        self.daemon.wait_log("ready");
        println!("{}", lines(&before.log(), "the calls have been left"));
        println!("{}", lines(&self.daemon.log(), "go on"));
    }

    /// Some that must not jump back: of the plane, of its switches, of the API and of signalling.
    pub fn counters(&self) -> [f64; 4] {
        let joins = "rtcd_ws_messages_total{clientID=\"mattermost\",direction=\"in\",type=\"join\"}";
        let connected = "rtcd_rtc_conn_states_total{type=\"connected\"}";
        ["rtcd_plane_received_total", "rtcd_plane_forwarded_total", joins, connected]
            .map(|name| self.daemon.metric(name))
    }

    pub fn sessions(&self) -> f64 {
        self.daemon.metric("rtcd_rtc_sessions_total{groupID=\"mattermost\"}")
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.store);
    }
}
