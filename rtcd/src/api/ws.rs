//! `/ws`: one WebSocket for each Mattermost node, between its connection and the signalling actor.
use super::error::{refuse_auth_text, stopping};
use super::guard::Peer;
use super::seats::Seat;
use super::{Api, Deadlines, conn_id};
use crate::ids::{ClientId, ConnId};
use crate::metrics::{Direction, Metrics};
use crate::signal::message::{ClientMessage, MessageError, ServerMessage};
use crate::signal::{SignalHandle, Stopped};
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use rtcd_media::token_bucket::TokenBucket;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::tungstenite;
use tracing::{Instrument as _, error_span, info};

/// Longest message. An offer of a large call has some 100 KiB.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// Read buffer of a connection: most messages have a few KiB.
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// Bytes a second that are read from one connection, and at once: a thousand participants who join in one second send 3 MB.
/// A faster client waits, and with it nobody else.
const BYTES_PER_SECOND: f64 = 8.0 * 1024.0 * 1024.0;
const BYTES_AT_ONCE: f64 = 16.0 * 1024.0 * 1024.0;

/// How long a goodbye may take.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// `GET /ws`.
pub async fn upgrade(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let client = match api.identify_client(&headers, &peer).await {
        Ok(client) => client,
        Err(error) => return refuse_auth_text(&error),
    };
    if is_foreign(&headers) {
        return (StatusCode::FORBIDDEN, "request origin not allowed\n").into_response();
    }
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let Ok(permit) = api.inner.websockets.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many connections\n").into_response();
    };
    if *api.inner.closing.borrow() {
        return stopping(Stopped);
    }
    let conn = conn_id::random();
    // At every level: whatever is said of it carries its ids.
    let span = error_span!("websocket", group_id = %client, conn_id = %conn);
    let seat = api.inner.seats.take(&client);
    upgrade
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES)
        .read_buffer_size(READ_BUFFER_BYTES)
        .on_upgrade(move |socket| run(api, client, conn, socket, (seat, permit)).instrument(span))
}

/// Servers send no `Origin`. A browser does, and a page from elsewhere must not use credentials that it has cached.
pub(crate) fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
    let host = text(header::HOST);
    headers.contains_key(header::ORIGIN)
        && text(header::ORIGIN).split_once("://").is_none_or(|(_, origin)| !origin.eq_ignore_ascii_case(host))
}

/// Why a connection ended.
#[derive(Debug, Error)]
enum End {
    #[error("the peer closed it")]
    Closed,
    #[error("the peer has been silent for too long")]
    Silent,
    #[error("a message is longer than {MAX_MESSAGE_BYTES} bytes")]
    TooLong,
    #[error(transparent)]
    Broken(axum::Error),
    /// All places were taken, and its client had most of them.
    #[error("a client with fewer websockets needed the place")]
    MadeRoom,
    /// The signalling actor gave the connection up: its queue was full, or the process is stopping.
    #[error("given up by us")]
    GivenUp,
}

impl From<axum::Error> for End {
    fn from(error: axum::Error) -> Self {
        use std::error::Error as _;
        match error.source().and_then(|error| error.downcast_ref()) {
            Some(tungstenite::Error::Capacity(_)) => Self::TooLong,
            Some(tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed) => Self::Closed,
            _ => Self::Broken(error),
        }
    }
}

impl From<Stopped> for End {
    fn from(Stopped: Stopped) -> Self {
        Self::GivenUp
    }
}

async fn run(
    api: Api,
    client: ClientId,
    conn: ConnId,
    socket: WebSocket,
    (seat, permit): (Seat, OwnedSemaphorePermit),
) {
    let signal = &api.inner.signal;
    let Ok(outgoing) = signal.connect(client.clone(), conn.clone()).await else { return };
    // It may have been unregistered on the way here: those who were connected by then have heard of it.
    if !api.inner.auth.is_registered(&client).await {
        let _ = signal.client_gone(client.clone()).await;
    }
    let metrics = &api.inner.metrics;
    metrics.ws_connected(&client);
    info!("websocket opened");
    let end =
        Pump { client: &client, conn: &conn, seat: &seat, signal, metrics, deadlines: api.inner.config.deadlines }
            .run(socket, outgoing, api.inner.closing.subscribe())
            .await;
    info!(reason = %end, "websocket closed");
    let _ = signal.disconnect(client, conn).await;
    drop((seat, permit));
}

/// Bytes that a connection may still send; a frame has been read before its length is known, so that it is charged.
fn pace(now: Instant) -> TokenBucket {
    TokenBucket::new(BYTES_PER_SECOND, BYTES_AT_ONCE, now.into_std())
}

/// Bytes of a frame's payload.
fn len(frame: &Message) -> usize {
    match frame {
        Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => bytes.len(),
        Message::Text(text) => text.len(),
        Message::Close(_) => 0,
    }
}

/// Both directions of one connection; neither waits for the other.
struct Pump<'a> {
    client: &'a ClientId,
    conn: &'a ConnId,
    seat: &'a Seat,
    signal: &'a SignalHandle,
    metrics: &'a Metrics,
    deadlines: Deadlines,
}

impl Pump<'_> {
    async fn run(
        &self,
        socket: WebSocket,
        mut outgoing: mpsc::Receiver<ServerMessage>,
        closing: watch::Receiver<bool>,
    ) -> End {
        let (mut sink, stream) = socket.split();
        let end = tokio::select! {
            end = self.read(stream) => end,
            end = self.write(&mut sink, &mut outgoing, closing) => end,
            () = self.seat.given_away() => End::MadeRoom,
        };
        let code = match end {
            End::TooLong => close_code::SIZE,
            End::GivenUp => close_code::AWAY,
            End::MadeRoom => close_code::AGAIN,
            _ => return end,
        };
        let goodbye = Message::Close(Some(CloseFrame { code, reason: "".into() }));
        let _ = timeout(CLOSE_PATIENCE, sink.send(goodbye)).await;
        end
    }

    async fn read(&self, mut stream: SplitStream<WebSocket>) -> End {
        let mut pace = pace(Instant::now());
        loop {
            let frame = match timeout(self.deadlines.silence, stream.next()).await {
                Err(_) => return End::Silent,
                Ok(None) => return End::Closed,
                Ok(Some(Err(error))) => return error.into(),
                Ok(Some(Ok(frame))) => frame,
            };
            let now = Instant::now().into_std();
            pace.charge(now, len(&frame) as f64);
            let wait = pace.time_until(now, 0.0);
            if !wait.is_zero() {
                sleep(wait).await;
            }
            let message = match frame {
                Message::Binary(bytes) => ClientMessage::decode(&bytes),
                Message::Text(_) => Err(MessageError::TextFrame),
                Message::Close(_) => return End::Closed,
                _ => continue,
            };
            let name = message.as_ref().map_or("invalid", ClientMessage::name);
            self.metrics.ws_message(self.client, name, Direction::In);
            if let Err(stopped) = self.signal.message(self.conn.clone(), message).await {
                return stopped.into();
            }
        }
    }

    async fn write(
        &self,
        sink: &mut SplitSink<WebSocket, Message>,
        outgoing: &mut mpsc::Receiver<ServerMessage>,
        mut closing: watch::Receiver<bool>,
    ) -> End {
        let mut pings = interval(self.deadlines.ping);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings.reset();
        loop {
            let message = tokio::select! {
                biased;
                _ = pings.tick() => Some(None),
                message = outgoing.recv() => message.map(Some),
                _ = closing.wait_for(|closing| *closing) => None,
            };
            let sent = match message {
                None => return End::GivenUp,
                Some(None) => sink.send(Message::Ping(Default::default())).await,
                Some(Some(message)) => {
                    self.metrics.ws_message(self.client, message.name(), Direction::Out);
                    sink.send(Message::Binary(message.encode().into())).await
                }
            };
            if let Err(error) = sent {
                return error.into();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_floods_waits_and_one_that_does_not_never_does() {
        let mut now = Instant::now();
        let mut pace = pace(now);
        let mut wait = |now: Instant, bytes: usize| {
            pace.charge(now.into_std(), bytes as f64);
            pace.time_until(now.into_std(), 0.0)
        };
        let free = (0..100).take_while(|_| wait(now, MAX_MESSAGE_BYTES).is_zero()).count();
        assert_eq!(free, 16);
        assert_eq!(wait(now, MAX_MESSAGE_BYTES), Duration::from_millis(250), "it owes two");
        now += Duration::from_secs(10);
        for _ in 0..3000 {
            now += Duration::from_millis(1);
            assert!(wait(now, 3 * 1024).is_zero(), "a thousand joins a second");
        }
    }
}
