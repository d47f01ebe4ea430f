//! The real daemon as a child process: on free ports, with a store of its own, gone when the test is.
use crate::http::{self, Response};
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The admin key of every daemon that a test starts.
pub const ADMIN_KEY: &str = "an-admin-key-of-the-tests-only";

/// How long anything that is waited for may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How a daemon is to be started.
#[derive(Debug, Clone)]
pub struct DaemonConfig {
    /// `RTCD_*` variables over the defaults of [`DaemonConfig::new`].
    pub env: BTreeMap<String, String>,
    pub args: Vec<String>,
    /// What is run: the daemon of this build, or another one, maybe by an emulator.
    pub program: Vec<PathBuf>,
    /// The store; `None` makes a temporary one.
    pub store: Option<PathBuf>,
    /// Where API and media listen.
    pub ip: Ipv4Addr,
    /// Port of the API.
    pub api_port: u16,
    /// UDP and TCP port for media.
    pub media_port: u16,
    /// Whether [`Daemon::start`] waits until the API answers.
    pub wait: bool,
    /// The scheme of the API.
    pub tls: bool,
}

impl Default for DaemonConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl DaemonConfig {
    /// Loopback only, free ports, self-registration and the admin on, log on the console.
    pub fn new() -> Self {
        Self {
            env: BTreeMap::new(),
            args: Vec::new(),
            program: Vec::new(),
            store: None,
            ip: Ipv4Addr::LOCALHOST,
            api_port: free_port(),
            media_port: free_port(),
            wait: true,
            tls: false,
        }
    }
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }
    #[must_use]
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.into());
        self
    }
    #[must_use]
    pub fn store(mut self, path: &Path) -> Self {
        self.store = Some(path.into());
        self
    }
    /// Does not wait for the API.
    #[must_use]
    pub fn no_wait(mut self) -> Self {
        self.wait = false;
        self
    }
    /// All `RTCD_*` variables for a daemon whose files are in `dir`.
    fn variables(&self, dir: &Path) -> BTreeMap<String, String> {
        let store = self.store.clone().unwrap_or_else(|| dir.join("store"));
        let mut all: BTreeMap<String, String> = [
            ("RTCD_API_HTTP_LISTENADDRESS", format!("{}:{}", self.ip, self.api_port)),
            ("RTCD_API_SECURITY_ALLOWSELFREGISTRATION", "true".into()),
            ("RTCD_API_SECURITY_ENABLEADMIN", "true".into()),
            ("RTCD_API_SECURITY_ADMINSECRETKEY", ADMIN_KEY.into()),
            ("RTCD_RTC_ICEADDRESSUDP", self.ip.to_string()),
            ("RTCD_RTC_ICEADDRESSTCP", self.ip.to_string()),
            ("RTCD_RTC_ICEPORTUDP", self.media_port.to_string()),
            ("RTCD_RTC_ICEPORTTCP", self.media_port.to_string()),
            ("RTCD_STORE_DATASOURCE", store.display().to_string()),
            ("RTCD_LOGGER_ENABLEFILE", "false".into()),
            ("RTCD_LOGGER_CONSOLELEVEL", "DEBUG".into()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        all.extend(self.env.clone());
        all
    }
}

/// A running daemon; killed when dropped, and its log is printed when the test has failed by then.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    dir: PathBuf,
    config: DaemonConfig,
}

impl Daemon {
    /// Starts the daemon and waits until it answers.
    pub fn start(config: DaemonConfig) -> Daemon {
        Self::start_with(config, |_| ())
    }

    /// The same, with a last look at the command.
    pub fn start_with(config: DaemonConfig, change: impl FnOnce(&mut Command)) -> Daemon {
        let dir = temp_dir("daemon");
        let log = File::create(dir.join("log")).expect("the log file can be made");
        let program = if config.program.is_empty() { vec![binary()] } else { config.program.clone() };
        let mut command = Command::new(&program[0]);
        command
            .args(&program[1..])
            .args(&config.args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(config.variables(&dir))
            .current_dir(&dir)
            .stdin(std::process::Stdio::null())
            .stdout(log.try_clone().expect("a second handle on the log"))
            .stderr(log)
            .process_group(0);
        change(&mut command);
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program[0].display()));
        let mut daemon = Daemon { child, dir, config };
        if daemon.config.wait {
            daemon.wait_ready();
        }
        daemon
    }

    /// Waits until the API takes connections.
    pub fn wait_ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be asked") {
                panic!("the daemon ended at once ({status}):\n{}", self.log());
            }
            if std::net::TcpStream::connect(self.api_addr()).is_ok() {
                return;
            }
            assert!(Instant::now() < deadline, "the API never came up:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for a line of its log.
    pub fn wait_log(&mut self, line: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(line) {
            if let Some(status) = self.child.try_wait().expect("the child can be asked") {
                panic!("the daemon ended ({status}) before it logged {line:?}");
            }
            assert!(Instant::now() < deadline, "the daemon never logged {line:?}; its threads:\n{}", self.threads());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What its threads wait for, for whoever looks into why it stands still.
    fn threads(&self) -> String {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).into_iter().flatten().flatten();
        let of = |task: fs::DirEntry| {
            let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
            format!("{} {} {}", read("comm").trim(), read("wchan").trim(), read("syscall"))
        };
        tasks.map(of).collect()
    }

    /// Where the API listens.
    pub fn api_addr(&self) -> SocketAddr {
        (self.config.ip, self.config.api_port).into()
    }
    /// `http://127.0.0.1:port`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http{}://{}", if self.config.tls { "s" } else { "" }, self.api_addr())
    }
    /// The UDP and TCP port for media.
    pub fn media_port(&self) -> u16 {
        self.config.media_port
    }
    /// Where it listens for media.
    pub fn media_addr(&self) -> SocketAddr {
        (self.config.ip, self.config.media_port).into()
    }
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
    /// A directory that lives as long as the daemon.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
    /// All its `RTCD_*` variables.
    pub fn variables(&self) -> BTreeMap<String, String> {
        self.config.variables(&self.dir)
    }
    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Waits until it has logged this: a line may be written behind the answer that it is about.
    pub fn assert_logs(&self, text: &str) {
        wait_for(&format!("{text:?} in the log"), || self.log().contains(text));
    }
    /// One request to the API.
    pub fn request(&self, method: &str, path: &str, authorization: Option<&str>, body: Option<&str>) -> Response {
        http::request(self.api_addr(), method, path, authorization, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", self.log()))
    }
    /// Registers a client with the admin's credentials.
    pub fn register(&self, client_id: &str, auth_key: &str) -> Response {
        let body = serde_json::json!({"clientID": client_id, "authKey": auth_key}).to_string();
        self.request("POST", "/register", Some(&http::basic("", ADMIN_KEY)), Some(&body))
    }
    /// The text of `/metrics`.
    pub fn metrics(&self) -> String {
        self.request("GET", "/metrics", None, None).text()
    }
    /// The value of the metric line that starts with `series`, 0 when there is none.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.metrics();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        value.unwrap_or(0.0)
    }
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, signal).expect("the daemon can be signalled");
    }
    /// Waits for its end.
    pub fn wait_exit(&mut self) -> ExitStatus {
        let mut status = None;
        wait_for("the daemon to end", || {
            status = self.child.try_wait().expect("the child can be asked");
            status.is_some()
        });
        status.expect("just waited for")
    }
    /// Whether it is still running.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the daemon ---\n{}--- end of log ---", self.log());
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Polls until `condition` holds; fails after [`PATIENCE`].
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The daemon's binary of the profile that this test was built in, or the one that `RTCD_PROGRAM` names: what is shipped.
pub fn binary() -> PathBuf {
    if let Some(program) = std::env::var_os("RTCD_PROGRAM") {
        return program.into();
    }
    binary_of("rtcd")
}

/// A program of this workspace, of the profile that this test was built in.
pub fn binary_of(name: &str) -> PathBuf {
    let exe = std::env::current_exe().expect("a test knows its own path");
    // target/<profile>/deps/it-<hash>, or target/<profile>/<bin>
    let dir = exe.parent().expect("a binary is in a directory");
    let dir = if dir.ends_with("deps") { dir.parent().expect("deps is in the profile's directory") } else { dir };
    let binary = dir.join(name);
    assert!(binary.exists(), "{} is missing: run `cargo build -p {name}` first", binary.display());
    binary
}

/// The daemon as it is now, for a tool: `cargo run` builds the tool alone.
pub fn build_daemon() -> anyhow::Result<()> {
    let Some(cargo) = std::env::var_os("CARGO") else { return Ok(()) };
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let build = ["build", "--locked", "--workspace", "--bin", "rtcd", "--profile", profile];
    anyhow::ensure!(Command::new(cargo).args(build).status()?.success(), "the daemon could not be built");
    Ok(())
}

/// A new directory under the system's temporary one.
pub fn temp_dir(what: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("rtcd-{what}-{}-{:08x}", std::process::id(), rand::random::<u32>()));
    fs::create_dir_all(&dir).expect("a temporary directory can be made");
    dir
}

/// A port that is free for UDP and TCP and that this process has not given out before.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    loop {
        // Below the kernel's range for outgoing connections, so that nobody takes it by chance.
        let port = rand::random_range(20_000..32_000);
        let free = UdpSocket::bind(("0.0.0.0", port)).is_ok() && TcpListener::bind(("0.0.0.0", port)).is_ok();
        let mut given = GIVEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if free && given.get_or_insert_default().insert(port) {
            return port;
        }
    }
}
