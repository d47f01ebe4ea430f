//! The journal of a machine elsewhere: a log server with TLS that goes away for a while, and one that takes journals.
use crate::machine::Machine;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rtcd_tests::daemon::{ADMIN_KEY, free_port};
use rtcd_tests::http;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What sends, and what looks after it.
const UNITS: [&str; 3] = ["rtcd-syslog", "systemd-journal-upload", "rtcd-logs-watch"];
/// Between two attempts of the sender is a minute.
const SOON: Duration = Duration::from_secs(180);
/// The host, as the machine sees it.
const HOST: &str = "10.0.2.2";

/// On a machine whose user data say nothing of it.
pub fn nothing_is_sent_unasked(machine: &mut Machine) {
    for unit in UNITS {
        let state = machine.sh(&format!("systemctl show --property=ActiveState,ConditionResult {unit}"));
        assert!(state.contains("ActiveState=inactive\n") && state.contains("ConditionResult=no\n"), "{unit}: {state}");
    }
}

/// Both servers.
pub struct Servers {
    dir: PathBuf,
    ca: String,
    syslog_port: u16,
    upload_port: u16,
    syslog: Option<Child>,
    uploaded: Arc<Mutex<String>>,
}

impl Servers {
    /// Starts them; they end with this value.
    pub fn start(dir: &Path) -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([HOST.to_owned()]).expect("an address");
        let certificate = params.signed_by(&key, &authority).expect("signed");
        fs::write(dir.join("logs.pem"), format!("{}{}", certificate.pem(), key.serialize_pem())).expect("written");

        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let upload_port = listener.local_addr().expect("an address").port();
        let uploaded = Arc::new(Mutex::new(String::new()));
        let heard = uploaded.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let heard = heard.clone();
                std::thread::spawn(move || take_journals(stream, &heard));
            }
        });
        let (dir, ca) = (dir.to_owned(), authority.pem());
        let mut servers = Self { dir, ca, syslog_port: free_port(), upload_port, syslog: None, uploaded };
        servers.go_on();
        servers
    }

    /// Goes on at the top of the user data.
    pub fn user_data(&self) -> String {
        let Self { ca, syslog_port, upload_port, .. } = self;
        format!(
            "rtcd.api.security.enable_admin: true
rtcd.api.security.admin_secret_key: {ADMIN_KEY:?}
logs:
  syslog: {{url: \"tls://{HOST}:{syslog_port}\", ca: {ca:?}}}
  upload: {{url: \"http://{HOST}:{upload_port}\"}}
"
        )
    }

    /// The server of syslog is there again.
    fn go_on(&mut self) {
        let heard = File::options().create(true).append(true).open(self.dir.join("syslog")).expect("a file");
        let mut server = Command::new("openssl");
        server.args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{}", self.syslog_port), "-cert"]);
        // It ends when there is nothing to read for it.
        server.arg(self.dir.join("logs.pem")).stdin(Stdio::piped()).stdout(heard).stderr(Stdio::null());
        self.syslog = Some(server.spawn().expect("openssl is installed"));
    }

    fn go_away(&mut self) {
        if let Some(mut server) = self.syslog.take() {
            server.kill().expect("it runs");
            server.wait().expect("it ends");
        }
    }

    fn syslog(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.join("syslog")).unwrap_or_default()).into_owned()
    }

    fn uploaded(&self) -> String {
        self.uploaded.lock().expect("not poisoned").clone()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.go_away();
    }
}

/// What systemd-journal-remote does: journals come as chunked bodies, and each is acknowledged.
fn take_journals(stream: TcpStream, heard: &Mutex<String>) {
    let mut reader = BufReader::new(&stream);
    let mut line = String::new();
    let mut chunked = false;
    while {
        line.clear();
        reader.read_line(&mut line).is_ok_and(|read| read > 0)
    } {
        let text = line.trim().to_ascii_lowercase();
        chunked |= text == "transfer-encoding: chunked";
        if text == "expect: 100-continue" {
            let _ = (&stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        if !text.is_empty() {
            continue;
        }
        assert!(chunked, "a journal comes in chunks");
        loop {
            line.clear();
            if reader.read_line(&mut line).is_err() {
                return;
            }
            let Ok(length) = usize::from_str_radix(line.trim(), 16) else { return };
            let mut chunk = vec![0; length + 2];
            if reader.read_exact(&mut chunk).is_err() {
                return;
            }
            heard.lock().expect("not poisoned").push_str(&String::from_utf8_lossy(&chunk[..length]));
            if length == 0 {
                break;
            }
        }
        let _ = (&stream).write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 3\r\n\r\nOK\n");
    }
}

/// An emulated machine on a busy one takes its time.
#[track_caller]
fn wait_for(what: &str, patience: Duration, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + patience;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Both ways, with the server of one of them away for some minutes; and what the machine tells its admin meanwhile.
pub fn arrive_even_after_an_outage(machine: &mut Machine, servers: &mut Servers) {
    wait_for("rtcd's first line, from both", SOON, || {
        let of_rtcd = |line: &str| line.contains("[journal@32473 unit=\"rtcd.service\"") && line.contains("] ready");
        servers.syslog().contains("provisioned")
            && messages(&servers.syslog()).iter().any(|line| of_rtcd(line))
            && servers.uploaded().contains("\nMESSAGE=ready\n")
    });
    for unit in UNITS {
        machine.sh(&format!(
            "systemd-analyze security --no-pager --threshold=40 {unit} >/run/exposure || {{ cat /run/exposure; false; }}"
        ));
    }
    let pids = machine.sh("systemctl show -P MainPID rtcd-syslog systemd-journal-upload | sort -u");
    for pid in pids.split_whitespace() {
        assert_ne!(machine.sh(&format!("stat -c %u /proc/{pid}")).trim(), "0");
    }
    assert_eq!(machine.sh("stat -L -c '%U %a' /run/rtcd/syslog.json").trim(), "root 600");

    // What the status page has of the machine: rtcd may read its journal.
    let (api, admin) = (machine.api(), http::basic("admin", ADMIN_KEY));
    let log = |of: &str| {
        let answer = http::request(api, "GET", &format!("/status/log?of={of}"), Some(&admin), None);
        answer.expect("an answer").text()
    };
    assert!(log("rtcd").contains(" ready "));
    assert!(log("provision").contains("provisioned"), "{}", log("provision"));
    assert!(log("kernel").contains(" kernel: "), "{}", log("kernel"));
    let status = || http::request(api, "GET", "/status", Some(&admin), None).expect("an answer").json();

    servers.go_away();
    let mut script = String::new();
    for number in 0..20 {
        let _ = write!(script, "echo during-the-outage-{number}. | logger -t test; ");
    }
    machine.sh(&script);
    let notice =
        || status()["notices"].as_array().into_iter().flatten().find(|notice| notice["topic"] == "logs").cloned();
    wait_for("a notice", Duration::from_secs(400), || notice().is_some());
    let said = notice().unwrap_or_default()["text"].to_string();
    assert!(said.contains(&format!("no lines arrive at tls://{HOST}")), "{said}");
    wait_for("the lines of the outage by the other way", SOON, || servers.uploaded().contains("during-the-outage-19."));

    servers.go_on();
    wait_for("the lines of the outage", SOON, || servers.syslog().contains("during-the-outage-19."));
    let heard = servers.syslog();
    assert!((0..20).all(|number| heard.contains(&format!("during-the-outage-{number}."))), "{heard}");
    wait_for("the end of the notice", SOON, || notice().is_none());
}

/// By their lengths, up to where a connection broke.
fn messages(mut text: &str) -> Vec<&str> {
    let mut all = Vec::new();
    while let Some((length, rest)) = text.split_once(' ') {
        let Some(message) = length.parse().ok().and_then(|length: usize| rest.get(..length)) else { break };
        all.push(message);
        text = &rest[message.len()..];
    }
    all
}
