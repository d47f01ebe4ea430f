//! One run of the page: between its WebSocket and signalling, as Mattermost stands between a participant and us. Its sessions
//! are in a call that nobody else can be in.
use super::links::Standing;
use super::result::Said;
use super::{CheckPage, Ice, links};
use crate::api::conn_id;
use crate::build_info;
use crate::ids::{CallId, ConnId, SessionId, UserId};
use crate::net::relays::Credentials;
use crate::signal::message::{ClientMessage, Join, RtcMessage, RtcType, ServerMessage};
use axum::extract::ws::{Message, WebSocket};
use futures_util::stream::SplitSink;
use futures_util::{SinkExt as _, StreamExt as _};
use rtcd_media::demux::Protocol;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::PoisonError;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{Instrument as _, debug, info, info_span};

/// How long a run may take: ten seconds for each way, as long for the voice, and the question for the microphone.
const MAX_LIFE: Duration = Duration::from_secs(120);

/// Sessions at a time, and in all.
const MAX_SESSIONS: usize = 4;
const MAX_JOINS: usize = 12;

/// Messages of the page in all: a session has some dozens.
const MAX_MESSAGES: usize = 1000;

/// How long one write may take.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

type Sink = SplitSink<WebSocket, Message>;

/// What a page says. `id` is its own name for a session.
#[derive(Deserialize)]
struct PageMessage {
    r#type: String,
    #[serde(default)]
    id: u32,
    #[serde(default)]
    data: Value,
}

/// One use of the link, if there is one left and room for it.
pub async fn run(page: CheckPage, token: String, seen: Option<SocketAddr>, mut socket: WebSocket) {
    // Who has no link takes nobody's place.
    if let Some(why) = ended(page.standing(&token)) {
        return refuse(&mut socket, why).await;
    }
    let websockets = page.0.parts.websockets.clone();
    let places = page.0.runs.clone().try_acquire_owned().ok().zip(websockets.try_acquire_owned().ok());
    let Some(_places) = places.filter(|_| !*page.0.parts.closing.borrow()) else {
        return refuse(&mut socket, "busy").await;
    };
    let standing = page.links().run(std::time::Instant::now(), &token);
    drop(token);
    let Standing::Alive { number: link, uses_left } = standing else {
        // Somebody else had the last one.
        return refuse(&mut socket, ended(standing).unwrap_or("unknown")).await;
    };
    let conn = conn_id::random();
    let span = info_span!("check page", group_id = %page.0.group, conn_id = %conn);
    async {
        info!(link, uses_left = uses_left - 1, "check page: run");
        let run =
            Run { page: page.clone(), link, call: conn_id::random().as_str().into(), conn, sessions: HashMap::new() };
        run.drive(socket, seen).await;
    }
    .instrument(span)
    .await;
}

fn ended(standing: Standing) -> Option<&'static str> {
    match standing {
        Standing::Alive { .. } => None,
        Standing::Expired => Some("expired"),
        Standing::UsedUp => Some("used up"),
        Standing::Unknown => Some("unknown"),
    }
}

async fn refuse(socket: &mut WebSocket, why: &str) {
    let text = json!({"type": "refused", "data": why}).to_string();
    let _ = timeout(WRITE_PATIENCE, socket.send(Message::Text(text.into()))).await;
}

struct Run {
    page: CheckPage,
    link: u64,
    call: CallId,
    conn: ConnId,
    /// By the page's names for them.
    sessions: HashMap<u32, (SessionId, UserId)>,
}

impl Run {
    async fn drive(mut self, socket: WebSocket, seen: Option<SocketAddr>) {
        let (signal, group) = (self.page.0.parts.signal.clone(), self.page.0.group.clone());
        let Ok(mut outgoing) = signal.connect(group.clone(), self.conn.clone()).await else { return };
        let (mut sink, mut stream) = socket.split();
        let mut closing = self.page.0.parts.closing.clone();
        let end = Instant::now() + MAX_LIFE;
        let (mut messages, mut joins, mut is_reported) = (0, 0, false);
        let begun = say(&mut sink, &self.begin(seen)).await;
        while begun && messages < MAX_MESSAGES {
            let said = tokio::select! {
                frame = stream.next() => match frame {
                    Some(Ok(Message::Text(text))) => serde_json::from_str::<PageMessage>(&text).ok(),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => None,
                    _ => break,
                },
                message = outgoing.recv() => match message {
                    Some(message) => {
                        if let Some(text) = self.heard(message)
                            && !say(&mut sink, &text).await
                        {
                            break;
                        }
                        continue;
                    }
                    None => break,
                },
                () = sleep_until(end) => break,
                () = async { drop(closing.wait_for(|closing| *closing).await) } => break,
            };
            messages += 1;
            let Some(PageMessage { r#type: kind, id, data }) = said else { continue };
            if kind == "result" {
                if let Some(said) = Said::read(data).filter(|_| !std::mem::replace(&mut is_reported, true)) {
                    said.log(self.link);
                }
                continue;
            }
            if kind == "join" {
                joins += 1;
            }
            let Some(message) = self.said(&kind, id, data).filter(|_| joins <= MAX_JOINS) else { continue };
            if signal.message(self.conn.clone(), Ok(message)).await.is_err() {
                break;
            }
        }
        for (session, _) in self.sessions.into_values() {
            let _ = signal.message(self.conn.clone(), Ok(ClientMessage::Leave { session })).await;
        }
        let _ = signal.disconnect(group, self.conn).await;
        debug!("check page: the run has ended");
        let _ = timeout(WRITE_PATIENCE, sink.close()).await;
    }

    /// What the page needs to know.
    fn begin(&self, seen: Option<SocketAddr>) -> Value {
        let told: Vec<_> = (self.page.told().iter())
            .map(|candidate| {
                let protocol = match candidate.protocol {
                    Protocol::Udp => "udp",
                    Protocol::Tcp => "tcp",
                    Protocol::Relay => "relay",
                };
                let address = candidate.address;
                json!({"protocol": protocol, "address": address.ip().to_string(), "port": address.port()})
            })
            .collect();
        let now = SystemTime::now();
        let (ice_servers, withheld) = self.ice_servers(now);
        json!({"type": "begin", "data": {
            "told": told,
            "iceServers": ice_servers,
            "withheldRelay": withheld,
            "now": now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64,
            "seenAs": seen.map(|address| address.to_string()),
            "version": build_info::VERSION,
        }})
    }

    /// TURN servers with credentials that end with the link; whether there are others, whose password does not end and is
    /// not given to whoever has a link.
    fn ice_servers(&self, now: SystemTime) -> (Vec<Value>, bool) {
        let Ice { servers, turn } = self.page.0.ice.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let limited = turn.map(|mut turn| {
            turn.expiration = turn.expiration.min(links::MAX_LIFE);
            turn
        });
        let (mut given, mut withheld) = (Vec::new(), false);
        for server in &servers {
            let urls: Vec<_> = server.urls.iter().filter(|url| url.turn).map(ToString::to_string).collect();
            match Credentials::of(server, limited.as_ref()) {
                _ if urls.is_empty() => {}
                Some(limited @ Credentials::Limited(_)) => {
                    let account = limited.account(now);
                    given.push(json!({"urls": urls, "username": account.username, "credential": account.password}));
                }
                Some(Credentials::Static { .. }) => withheld = true,
                None => {}
            }
        }
        (given, withheld)
    }

    fn said(&mut self, kind: &str, id: u32, data: Value) -> Option<ClientMessage> {
        if kind == "join" {
            if self.sessions.len() >= MAX_SESSIONS || self.sessions.contains_key(&id) {
                return None;
            }
            let (session, user) =
                (SessionId::from(conn_id::random().as_str()), UserId::from(conn_id::random().as_str()));
            self.sessions.insert(id, (session.clone(), user.clone()));
            let channel_id = self.call.to_string();
            let call = self.call.clone();
            return Some(ClientMessage::Join(Join {
                call,
                user,
                session,
                channel_id,
                av1_support: false,
                dc_signaling: false,
            }));
        }
        let (session, user) = self.sessions.get(&id)?.clone();
        let kind = match kind {
            "sdp" => RtcType::Sdp,
            "ice" => RtcType::Ice,
            "unmute" => RtcType::Unmute,
            "leave" => {
                self.sessions.remove(&id);
                return Some(ClientMessage::Leave { session });
            }
            _ => return None,
        };
        let data = if data.is_null() { Vec::new() } else { data.to_string().into_bytes() };
        let (group, call) = (self.page.0.group.clone(), self.call.clone());
        Some(ClientMessage::Rtc(RtcMessage { group, call, user, session, kind, data }))
    }

    fn heard(&mut self, message: ServerMessage) -> Option<Value> {
        let (session, kind, data) = match message {
            ServerMessage::Rtc(rtc) => match rtc.kind {
                RtcType::Sdp => (rtc.session, "sdp", serde_json::from_slice::<Value>(&rtc.data).ok()?),
                RtcType::Ice => (rtc.session, "ice", serde_json::from_slice::<Value>(&rtc.data).ok()?),
                _ => return None,
            },
            ServerMessage::Close { session } => (session, "close", Value::Null),
            ServerMessage::Hello { .. } | ServerMessage::Vad(_) => return None,
        };
        let id = self.sessions.iter().find(|(_, (known, _))| *known == session).map(|(id, _)| *id)?;
        if kind == "close" {
            self.sessions.remove(&id);
        }
        Some(json!({"type": kind, "id": id, "data": data}))
    }
}

async fn say(sink: &mut Sink, text: &Value) -> bool {
    matches!(timeout(WRITE_PATIENCE, sink.send(Message::Text(text.to_string().into()))).await, Ok(Ok(())))
}
