//! A stand-in for the Calls plugin: what a Mattermost node does with the API. Its msgpack and HTTP are its own, so that
//! a mistake in the daemon's codec cannot hide in a mistake here.
use crate::http::{self, Response};
use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use rmpv::Value;
use rtcd_load::signal::{bytes_of, field, map, read_frame, text};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{self, Message, client::IntoClientRequest as _};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// How long any answer may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// `type` of an rtc message.
#[allow(missing_docs, reason = "the names are the contract's")]
pub mod rtc {
    pub const ICE: i64 = 1;
    pub const SDP: i64 = 2;
    pub const MUTE: i64 = 3;
    pub const UNMUTE: i64 = 4;
    pub const SCREEN_ON: i64 = 5;
    pub const SCREEN_OFF: i64 = 6;
    pub const VOICE_ON: i64 = 7;
    pub const VOICE_OFF: i64 = 8;
    pub const VIDEO_ON: i64 = 9;
    pub const VIDEO_OFF: i64 = 10;
}

/// A Mattermost installation as seen from the daemon.
#[derive(Debug, Clone)]
pub struct Plugin {
    pub api: SocketAddr,
    pub client_id: String,
    pub auth_key: String,
}

/// The wish to take part in a call.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the names are the contract's")]
pub struct Join {
    pub call_id: String,
    pub user_id: String,
    pub session_id: String,
    pub av1_support: bool,
    pub dc_signaling: bool,
}

impl Join {
    /// A session of a user of the same name, with signalling over the data channel.
    pub fn new(call_id: &str, session_id: &str) -> Self {
        let user_id = format!("user-of-{session_id}");
        let (call_id, session_id) = (call_id.to_owned(), session_id.to_owned());
        Self { call_id, user_id, session_id, av1_support: false, dc_signaling: true }
    }
}

/// An rtc or vad message as it came.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the names are the contract's")]
pub struct Rtc {
    pub group_id: String,
    pub user_id: String,
    pub session_id: String,
    pub call_id: String,
    pub kind: i64,
    pub data: Vec<u8>,
}

impl Rtc {
    /// `data` as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.data).unwrap_or(serde_json::Value::Null)
    }
}

/// What the daemon says.
#[derive(Debug, Clone, PartialEq)]
pub enum Received {
    /// Signalling for a session.
    Rtc(Rtc),
    /// Somebody speaks, or no longer.
    Vad(Rtc),
    /// A session has ended.
    Close { session_id: String },
}

impl Plugin {
    /// The installation `client_id` with a key made from its name.
    pub fn new(api: SocketAddr, client_id: &str) -> Self {
        let auth_key = format!("{client_id}-key-{}", "0123456789abcdef".repeat(2));
        Self { api, client_id: client_id.into(), auth_key }
    }

    /// Dials; when it is refused, registers and dials again, as after the loss of the daemon's store.
    pub async fn connect(&self) -> Result<Connection> {
        match self.dial().await {
            Err(Refused::Status(401)) => {}
            other => return Ok(other?),
        }
        let answer = self.register().await?;
        ensure!(answer.status == 201, "registration refused: {} {}", answer.status, answer.text());
        Ok(self.dial().await?)
    }

    /// Dials once, with Basic credentials, and waits for `hello`.
    pub async fn dial(&self) -> Result<Connection, Refused> {
        let mut request = format!("ws://{}/ws", self.api).into_client_request()?;
        let basic = http::basic(&self.client_id, &self.auth_key);
        let value = basic.parse().map_err(|_| anyhow::anyhow!("no header value"))?;
        request.headers_mut().insert("authorization", value);
        let dialed = timeout(PATIENCE, tokio_tungstenite::connect_async(request)).await.context("dialing")?;
        let (socket, _) = dialed?;
        let mut connection = Connection { socket, client_id: self.client_id.clone(), conn_id: String::new() };
        let (kind, data) = connection.frame().await?;
        if kind != "hello" || text(&data, "clientID") != self.client_id {
            return Err(anyhow::anyhow!("no hello but {kind} {data}").into());
        }
        connection.conn_id = text(&data, "connID");
        Ok(connection)
    }

    pub async fn register(&self) -> Result<Response> {
        let body = json!({"clientID": self.client_id, "authKey": self.auth_key}).to_string();
        self.request("POST", "/register", None, Some(body)).await
    }

    /// The plugin's checks of `/version`: at least `v1.0.0`, or a development build.
    pub async fn check_version(&self) -> Result<String> {
        let about = self.request("GET", "/version", None, None).await?.json();
        let version = about["buildVersion"].as_str().context("buildVersion is missing")?.to_owned();
        let release = version.strip_prefix('v').and_then(|numbers| {
            let mut numbers = numbers.split(['.', '-', '+']).map(str::parse::<u32>);
            Some((numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?))
        });
        ensure!(version.starts_with("dev") || release >= Some((1, 0, 0)), "{version} is refused by the plugin");
        Ok(version)
    }

    /// `/system`: the number that decides which host gets a new call.
    pub async fn cpu_load(&self) -> Result<f64> {
        let load = self.request("GET", "/system", None, None).await?.json();
        load["cpu_load"].as_f64().filter(|load| load.is_finite()).context("cpu_load is no finite number")
    }

    /// The sessions of a call; `None`: it has ended.
    pub async fn sessions(&self, call_id: &str) -> Result<Option<Vec<serde_json::Value>>> {
        let basic = http::basic(&self.client_id, &self.auth_key);
        let answer = self.request("GET", &format!("/calls/{call_id}/sessions"), Some(basic), None).await?;
        match answer.status {
            200 => Ok(Some(serde_json::from_slice(&answer.body)?)),
            404 => Ok(None),
            status => bail!("{status} {}", answer.text()),
        }
    }

    async fn request(
        &self,
        method: &'static str,
        path: &str,
        authorization: Option<String>,
        body: Option<String>,
    ) -> Result<Response> {
        let (api, path) = (self.api, path.to_owned());
        let request = move || http::request(api, method, &path, authorization.as_deref(), body.as_deref());
        Ok(tokio::task::spawn_blocking(request).await??)
    }
}

/// The hosts that one name of the System Console leads to.
#[derive(Debug, Clone)]
pub struct Fleet(pub Vec<Plugin>);

impl Fleet {
    /// Where a new call goes: each host is asked how busy it is, and the least busy one gets it. Who does not answer, and who
    /// is too old, gets none.
    pub async fn for_new_call(&self) -> Result<&Plugin> {
        let mut best: Option<(f64, &Plugin)> = None;
        for host in &self.0 {
            let Ok(load) = host.cpu_load().await else { continue };
            host.check_version().await?;
            if best.is_none_or(|(least, _)| load < least) {
                best = Some((load, host));
            }
        }
        best.map(|(_, host)| host).context("no host answers")
    }
}

/// Why a dial failed.
#[derive(Debug)]
pub enum Refused {
    /// The daemon answered with this status.
    Status(u16),
    Other(anyhow::Error),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => write!(f, "refused with {status}"),
            Self::Other(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Refused {}

impl From<tungstenite::Error> for Refused {
    fn from(error: tungstenite::Error) -> Self {
        match error {
            tungstenite::Error::Http(response) => Self::Status(response.status().as_u16()),
            other => Self::Other(other.into()),
        }
    }
}

impl From<anyhow::Error> for Refused {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

#[derive(Debug)]
pub struct Connection {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    client_id: String,
    /// The id that the daemon gave it.
    pub conn_id: String,
}

impl Connection {
    /// `join`, with integers and bools as the Go side writes them.
    pub async fn join(&mut self, join: &Join) -> Result<()> {
        let data = map([
            ("callID", join.call_id.as_str().into()),
            ("userID", join.user_id.as_str().into()),
            ("sessionID", join.session_id.as_str().into()),
            ("channelID", join.call_id.as_str().into()),
            ("av1Support", join.av1_support.into()),
            ("dcSignaling", join.dc_signaling.into()),
        ]);
        self.send("join", data).await
    }
    /// `leave`.
    pub async fn leave(&mut self, session_id: &str) -> Result<()> {
        self.send("leave", map([("sessionID", session_id.into())])).await
    }
    /// `reconnect`: messages for this session shall come here.
    pub async fn reconnect(&mut self, session_id: &str) -> Result<()> {
        self.send("reconnect", map([("sessionID", session_id.into())])).await
    }
    /// `rtc` of a session.
    pub async fn rtc(&mut self, join: &Join, kind: i64, data: Option<&serde_json::Value>) -> Result<()> {
        let mut fields = vec![
            ("group_id", self.client_id.as_str().into()),
            ("user_id", join.user_id.as_str().into()),
            ("session_id", join.session_id.as_str().into()),
            ("call_id", join.call_id.as_str().into()),
            ("type", kind.into()),
        ];
        if let Some(data) = data {
            fields.push(("data", Value::Binary(data.to_string().into_bytes())));
        }
        self.send("rtc", map(fields)).await
    }
    /// Any message: two msgpack values in a row.
    pub async fn send(&mut self, kind: &str, data: Value) -> Result<()> {
        let mut frame = Vec::new();
        rmpv::encode::write_value(&mut frame, &kind.into())?;
        rmpv::encode::write_value(&mut frame, &data)?;
        self.send_raw(Message::Binary(frame.into())).await
    }
    pub async fn send_raw(&mut self, frame: Message) -> Result<()> {
        Ok(timeout(PATIENCE, self.socket.send(frame)).await??)
    }
    pub async fn receive(&mut self) -> Result<Received> {
        let (kind, data) = self.frame().await?;
        Ok(match kind.as_str() {
            "rtc" => Received::Rtc(read_rtc(&data)),
            "vad" => Received::Vad(read_rtc(&data)),
            "close" => Received::Close { session_id: text(&data, "sessionID") },
            other => bail!("unexpected {other} {data}"),
        })
    }
    /// Skips messages until `pick` takes one.
    pub async fn wait_for<T>(&mut self, what: &str, mut pick: impl FnMut(Received) -> Option<T>) -> Result<T> {
        let search = async {
            loop {
                if let Some(found) = pick(self.receive().await?) {
                    return Ok(found);
                }
            }
        };
        timeout(PATIENCE, search).await.with_context(|| format!("waited in vain for {what}"))?
    }
    /// Waits until the daemon has closed the connection.
    pub async fn wait_closed(&mut self) -> Result<()> {
        let end = async { while let Some(Ok(_)) = self.socket.next().await {} };
        timeout(2 * PATIENCE, end).await.context("the connection stays open")
    }

    async fn frame(&mut self) -> Result<(String, Value)> {
        loop {
            let frame = timeout(PATIENCE, self.socket.next()).await.context("no message came")?;
            match frame.context("the connection has ended")?? {
                Message::Binary(bytes) => return read_frame(&bytes),
                Message::Ping(_) | Message::Pong(_) => {}
                other => bail!("unexpected frame {other:?}"),
            }
        }
    }
}

fn read_rtc(data: &Value) -> Rtc {
    Rtc {
        group_id: text(data, "group_id"),
        user_id: text(data, "user_id"),
        session_id: text(data, "session_id"),
        call_id: text(data, "call_id"),
        kind: field(data, "type").and_then(Value::as_i64).unwrap_or_default(),
        data: bytes_of(data, "data"),
    }
}
