//! Unix sockets in the directory of the store. Whoever is root here, or the user that the daemon runs as, could read the store
//! and the configuration anyway. Nobody else gets in: the file's mode keeps them out, and the kernel tells whose connection it
//! is.
use nix::sys::stat::{Mode, umask};
use nix::unistd::Uid;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};
use tokio::net::{UnixListener, UnixStream};

/// Pause when no more connections can be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound socket; the file goes with it.
#[derive(Debug)]
pub struct LocalSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl LocalSocket {
    /// Binds it. Whoever holds the store holds this: a file that is there is of a process that has ended.
    pub fn bind(directory: &Path, name: &str) -> io::Result<Self> {
        let path = directory.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Not by a change of the mode afterwards: until then others could connect.
        let before = umask(Mode::from_bits_truncate(0o177));
        let listener = UnixListener::bind(&path);
        umask(before);
        Ok(Self { listener: listener?, path })
    }

    /// The next connection of somebody who may enter; others are refused.
    pub async fn accept(&self) -> UnixStream {
        loop {
            let socket = self.path.display();
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%socket, %error, "a connection could not be taken");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            match may_enter(&stream) {
                Ok(true) => return stream,
                refused => {
                    tracing::warn!(%socket, ?refused, "somebody who is neither root nor our own user was refused");
                }
            }
        }
    }
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// By SO_PEERCRED (unix(7)).
fn may_enter(stream: &UnixStream) -> io::Result<bool> {
    let uid = Uid::from_raw(stream.peer_cred()?.uid());
    Ok(uid.is_root() || uid == Uid::effective())
}
