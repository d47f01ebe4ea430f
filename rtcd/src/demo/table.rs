//! Who takes part: what each browser has said, and whom the daemon means.
use super::bridge::{Input, JoinRequest, MAX_BROWSERS, SILENCE, send};
use super::upstream::{Socket, Upstream};
use crate::api::conn_id;
use crate::ids::{CallId, SessionId, UserId};
use crate::signal::message::{ClientMessage, Join, RtcMessage, RtcType, ServerMessage};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tracing::{debug, warn};

struct Browser {
    name: String,
    call: CallId,
    user: UserId,
    /// The lowest that was free in the call: what tells participants apart by colour.
    seat: usize,
    muted: bool,
    video: bool,
    screen: bool,
    speaking: bool,
    out: mpsc::Sender<String>,
}

/// All browsers of the demo.
pub struct Table {
    pub upstream: Upstream,
    browsers: BTreeMap<SessionId, Browser>,
}

impl Table {
    /// Nobody is there yet.
    pub fn new(upstream: Upstream) -> Self {
        Self { upstream, browsers: BTreeMap::new() }
    }

    /// Everybody who is there.
    pub fn sessions(&self) -> impl Iterator<Item = &SessionId> {
        self.browsers.keys()
    }

    /// Carries messages both ways. `Ok`: the demo is stopping.
    pub async fn pump(&mut self, socket: &mut Socket, inputs: &mut mpsc::Receiver<Input>) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                input = inputs.recv() => match input {
                    None => return Ok(()),
                    Some(Input::Stop) => {
                        self.tell_all(&json!({"type": "stopping"}));
                        return Ok(());
                    }
                    Some(Input::Joined { session, request, out }) => self.joined(socket, session, request, out).await?,
                    Some(Input::Said { session, kind, data }) => self.said(socket, &session, &kind, data).await?,
                    Some(Input::Gone { session }) => self.leave(socket, &session).await?,
                },
                frame = timeout(SILENCE, socket.next()) => match frame? {
                    Some(Ok(Message::Binary(bytes))) => match ServerMessage::decode(&bytes) {
                        Ok(message) => self.heard(message),
                        Err(error) => warn!(%error, "the daemon sent something unexpected"),
                    },
                    Some(Ok(Message::Close(_))) | None => anyhow::bail!("closed by the daemon"),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error.into()),
                },
            }
        }
    }

    async fn joined(
        &mut self,
        socket: &mut Socket,
        session: SessionId,
        request: JoinRequest,
        out: mpsc::Sender<String>,
    ) -> anyhow::Result<()> {
        if self.browsers.len() >= MAX_BROWSERS {
            // With `out` the connection ends behind it.
            let _ = out.try_send(json!({"type": "full", "data": {"most": MAX_BROWSERS}}).to_string());
            return Ok(());
        }
        let call = CallId::from(request.call);
        let seat = self.seat(&call, request.seat);
        let user = UserId::from(conn_id::random().as_str());
        let join = Join {
            call: call.clone(),
            user: user.clone(),
            session: session.clone(),
            channel_id: call.to_string(),
            av1_support: request.av1_support,
            dc_signaling: request.dc_signaling,
        };
        let _ =
            out.try_send(json!({"type": "joined", "data": {"sessionID": session.as_str(), "seat": seat}}).to_string());
        let browser = Browser {
            name: request.name,
            call: call.clone(),
            user,
            seat,
            muted: true,
            video: false,
            screen: false,
            speaking: false,
            out,
        };
        self.browsers.insert(session, browser);
        self.tell_participants(&call);
        send(socket, &ClientMessage::Join(join)).await
    }

    /// The one that is wished for if it is free, else the lowest that is.
    fn seat(&self, call: &CallId, wished: Option<usize>) -> usize {
        let of_call = self.browsers.values().filter(|other| other.call == *call);
        let taken: BTreeSet<usize> = of_call.map(|other| other.seat).collect();
        let free = |seat: &usize| !taken.contains(seat);
        wished.filter(|seat| *seat < MAX_BROWSERS).filter(free).unwrap_or_else(|| (0..).find(free).unwrap_or_default())
    }

    async fn said(&mut self, socket: &mut Socket, session: &SessionId, kind: &str, data: Value) -> anyhow::Result<()> {
        let Some(browser) = self.browsers.get(session) else { return Ok(()) };
        let call = browser.call.clone();
        let rtc = match kind {
            "sdp" => RtcType::Sdp,
            "ice" => RtcType::Ice,
            "mute" => RtcType::Mute,
            "unmute" => RtcType::Unmute,
            "screen_on" => RtcType::ScreenOn,
            "screen_off" => RtcType::ScreenOff,
            "video_on" => RtcType::VideoOn,
            "video_off" => RtcType::VideoOff,
            "leave" => return self.leave(socket, session).await,
            _ => return Ok(()),
        };
        if rtc == RtcType::ScreenOn && self.browsers.values().any(|other| other.call == call && other.screen) {
            self.tell(session, &json!({"type": "refused", "data": kind}));
            return Ok(());
        }
        let Some(browser) = self.browsers.get_mut(session) else { return Ok(()) };
        match rtc {
            RtcType::Mute | RtcType::Unmute => browser.muted = rtc == RtcType::Mute,
            RtcType::VideoOn | RtcType::VideoOff => browser.video = rtc == RtcType::VideoOn,
            RtcType::ScreenOn | RtcType::ScreenOff => browser.screen = rtc == RtcType::ScreenOn,
            _ => {}
        }
        let message = RtcMessage {
            group: self.upstream.client.clone(),
            call: call.clone(),
            user: browser.user.clone(),
            session: session.clone(),
            kind: rtc,
            data: if data.is_null() { Vec::new() } else { data.to_string().into_bytes() },
        };
        send(socket, &ClientMessage::Rtc(message)).await?;
        if !matches!(rtc, RtcType::Sdp | RtcType::Ice) {
            self.tell_participants(&call);
            self.tell(session, &json!({"type": "passed", "data": kind}));
        }
        Ok(())
    }

    async fn leave(&mut self, socket: &mut Socket, session: &SessionId) -> anyhow::Result<()> {
        let Some(browser) = self.browsers.remove(session) else { return Ok(()) };
        self.tell_participants(&browser.call);
        send(socket, &ClientMessage::Leave { session: session.clone() }).await
    }

    fn heard(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::Hello { .. } => {}
            ServerMessage::Rtc(rtc) => {
                let kind = match rtc.kind {
                    RtcType::Sdp => "sdp",
                    RtcType::Ice => "ice",
                    _ => return,
                };
                if let Ok(data) = serde_json::from_slice::<Value>(&rtc.data) {
                    self.tell(&rtc.session, &json!({"type": kind, "data": data}));
                }
            }
            ServerMessage::Vad(rtc) => {
                let kind = if rtc.kind == RtcType::VoiceOn { "voice_on" } else { "voice_off" };
                let text = json!({"type": kind, "data": {"sessionID": rtc.session.as_str()}});
                let Some(browser) = self.browsers.get_mut(&rtc.session) else { return };
                browser.speaking = rtc.kind == RtcType::VoiceOn;
                let call = browser.call.clone();
                self.tell_call(&call, &text);
            }
            ServerMessage::Close { session } => {
                self.tell(&session, &json!({"type": "close"}));
                if let Some(browser) = self.browsers.remove(&session) {
                    self.tell_participants(&browser.call);
                }
            }
        }
    }

    fn tell_participants(&self, call: &CallId) {
        let of_call = self.browsers.iter().filter(|(_, browser)| browser.call == *call);
        let list: Vec<_> = of_call
            .map(|(session, browser)| {
                let Browser { name, seat, muted, video, screen, speaking, .. } = browser;
                json!({"sessionID": session.as_str(), "name": name, "seat": seat, "muted": muted, "video": video,
                    "screen": screen, "speaking": speaking})
            })
            .collect();
        self.tell_call(call, &json!({"type": "participants", "data": list}));
    }

    fn tell_call(&self, call: &CallId, message: &Value) {
        for (session, _) in self.browsers.iter().filter(|(_, browser)| browser.call == *call) {
            self.tell(session, message);
        }
    }

    /// Says it to everybody.
    pub fn tell_all(&self, message: &Value) {
        for session in self.browsers.keys() {
            self.tell(session, message);
        }
    }

    fn tell(&self, session: &SessionId, message: &Value) {
        if let Some(browser) = self.browsers.get(session)
            && browser.out.try_send(message.to_string()).is_err()
        {
            // A browser that does not read loses messages; its own WebSocket notices when it is really gone.
            debug!(%session, "a browser does not read");
        }
    }
}
