//! What systemd hands over, what it is handed, and what it thinks of our units.
use nix::sys::signal::Signal;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use rtcd_tests::daemon::{Daemon, DaemonConfig, PATIENCE, binary, free_port, temp_dir, wait_for};
use rtcd_tests::in_repository;
use std::fs;
use std::io::{IoSliceMut, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::process::Command;

/// Where systemd would listen to `sd_notify`.
pub struct Notifications {
    socket: UnixDatagram,
    pub path: std::path::PathBuf,
}

impl Notifications {
    pub fn new() -> Self {
        let path = temp_dir("notify").join("socket");
        let socket = UnixDatagram::bind(&path).expect("a socket can be bound");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        Self { socket, path }
    }

    /// Reads on until a line is this one.
    pub fn wait_for(&self, line: &str) {
        let mut buffer = [0; 4096];
        loop {
            let len = self.socket.recv(&mut buffer).unwrap_or_else(|error| panic!("waited for {line}: {error}"));
            if String::from_utf8_lossy(&buffer[..len]).lines().any(|told| told == line) {
                return;
            }
        }
    }
}

impl Drop for Notifications {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.path.parent().expect("made with one"));
    }
}

#[test]
fn a_listener_of_systemd_is_taken_over() {
    let dir = temp_dir("socket");
    let (api, media) = (free_port(), free_port());
    let child = Command::new("systemd-socket-activate")
        .args(["--listen", &format!("127.0.0.1:{api}")])
        .args([
            "--setenv",
            &format!("RTCD_RTC_ICEPORTUDP={media}"),
            "--setenv",
            &format!("RTCD_RTC_ICEPORTTCP={media}"),
        ])
        .args(["--setenv", "RTCD_RTC_ICEADDRESSUDP=127.0.0.1", "--setenv", "RTCD_RTC_ICEADDRESSTCP=127.0.0.1"])
        .args(["--setenv", "RTCD_STORE_DATASOURCE=store", "--setenv", "RTCD_LOGGER_ENABLEFILE=false"])
        // Nobody may bind this one: only the handed-over listener can answer.
        .args(["--setenv", "RTCD_API_HTTP_LISTENADDRESS=192.0.2.1:1"])
        .arg(binary())
        .current_dir(&dir)
        .stderr(fs::File::create(dir.join("log")).expect("the log file can be made"))
        .spawn();
    let mut child = child.expect("systemd-socket-activate can be started");
    let to = ([127, 0, 0, 1], api).into();
    let mut status = 0;
    wait_for("the API on the handed-over listener", || {
        status = rtcd_tests::http::request(to, "GET", "/version", None, None).map_or(0, |answer| answer.status);
        status != 0
    });
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert_eq!(status, 200, "{}", fs::read_to_string(dir.join("log")).unwrap_or_default());
    fs::remove_dir_all(dir).expect("removed");
}

impl Notifications {
    /// The listener that is left with systemd under this name.
    fn wait_for_listener(&self, name: &str) -> OwnedFd {
        let mut buffer = [0; 4096];
        loop {
            let mut room = nix::cmsg_space!([std::os::fd::RawFd; 4]);
            let mut slices = [IoSliceMut::new(&mut buffer)];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            let got = recvmsg::<()>(self.socket.as_raw_fd(), &mut slices, Some(&mut room), flags).expect("a message");
            let mut fds = Vec::new();
            for message in got.cmsgs().expect("room was enough") {
                if let ControlMessageOwned::ScmRights(received) = message {
                    fds.extend(received);
                }
            }
            let len = got.bytes;
            let Some(fd) = fds.first().copied() else { continue };
            let told = String::from_utf8_lossy(&buffer[..len]).into_owned();
            if told != format!("FDSTORE=1\nFDNAME={name}\n") {
                fds.into_iter().for_each(|fd| nix::unistd::close(fd).expect("it has just come"));
                continue;
            }
            #[allow(unsafe_code, reason = "the kernel has just made it for us, and nobody else knows of it")]
            return unsafe { OwnedFd::from_raw_fd(fd) };
        }
    }
}

#[test]
fn who_connects_while_the_daemon_restarts_is_served_by_the_next_one() {
    let notifications = Notifications::new();
    let config = DaemonConfig::new().env("NOTIFY_SOCKET", &notifications.path.display().to_string());
    // As systemd does it: descriptor 3, named.
    let inherit = |config: DaemonConfig, listener: &OwnedFd| {
        // What it left with systemd for media is not given back here, and still has its port.
        let config = DaemonConfig { media_port: free_port(), ..config };
        let listener = listener.try_clone().expect("a second handle");
        Daemon::start_with(config, move |command| {
            let daemon = command.get_program().to_owned();
            let variables: Vec<_> = command
                .get_envs()
                .map(|(name, value)| (name.to_owned(), value.map(Into::<std::ffi::OsString>::into)))
                .collect();
            let directory = command.get_current_dir().expect("it has one").to_owned();
            let log = fs::File::options().append(true).open(directory.join("log")).expect("the log is there");
            *command = Command::new("/bin/sh");
            command.args(["-c", "LISTEN_PID=$$ exec \"$0\" 3<&0 </dev/null"]).arg(daemon).env_clear();
            command.envs(variables.into_iter().filter_map(|(name, value)| Some((name, value?))));
            command.envs([("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "api")]).current_dir(directory);
            command.stdin(listener).stdout(log.try_clone().expect("a second handle")).stderr(log);
        })
    };
    let mut first = Daemon::start(config.clone());
    let listener = notifications.wait_for_listener("api");
    let api = first.api_addr();
    notifications.wait_for("READY=1");
    first.signal(Signal::SIGTERM);
    assert_eq!(first.wait_exit().code(), Some(0));
    let mut waiting = TcpStream::connect(api).expect("the queue is open while nobody runs");
    waiting.write_all(b"GET /version HTTP/1.0\r\n\r\n").expect("sent");

    let mut second = inherit(config.clone(), &listener);
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    notifications.wait_for("READY=1");
    second.signal(Signal::SIGTERM);
    assert_eq!(second.wait_exit().code(), Some(0));

    // Another port is configured: the old one must not stay open behind the admin's back.
    let third = inherit(DaemonConfig { api_port: free_port(), ..config }, &listener);
    drop(listener);
    assert_eq!(third.request("GET", "/version", None, None).status, 200);
    notifications.wait_for("FDSTOREREMOVE=1");
    notifications.wait_for_listener("api");
    assert!(TcpStream::connect(api).is_err(), "the old port is closed");
}

/// Our services, and how exposed each may be in tenths of the points of `systemd-analyze security`; 100 is no protection.
const UNITS: [(&str, u32); 9] = [
    ("rtcd.service", 11),
    ("provision.service", 30),
    ("provision-refresh.service", 30),
    ("rtcd-healthcheck.service", 25),
    ("rtcd-console.service", 20),
    ("rtcd-logs-watch.service", 15),
    ("rtcd-syslog.service", 15),
    ("rtcd-rollback.service", 25),
    ("rtcd-update.service", 40),
];

#[test]
fn the_units_are_accepted_by_systemd() {
    let dir = temp_dir("units");
    let timers = ["provision-refresh.timer", "rtcd-update.timer"];
    let units: Vec<_> = UNITS.map(|(unit, _)| unit).into_iter().chain(timers).collect();
    let drop_ins = ["provision.service.d/50-sandbox.conf", "rtcd.service.d/50-provision.conf"];
    for name in units.iter().chain(&drop_ins) {
        let text = fs::read_to_string(in_repository("units").join(name)).expect("the unit is there");
        // What is installed later must be there for the verification.
        let installed = ["/usr/bin/provision", "/usr/bin/rtcd", "/usr/lib/rtcd/healthcheck"];
        let text = installed.iter().fold(text, |text, program| text.replace(program, "/bin/true"));
        fs::create_dir_all(dir.join(name).parent().expect("below the directory")).expect("made");
        fs::write(dir.join(name), text).expect("written");
    }
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(units.iter().map(|unit| dir.join(unit)))
        .output();
    let output = verified.expect("systemd-analyze is installed");
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    // Units of the machine that the test runs on are none of our business.
    let ours = |line: &&str| line.contains("rtcd.") || line.contains("provision");
    assert!(output.status.success() && !complaints.lines().any(|line| ours(&line)), "{complaints}");
    fs::remove_dir_all(dir).expect("removed");
}

#[test]
fn the_units_expose_little() {
    for (unit, threshold) in UNITS {
        let judged = Command::new("systemd-analyze")
            .args(["security", "--offline=yes", &format!("--threshold={threshold}")])
            .arg(in_repository("units").join(unit))
            .output();
        let output = judged.expect("systemd-analyze is installed");
        assert!(output.status.success(), "{unit}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn the_unit_knows_the_exit_status_that_no_restart_cures() {
    let unit = fs::read_to_string(in_repository("units/rtcd.service")).expect("the unit is there");
    let code = rtcd::exit_code::ExitCode::Config as u8;
    assert!(unit.contains(&format!("RestartPreventExitStatus={code}\n")));
}
