//! The journal to a log server: the real agent, a journal that a test writes, and a server that comes and goes.
use crate::machine::agent;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject as _};
use serde_json::{Value, json};
use std::fs::{self, OpenOptions, Permissions};
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// journalctl, as far as the agent uses it: one entry a line, cursors are line numbers. It refuses what it does not know.
const JOURNALCTL: &str = r#"#!/bin/sh
from=1
for argument; do
    case $argument in
        --after-cursor=*) from=$((${argument#*=} + 1)) ;;
        --follow|--no-tail|--all|--quiet|--no-pager|--output=json|--boot) ;;
        *) echo "what is $argument?" >&2; exit 1 ;;
    esac
done
exec tail --lines="+$from" --follow "$JOURNAL"
"#;

/// A machine whose journal is sent; its sender ends with it.
struct Sender {
    directory: TempDir,
    child: Option<Child>,
}

impl Sender {
    fn new(wish: &Value) -> Self {
        let directory = TempDir::new().expect("a directory");
        let path = |name| directory.path().join(name);
        for name in ["bin", "credentials", "state"] {
            fs::create_dir(path(name)).expect("made");
        }
        fs::write(path("bin/journalctl"), JOURNALCTL).expect("written");
        fs::set_permissions(path("bin/journalctl"), Permissions::from_mode(0o755)).expect("executable");
        fs::write(path("journal"), "").expect("written");
        fs::write(path("credentials/syslog.json"), wish.to_string()).expect("written");
        let mut sender = Self { directory, child: None };
        sender.start();
        sender
    }

    fn start(&mut self) {
        let path = |name| self.directory.path().join(name);
        let mut command = agent();
        command
            .arg("syslog")
            .env("PATH", format!("{}:/usr/bin:/bin", path("bin").display()))
            .env("JOURNAL", path("journal"))
            .env("CREDENTIALS_DIRECTORY", path("credentials"))
            .env("STATE_DIRECTORY", path("state"))
            .stderr(Stdio::from(OpenOptions::new().create(true).append(true).open(path("log")).expect("a log")));
        self.child = Some(command.spawn().expect("the agent starts"));
    }

    /// As systemd does it.
    fn stop(&mut self) {
        let mut child = self.child.take().expect("it runs");
        let pid = nix::unistd::Pid::from_raw(child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("told");
        assert!(child.wait().expect("it ends").success(), "{}", self.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn write(&self, messages: impl IntoIterator<Item = String>) {
        let path = self.directory.path().join("journal");
        let before = fs::read_to_string(&path).expect("there").lines().count();
        let entry = |(index, message): (usize, String)| {
            let cursor = (before + index + 1).to_string();
            format!(
                "{}\n",
                json!({"__CURSOR": cursor, "MESSAGE": message, "SYSLOG_IDENTIFIER": "rtcd", "RTCD_CALL_ID": "c"})
            )
        };
        let text: String = messages.into_iter().enumerate().map(entry).collect();
        OpenOptions::new()
            .append(true)
            .open(path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .expect("written");
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A log server that can be killed: everything that it has read.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    heard: Vec<u8>,
    connections: Vec<TcpStream>,
    port: u16,
}

impl Server {
    fn start(&self, tls: Option<Arc<ServerConfig>>) -> Listening {
        let listener = TcpListener::bind(("127.0.0.1", self.port())).expect("the port is free");
        let port = listener.local_addr().expect("an address").port();
        self.0.lock().expect("not poisoned").port = port;
        let server = self.clone();
        let thread = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut state = server.0.lock().expect("not poisoned");
                if state.port == 0 {
                    break;
                }
                state.connections.push(stream.try_clone().expect("a handle"));
                let (server, tls) = (server.clone(), tls.clone());
                thread::spawn(move || {
                    let handle = stream.try_clone().expect("a handle");
                    match tls {
                        None => server.read(stream),
                        Some(tls) => {
                            let connection = ServerConnection::new(tls).expect("a connection");
                            server.read(StreamOwned::new(connection, stream));
                        }
                    }
                    // Others hold handles, too.
                    let _ = handle.shutdown(std::net::Shutdown::Both);
                });
            }
        });
        Listening { server: self.clone(), port, thread: Some(thread) }
    }

    fn port(&self) -> u16 {
        self.0.lock().expect("not poisoned").port
    }

    fn read(&self, mut stream: impl Read) {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            self.0.lock().expect("not poisoned").heard.extend(&buffer[..read]);
        }
    }

    fn heard(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("not poisoned").heard).into_owned()
    }
}

/// The time in which the server is there.
struct Listening {
    server: Server,
    port: u16,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        let connections = {
            let mut state = self.server.0.lock().expect("not poisoned");
            state.port = 0;
            std::mem::take(&mut state.connections)
        };
        connections.iter().for_each(|stream| drop(stream.shutdown(std::net::Shutdown::Both)));
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.thread.take().map(thread::JoinHandle::join);
        self.server.0.lock().expect("not poisoned").port = self.port;
    }
}

#[track_caller]
fn wait_for(what: &str, sender: &Sender, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: {}", sender.log());
        thread::sleep(Duration::from_millis(20));
    }
}

fn wish(port: u16) -> Value {
    json!({"host": "127.0.0.1", "port": port, "tls": false, "ca": null, "client": null, "framing": "octet-counting"})
}

fn lines(from: usize, to: usize) -> impl Iterator<Item = String> {
    (from..to).map(|number| format!("line {number}."))
}

/// Splits by the lengths, as a server does.
fn messages(mut text: &str) -> Vec<String> {
    let mut all = Vec::new();
    while let Some((length, rest)) = text.split_once(' ') {
        let length: usize = length.parse().unwrap_or_else(|_| panic!("no length: {text:?}"));
        let Some(message) = rest.get(..length) else { break };
        all.push(message.to_owned());
        text = &rest[length..];
    }
    all
}

#[test]
fn nothing_is_lost_while_a_server_is_away_or_killed() {
    let server = Server::default();
    let listening = server.start(None);
    let sender = Sender::new(&wish(server.port()));
    sender.write(lines(0, 3));
    wait_for("the first lines", &sender, || server.heard().contains("line 2."));
    assert_eq!(
        messages(&server.heard())[0],
        "<30>1 - - rtcd - - [journal@32473 call_id=\"c\"] line 0.",
        "{}",
        server.heard()
    );
    // Lines that are on their way while it is killed count as much as those of the time after.
    sender.write(lines(3, 2000));
    drop(listening);
    sender.write(lines(2000, 2500));
    wait_for("a word about it", &sender, || sender.log().contains("no logs arrive at"));
    let before = server.heard().len();
    let _listening = server.start(None);
    wait_for("the lines of the outage", &sender, || server.heard().contains("line 2499."));
    let heard = server.heard();
    let missing: Vec<_> = lines(0, 2500).filter(|line| !heard.contains(line.as_str())).collect();
    assert!(missing.is_empty(), "{} lines, the first: {:?}", missing.len(), missing.first());
    // What the server has heard since is whole messages.
    assert!(messages(&heard[before..]).len() >= 500);
    assert_eq!(sender.log().matches("no logs arrive at").count(), sender.log().matches("is connected").count() - 1);
}

#[test]
fn a_stop_goes_on_where_it_was() {
    let server = Server::default();
    let _listening = server.start(None);
    let mut sender = Sender::new(&wish(server.port()));
    sender.write(lines(0, 10));
    wait_for("the lines", &sender, || server.heard().contains("line 9."));
    sender.stop();
    sender.write(lines(10, 12));
    sender.start();
    wait_for("the lines of the time between", &sender, || server.heard().contains("line 11."));
    let said: Vec<_> =
        messages(&server.heard()).iter().filter_map(|line| Some(line.split_once("] ")?.1.to_owned())).collect();
    assert_eq!(said, lines(0, 12).collect::<Vec<_>>(), "once each, in order");
}

/// A server for this name; it wants a certificate of its own authority.
struct Authority {
    pem: String,
    server: Arc<ServerConfig>,
    client: Value,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
        let leaf = |name: &str| {
            let key = KeyPair::generate().expect("a key");
            let params = CertificateParams::new([name.to_owned()]).expect("a name");
            (params.signed_by(&key, &authority).expect("signed"), key)
        };
        let (certificate, key) = leaf("machine.example");
        let client = json!({"certificate": certificate.pem(), "key": key.serialize_pem()});
        let (certificate, key) = leaf(name);
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("a key");
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(clients.expect("a verifier"))
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a pair");
        Self { pem: authority.pem(), server: Arc::new(server), client }
    }

    fn wish(&self, port: u16) -> Value {
        let mut wish = wish(port);
        (wish["tls"], wish["ca"], wish["client"]) = (true.into(), self.pem.clone().into(), self.client.clone());
        wish
    }
}

#[test]
fn over_tls_each_side_knows_the_other_and_messages_are_counted() {
    let (server, authority) = (Server::default(), Authority::new("127.0.0.1"));
    let listening = server.start(Some(authority.server.clone()));
    let sender = Sender::new(&authority.wish(server.port()));
    sender.write(lines(0, 100));
    wait_for("the lines", &sender, || server.heard().contains("line 99."));
    drop(listening);
    sender.write(lines(100, 110));
    let _listening = server.start(Some(authority.server.clone()));
    wait_for("the lines of the outage", &sender, || server.heard().contains("line 109."));
    assert!(messages(&server.heard()).len() >= 110);
}

#[test]
fn a_server_of_another_name_or_authority_hears_nothing() {
    for (mine, other) in [(Authority::new("127.0.0.1"), Authority::new("127.0.0.1")), {
        let other = Authority::new("logs.example.com");
        (Authority { pem: other.pem.clone(), server: other.server.clone(), client: other.client.clone() }, other)
    }] {
        let server = Server::default();
        let _listening = server.start(Some(other.server.clone()));
        let sender = Sender::new(&mine.wish(server.port()));
        sender.write(lines(0, 3));
        wait_for("the reason", &sender, || sender.log().contains("the TLS handshake failed: invalid peer certificate"));
        assert_eq!(server.heard(), "");
        assert!(!sender.log().contains("PRIVATE KEY"));
    }
}
