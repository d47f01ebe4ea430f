//! A Mattermost node as participants see it: one WebSocket to the daemon, shared by all of them.
use crate::plugin::{Connection, Join, Plugin, Received};
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};

type Sessions = Arc<Mutex<HashMap<String, mpsc::UnboundedSender<Received>>>>;

enum Do {
    Join(Join),
    Leave(String),
    Rtc(Join, i64, Option<Value>),
    Reconnect(String),
    Sync(oneshot::Sender<()>),
    Die,
}

/// A node: cheap to clone.
#[derive(Clone)]
pub struct Mattermost {
    todo: mpsc::UnboundedSender<Do>,
    sessions: Sessions,
}

impl Mattermost {
    /// Connects, registering if needed.
    pub async fn connect(plugin: &Plugin) -> Result<Self> {
        let connection = plugin.connect().await?;
        let (todo, work) = mpsc::unbounded_channel();
        let sessions = Sessions::default();
        tokio::spawn(pump(connection, work, sessions.clone()));
        Ok(Self { todo, sessions })
    }
    /// What the daemon says of this session from now on.
    pub fn listen(&self, session_id: &str) -> mpsc::UnboundedReceiver<Received> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).insert(session_id.into(), sender);
        receiver
    }
    /// `join`.
    pub fn join(&self, join: &Join) {
        self.tell(Do::Join(join.clone()));
    }
    /// `leave`.
    pub fn leave(&self, session_id: &str) {
        self.tell(Do::Leave(session_id.into()));
    }
    /// `reconnect`.
    pub fn reconnect(&self, session_id: &str) {
        self.tell(Do::Reconnect(session_id.into()));
    }
    /// `rtc`.
    pub fn rtc(&self, join: &Join, kind: i64, data: Option<Value>) {
        self.tell(Do::Rtc(join.clone(), kind, data));
    }
    /// Waits until all that was said before has been written to the daemon.
    pub async fn flush(&self) -> Result<()> {
        let (done, waiting) = oneshot::channel();
        self.tell(Do::Sync(done));
        waiting.await.context("the node has gone")
    }
    /// The node's connection is cut.
    pub fn die(&self) {
        self.tell(Do::Die);
    }
    fn tell(&self, what: Do) {
        // A node that has gone is a test's choice.
        let _ = self.todo.send(what);
    }
}

async fn pump(mut connection: Connection, mut work: mpsc::UnboundedReceiver<Do>, sessions: Sessions) {
    loop {
        tokio::select! {
            what = work.recv() => {
                let done = match what {
                    None | Some(Do::Die) => return,
                    Some(Do::Join(join)) => connection.join(&join).await,
                    Some(Do::Leave(session)) => connection.leave(&session).await,
                    Some(Do::Reconnect(session)) => connection.reconnect(&session).await,
                    Some(Do::Rtc(join, kind, data)) => connection.rtc(&join, kind, data.as_ref()).await,
                    Some(Do::Sync(done)) => {
                        let _ = done.send(());
                        Ok(())
                    }
                };
                if done.is_err() {
                    return;
                }
            }
            message = connection.receive() => {
                let message = match message {
                    Ok(message) => message,
                    // Nothing to say for a while.
                    Err(error) if format!("{error:#}").contains("no message came") => continue,
                    Err(_) => return,
                };
                let session = match &message {
                    Received::Rtc(rtc) | Received::Vad(rtc) => &rtc.session_id,
                    Received::Close { session_id } => session_id,
                };
                let sessions = sessions.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(listener) = sessions.get(session) {
                    let _ = listener.send(message);
                }
            }
        }
    }
}
