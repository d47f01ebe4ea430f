//! Where the next process knocks: a Unix socket beside the store. It says in a line who gets the calls: systemd, which keeps
//! them until the unit has been started again, or the process that knocks.
use super::Parcel;
use crate::local_socket::LocalSocket;
use crate::plane::socket::{receive_descriptors, send_descriptors};
use crate::systemd;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _};
use tokio::sync::mpsc;

/// Its name in the directory of the store.
pub const SOCKET: &str = "handover.sock";

const TO_SYSTEMD: &str = "systemd\n";
const TO_PROCESS: &str = "takeover\n";
const DONE: &str = "done\n";

/// Longest line of either side.
const MAX_LINE: u64 = 1024;
/// How long whoever knocks may take to say what it wants.
const KNOCK: Duration = Duration::from_secs(5);
/// How long the other side may take for everything.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who gets the calls.
#[derive(Debug)]
pub struct Heir {
    stream: UnixStream,
    is_process: bool,
}

/// Listens for heirs.
pub fn open(directory: &Path) -> io::Result<mpsc::Receiver<Heir>> {
    let socket = LocalSocket::bind(directory, SOCKET)?;
    let (heirs, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let knock = hear(socket.accept().await);
            let Ok(Ok(Some(mut heir))) = tokio::time::timeout(KNOCK, knock).await else { continue };
            if !heir.is_process && !systemd::is_there() {
                heir.refuse("systemd has not started this daemon, and cannot keep its calls");
            } else if heirs.send(heir).await.is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

async fn hear(mut stream: tokio::net::UnixStream) -> io::Result<Option<Heir>> {
    let mut line = String::new();
    tokio::io::BufReader::new((&mut stream).take(MAX_LINE)).read_line(&mut line).await?;
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(match line.as_str() {
        TO_SYSTEMD => Some(Heir { stream, is_process: false }),
        TO_PROCESS => Some(Heir { stream, is_process: true }),
        _ => None,
    })
}

impl Heir {
    /// For the log.
    pub fn name(&self) -> &'static str {
        if self.is_process { "a process that takes over" } else { "systemd, until it has started the daemon again" }
    }

    fn refuse(&mut self, why: &str) {
        // Whoever asked may have gone.
        let _ = writeln!(self.stream, "{why}");
    }

    /// Gives everything to it. Blocks. What comes back is to be kept until the end of the process: the heir waits for it.
    pub fn give(mut self, parcel: Parcel) -> io::Result<UnixStream> {
        if self.is_process {
            let mut all = vec![parcel.memory];
            all.extend(parcel.descriptors);
            send_descriptors(&self.stream, &all)?;
            return Ok(self.stream);
        }
        let kept = systemd::keep_calls(&parcel);
        let answer = match &kept {
            Ok(()) => DONE.to_owned(),
            Err(error) => format!("{error}\n"),
        };
        // Whoever asked may have gone: the calls are where they are to be.
        let _ = self.stream.write_all(answer.as_bytes());
        kept.map(|()| self.stream)
    }
}

fn knock(directory: &Path, what: &str) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(directory.join(SOCKET))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(what.as_bytes())?;
    Ok(stream)
}

/// Takes over from the process that has this store, if there is one; then the way to [wait](wait_for_end) for its end, too.
pub fn take_over(directory: &Path) -> io::Result<Option<(Parcel, UnixStream)>> {
    let stream = match knock(directory, TO_PROCESS) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut descriptors = receive_descriptors(&stream)?.into_iter();
    let memory = descriptors.next().ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(Some((Parcel { memory, descriptors: descriptors.collect() }, stream)))
}

/// Returns when the process on the other side has ended, and with it its lock on the store.
pub fn wait_for_end(mut stream: UnixStream) {
    // Nothing comes any more; an error is an end, too.
    let _ = stream.read_to_end(&mut Vec::new());
}

/// Has the process that has this store leave its calls with systemd, and waits until it has.
pub fn leave_to_systemd(directory: &Path) -> io::Result<()> {
    let stream = knock(directory, TO_SYSTEMD)?;
    let mut answer = String::new();
    BufReader::new(stream.take(MAX_LINE)).read_line(&mut answer)?;
    match answer.as_str() {
        DONE => Ok(()),
        "" => Err(io::ErrorKind::UnexpectedEof.into()),
        error => Err(io::Error::other(error.trim_end().to_owned())),
    }
}
