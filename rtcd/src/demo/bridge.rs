//! Between the browsers' JSON and the daemon's msgpack: the Mattermost server of the demo.
use super::table::Table;
use super::upstream::{Socket, Upstream};
use crate::api::conn_id;
use crate::ids::SessionId;
use crate::signal::message::ClientMessage;
use futures_util::SinkExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tracing::{debug, warn};

/// Messages that may wait for the bridge; browsers wait when it is full.
const INPUT_QUEUE: usize = 256;

/// Messages that may wait for one browser; a slower one is dropped.
pub const BROWSER_QUEUE: usize = 256;

/// Participants of a demo.
pub const MAX_BROWSERS: usize = 200;

/// The daemon pings every 10 s: after three it has gone.
pub const SILENCE: Duration = Duration::from_secs(30);

/// How long one write may take.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// Between two attempts to reach the daemon again.
const RETRY: Duration = Duration::from_secs(1);

/// What a browser says first.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinRequest {
    pub name: String,
    pub call: String,
    #[serde(default)]
    pub dc_signaling: bool,
    #[serde(default)]
    pub av1_support: bool,
    /// The seat that it had before, when it comes again.
    pub seat: Option<usize>,
}

/// Everything that can wake the bridge, besides the daemon.
pub enum Input {
    Joined { session: SessionId, request: JoinRequest, out: mpsc::Sender<String> },
    Said { session: SessionId, kind: String, data: Value },
    Gone { session: SessionId },
    Stop,
}

/// A cheap handle on the bridge.
#[derive(Clone)]
pub struct Bridge {
    input: mpsc::Sender<Input>,
    /// Whether the daemon is reached.
    connected: Arc<AtomicBool>,
}

impl Bridge {
    /// A browser joins; messages to it go to `out`, which is dropped when the call is over for it.
    pub async fn join(&self, request: JoinRequest, out: mpsc::Sender<String>) -> SessionId {
        let session = SessionId::from(conn_id::random().as_str());
        if !self.connected.load(Ordering::Relaxed) {
            // It waits with all others; it should know what for.
            let _ = out.try_send(daemon_is(false).to_string());
        }
        let _ = self.input.send(Input::Joined { session: session.clone(), request, out }).await;
        session
    }
    /// A browser says something.
    pub async fn say(&self, session: SessionId, kind: String, data: Value) {
        let _ = self.input.send(Input::Said { session, kind, data }).await;
    }
    /// A browser has gone.
    pub async fn gone(&self, session: SessionId) {
        let _ = self.input.send(Input::Gone { session }).await;
    }
    /// Says to all browsers that the demo ends, and then lets go of them.
    pub async fn stop(&self) {
        let _ = self.input.send(Input::Stop).await;
    }
}

/// Starts the bridge over an open connection; it connects again whenever that is lost.
pub fn start(upstream: Upstream, first: Socket) -> (Bridge, JoinHandle<()>) {
    let (input, inputs) = mpsc::channel(INPUT_QUEUE);
    let connected = Arc::new(AtomicBool::new(true));
    (Bridge { input, connected: connected.clone() }, tokio::spawn(run(upstream, first, inputs, connected)))
}

async fn run(upstream: Upstream, mut socket: Socket, mut inputs: mpsc::Receiver<Input>, connected: Arc<AtomicBool>) {
    let mut table = Table::new(upstream);
    loop {
        let Err(error) = table.pump(&mut socket, &mut inputs).await else { return };
        warn!(%error, "the connection to the daemon is lost");
        connected.store(false, Ordering::Relaxed);
        table.tell_all(&daemon_is(false));
        socket = loop {
            match table.upstream.connect().await {
                Ok(socket) => break socket,
                Err(error) => debug!(error = %format_args!("{error:#}"), "the daemon cannot be reached"),
            }
            tokio::time::sleep(RETRY).await;
        };
        connected.store(true, Ordering::Relaxed);
        table.tell_all(&daemon_is(true));
        for session in table.sessions() {
            // A failure shows at the next write.
            let _ = send(&mut socket, &ClientMessage::Reconnect { session: session.clone() }).await;
        }
    }
}

/// Whether the bridge reaches the daemon.
fn daemon_is(reached: bool) -> Value {
    json!({"type": "daemon", "data": {"reached": reached}})
}

/// Sends the daemon a message.
pub async fn send(socket: &mut Socket, message: &ClientMessage) -> anyhow::Result<()> {
    let frame = Message::Binary(message.encode().into());
    Ok(timeout(WRITE_PATIENCE, socket.send(frame)).await??)
}
