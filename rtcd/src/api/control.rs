//! The control socket: a Unix socket beside the store, for `rtcd client` on this machine. Whoever is root here, or the user
//! that the daemon runs as, could read the store and the configuration anyway, and is the admin here without a key. Nobody else
//! gets in: the file's mode keeps them out, and the kernel tells whose connection it is.
use super::Api;
use super::guard::Peer;
use super::guarded_io::GuardedIo;
use super::server::requests;
use nix::sys::stat::{Mode, umask};
use nix::unistd::Uid;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tracing::{debug, warn};

/// Its name in the directory of the store.
pub const SOCKET: &str = "control.sock";

/// Connections at the same time; the next one waits.
const MAX_CONNECTIONS: usize = 16;

/// Pause when no more connections can be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound control socket; the file goes with it.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Binds the socket in the directory of the store. Whoever holds the store holds this: a file that is there is of a
    /// process that has ended.
    pub fn bind(directory: &Path) -> io::Result<Self> {
        let path = directory.join(SOCKET);
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

    /// Serves for ever.
    pub async fn serve(self, api: Api) {
        let router = api.control_router();
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(place) = room.clone().acquire_owned().await else { return };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    debug!(%error, "a connection to the control socket could not be taken");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            match may_enter(&stream) {
                Ok(true) => {}
                refused => {
                    warn!(?refused, "somebody who is neither root nor our own user was refused at the control socket");
                    continue;
                }
            }
            let (api, router) = (api.clone(), router.clone());
            tokio::spawn(async move {
                let stream = GuardedIo::new(stream, api.inner.config.deadlines.write);
                if let Err(error) = requests(stream, Peer::local(), api, router).await {
                    debug!(%error, "connection to the control socket ended");
                }
                drop(place);
            });
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// By SO_PEERCRED (unix(7)).
fn may_enter(stream: &UnixStream) -> io::Result<bool> {
    let uid = Uid::from_raw(stream.peer_cred()?.uid());
    Ok(uid.is_root() || uid == Uid::effective())
}
