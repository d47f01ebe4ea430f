//! rtcd, asked over its control socket: that needs neither a port nor a certificate nor a key, and works even when
//! the API listens nowhere that this machine reaches.
use super::bounded::wait;
use rustix::event::PollFlags;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Its name in the directory of the store.
const SOCKET: &str = "control.sock";
/// rtcd's own directory in a store that Mattermost's rtcd had before.
const BESIDE: &str = "rtcd";
/// Bytes of an answer. A call of a thousand describes itself in a few megabytes, which are counted and not kept.
const LIMIT: u64 = 64 << 20;
/// Lines of headers and their bytes.
const HEADERS: u64 = 16 << 10;

/// How rtcd is: of `GET /status` what the panel shows.
#[derive(Clone, Default, PartialEq, Debug, Deserialize)]
pub struct Daemon {
    /// `serving` or `draining`.
    pub state: String,
    /// What waits for the admin.
    #[serde(default)]
    pub notices: Vec<Notice>,
    /// What participants are told.
    #[serde(default)]
    pub advertised: Vec<Told>,
    /// Mattermost installations.
    #[serde(default)]
    pub clients: Vec<Client>,
    /// Calls with their sessions.
    #[serde(default)]
    pub calls: Vec<Call>,
}

/// Something that is odd now.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Notice {
    /// What it is about.
    pub topic: String,
    /// What it is, and what to do.
    pub text: String,
}

/// An address that participants are told.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Told {
    /// `udp`, `tcp` or `relay`.
    pub protocol: String,
    /// Address and port.
    pub address: String,
}

/// A client of the API.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Client {
    /// WebSockets that it has open.
    pub connections: usize,
}

/// One call. Its sessions are counted: they take no room.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Call {
    /// Who is in it.
    pub sessions: Vec<IgnoredAny>,
}

/// What `POST /check-links` answers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// Below the API or a proxy of it.
    pub path: String,
    /// Where it opens, the likeliest first.
    pub urls: Vec<String>,
    /// How long it is good.
    pub valid_seconds: u64,
    /// Tests that it is good for.
    pub uses: u64,
}

impl Daemon {
    /// Calls that run.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }
    /// Participants of all calls.
    pub fn sessions(&self) -> usize {
        self.calls.iter().map(|call| call.sessions.len()).sum()
    }
}

/// How it is.
pub fn status(store: &Path, patience: Duration) -> io::Result<Daemon> {
    ask(store, "GET", "/status", "", patience)
}

/// A fresh link to the check page.
pub fn link(store: &Path, patience: Duration) -> io::Result<Link> {
    ask(store, "POST", "/check-links", "{}", patience)
}

fn ask<T: DeserializeOwned>(store: &Path, method: &str, path: &str, body: &str, patience: Duration) -> io::Result<T> {
    let deadline = Instant::now() + patience;
    let mut stream = connect(&[store.join(SOCKET), store.join(BESIDE).join(SOCKET)])?;
    // HTTP/1.0: the answer ends with the connection and comes in one piece.
    let head = format!("{method} {path} HTTP/1.0\r\nHost: rtcd\r\nAccept: application/json\r\n");
    let head = format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(head.as_bytes())?;
    let mut answer = BufReader::new(Until { stream, deadline });
    let status = headers(&mut answer)?;
    if !(200..300).contains(&status) {
        return Err(io::Error::other(format!("rtcd answers {path} with status {status}")));
    }
    serde_json::from_reader(answer.take(LIMIT)).map_err(io::Error::from)
}

/// The first that answers; the error is of the first.
fn connect(places: &[PathBuf]) -> io::Result<UnixStream> {
    let mut first = None;
    for place in places {
        match connect_at_once(place) {
            Ok(stream) => return Ok(stream),
            Err(error) => first = first.or(Some(io::Error::new(error.kind(), format!("{}: {error}", place.display())))),
        }
    }
    Err(first.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
}

/// A daemon that hangs has a full queue, where a connection would wait for ever.
fn connect_at_once(place: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(place)?) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::TimedOut.into()),
        Err(error) => Err(error),
        Ok(()) => Ok(std::os::fd::OwnedFd::from(socket).into()),
    }
}

/// Reads to the empty line; the status.
fn headers(answer: &mut impl io::BufRead) -> io::Result<u16> {
    let mut head = answer.by_ref().take(HEADERS);
    let mut line = String::new();
    head.read_line(&mut line)?;
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "rtcd's answer is no HTTP");
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(malformed)?;
    loop {
        line.clear();
        match head.read_line(&mut line)? {
            0 => return Err(malformed()),
            _ if line.trim().is_empty() => return Ok(status),
            _ => {}
        }
    }
}

/// A whole answer has one deadline, however it drips.
struct Until {
    stream: UnixStream,
    deadline: Instant,
}

impl Read for Until {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            if !wait(&self.stream, PollFlags::IN, self.deadline)? {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "rtcd gave no answer in time"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// One connection gets this answer.
    fn served(answer: &'static [u8], keep_open: bool) -> tempfile::TempDir {
        let store = tempfile::TempDir::new().expect("a directory");
        let listener = UnixListener::bind(store.path().join(SOCKET)).expect("bound");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody asks");
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer);
            if keep_open {
                let _ = stream.read(&mut [0; 1]);
            }
        });
        store
    }

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn calls_and_their_sessions_are_counted_and_nothing_else_of_them_is_kept() {
        let answer =
            b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{\"state\": \"serving\", \"other\": {}, \
            \"advertised\": [{\"protocol\": \"udp\", \"address\": \"192.0.2.1:8443\", \"origin\": \"eth0\"}], \
            \"calls\": [{\"call_id\": \"a\", \"sessions\": [{\"x\": [1]}, {}]}, {\"sessions\": [{}]}]}";
        let daemon = status(served(answer, false).path(), PATIENCE).expect("an answer");
        assert_eq!((daemon.calls(), daemon.sessions()), (2, 3));
        assert_eq!(daemon.advertised[0].address, "192.0.2.1:8443");
    }

    #[test]
    fn what_is_no_answer_is_an_error_in_time() {
        assert!(status(Path::new("/nonexistent"), PATIENCE).is_err());
        for (answer, keep_open) in [
            (&b"HTTP/1.0 503 Busy\r\n\r\n{}"[..], false),
            (b"rubbish", false),
            (b"HTTP/1.0 200 OK\r\n\r\n{\"state\": ", false),
            (b"HTTP/1.0 200 OK\r\n\r\n{\"state\": ", true),
            (b"", true),
        ] {
            assert!(status(served(answer, keep_open).path(), Duration::from_millis(300)).is_err(), "{answer:?}");
        }
    }
}
