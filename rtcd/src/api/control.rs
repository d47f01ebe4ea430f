//! The control socket: a Unix socket beside the store, for `rtcd client` on this machine. Whoever gets in is the admin here,
//! without a key.
use super::Api;
use super::guard::Peer;
use super::guarded_io::GuardedIo;
use super::server::requests;
use crate::local_socket::LocalSocket;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tracing::debug;

/// Its name in the directory of the store.
pub const SOCKET: &str = "control.sock";

/// Connections at the same time; the next one waits.
const MAX_CONNECTIONS: usize = 16;

/// A bound control socket; the file goes with it.
#[derive(Debug)]
pub struct Control(LocalSocket);

impl Control {
    /// Binds the socket in the directory of the store.
    pub fn bind(directory: &Path) -> io::Result<Self> {
        LocalSocket::bind(directory, SOCKET).map(Self)
    }

    /// Serves for ever.
    pub async fn serve(self, api: Api) {
        let router = api.control_router();
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(place) = room.clone().acquire_owned().await else { return };
            let stream = self.0.accept().await;
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
