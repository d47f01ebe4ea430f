//! A Mattermost node as the server sees it: one WebSocket, shared by all participants.
use crate::api::{Api, Socket};
use crate::player::{Mailbox, Order};
use crate::run::Shared;
use crate::signal::{self, Received, Who};
use anyhow::Result;
use futures_util::{SinkExt as _, StreamExt as _};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

/// What participants want to be said; more than these do not wait: a server that reads nothing ends the run.
pub const MAX_WAITING: usize = 1 << 16;

/// How long the goodbyes of a server may take.
const GOODBYE: Duration = Duration::from_secs(4);

/// What a participant wants to be said.
#[derive(Debug)]
pub enum Say {
    /// Its first word.
    Join {
        /// Who.
        who: Arc<Who>,
        /// The thread that plays it.
        player: usize,
        /// Its place there.
        slot: u32,
    },
    /// Its last one.
    Leave(Arc<Who>),
    /// Signalling.
    Rtc {
        /// Who.
        who: Arc<Who>,
        /// `type`.
        kind: i64,
        /// JSON.
        data: Option<String>,
    },
    /// All have gone.
    End,
}

/// Carries messages in both directions until all is said, or the connection ends.
pub async fn carry(
    api: Api,
    mut socket: Socket,
    mut said: mpsc::Receiver<Say>,
    players: Vec<Mailbox>,
    shared: Arc<Shared>,
) {
    let mut places: HashMap<String, (usize, u32)> = HashMap::new();
    let mut ending = None;
    loop {
        if ending.is_some() && places.is_empty() {
            let _ = socket.close(None).await;
            return;
        }
        let done = tokio::select! {
            () = tokio::time::sleep_until(ending.unwrap_or_else(Instant::now)), if ending.is_some() => {
                places.clear();
                Ok(())
            }
            say = said.recv(), if ending.is_none() => match say {
                // The server says goodbye to each session.
                None | Some(Say::End) => {
                    ending = Some(Instant::now() + GOODBYE);
                    Ok(())
                }
                Some(say) => {
                    if let Say::Join { who, player, slot } = &say {
                        places.insert(who.session_id.clone(), (*player, *slot));
                    }
                    let frame = match &say {
                        Say::Join { who, .. } => signal::join(who),
                        Say::Leave(who) => signal::leave(who),
                        Say::Rtc { who, kind, data } => signal::rtc(&api.client_id, who, *kind, data.as_deref()),
                        Say::End => continue,
                    };
                    socket.send(Message::Binary(frame.into())).await.map_err(Into::into)
                }
            },
            message = socket.next() => match message {
                Some(Ok(Message::Binary(bytes))) => heard(&bytes, &mut places, &players),
                Some(Ok(Message::Close(_))) | None => Err(anyhow::anyhow!("it was closed")),
                Some(Ok(_)) => Ok(()),
                Some(Err(error)) => Err(error.into()),
            },
        };
        if let Err(error) = done {
            shared.fail(format!("the WebSocket to {} broke: {error:#}; look at the server's log", api.url));
            return;
        }
    }
}

fn heard(bytes: &[u8], places: &mut HashMap<String, (usize, u32)>, players: &[Mailbox]) -> Result<()> {
    let message = signal::read(bytes)?;
    let (session, closed) = match &message {
        Received::Rtc { session_id, .. } => (session_id, false),
        Received::Close { session_id } => (session_id, true),
        Received::Hello | Received::Vad { .. } => return Ok(()),
    };
    // Sessions of an earlier run of ours may still have something to say.
    let Some((player, slot)) = places.get(session).copied() else { return Ok(()) };
    if closed {
        places.remove(session);
    }
    players[player].send(Order::Heard { slot, message })
}
