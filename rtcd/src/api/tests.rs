//! The API on a real port, over a stand-in for the signalling actor.
use super::*;
use crate::auth::tests::{KEY, TempDir};
use crate::signal::message::{ClientMessage, MessageError, ServerMessage};
use crate::signal::{Input, SessionInfo};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message, client::IntoClientRequest as _};

mod http;
mod websocket;

const ADMIN: &str = "the admin's secret";

/// A served API; what the actor would have heard comes out of `heard`.
struct World {
    addr: SocketAddr,
    api: Api,
    heard: mpsc::Receiver<Heard>,
    stop: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<()>,
    _dir: TempDir,
}

#[derive(Debug)]
enum Heard {
    Connected(ClientId, mpsc::Sender<ServerMessage>),
    Message(Result<ClientMessage, MessageError>),
    Disconnected,
}

#[derive(Clone)]
struct Options {
    self_registration: bool,
    admin: bool,
    deadlines: Deadlines,
}

const OPEN: Options = Options {
    self_registration: true,
    admin: true,
    deadlines: Deadlines {
        request: Duration::from_millis(400),
        write: Duration::from_secs(2),
        ping: Duration::from_millis(100),
        silence: Duration::from_millis(500),
        drain: Duration::from_secs(2),
    },
};

impl World {
    async fn new(options: Options) -> Self {
        let dir = TempDir::new();
        let (input, inputs) = mpsc::channel(64);
        let (tell, heard) = mpsc::channel(64);
        tokio::spawn(stand_in(inputs, tell));
        let config = ApiConfig {
            allow_self_registration: options.self_registration,
            admin_secret: options.admin.then(|| ADMIN.into()),
            session_expiration: Duration::from_secs(60),
            tls: None,
            deadlines: options.deadlines,
        };
        let store = Store::open(dir.path()).unwrap();
        let plane: PlaneCounters = Box::new(|| vec![("received", "Datagrams received.", 7)]);
        let shares: PlaneShares = Box::new(|| vec![1.0]);
        let peers: PlanePeers = Box::new(|| Box::pin(async { Vec::new() }));
        let tally: PlaneTally = Box::new(|| Box::pin(async { Tally::default() }));
        let around = Around { metrics: Metrics::new(), plane, shares, peers, tally, notices: Notices::default() };
        let api = Api::new(config, store, SignalHandle::new(input), around);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(serve(listener, api.clone(), async {
            let _ = stopped.await;
        }));
        Self { addr, api, heard, stop: Some(stop), served, _dir: dir }
    }

    /// One request on a connection of its own: status, head, body.
    async fn send(&self, method: &str, path: &str, authorization: &str, body: &str) -> (u16, String, String) {
        let authorization = match authorization {
            "" => String::new(),
            value => format!("Authorization: {value}\r\n"),
        };
        let len = body.len();
        self.raw(&format!(
            "{method} {path} HTTP/1.1\r\nHost: rtcd\r\nConnection: close\r\n{authorization}Content-Length: {len}\r\n\r\n{body}"
        ))
        .await
    }

    async fn raw(&self, request: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, head.to_owned(), body.to_owned())
    }

    async fn get(&self, path: &str, authorization: &str) -> (u16, String) {
        let (status, _, body) = self.send("GET", path, authorization, "").await;
        (status, body)
    }

    /// A POST of a JSON body: the status and the JSON that came back.
    async fn post(&self, path: &str, authorization: &str, body: Value) -> (u16, Value) {
        let (status, head, text) = self.send("POST", path, authorization, &body.to_string()).await;
        assert!(head.contains("application/json"), "{head}");
        (status, serde_json::from_str(&text).unwrap())
    }

    async fn register(&self, client: &str) {
        let answer = self.post("/register", "", json!({"clientID": client, "authKey": KEY})).await;
        assert_eq!(answer, (201, json!({"clientID": client, "code": "201"})));
    }

    async fn dial(&self, authorization: &str) -> Result<WebSocketStream<TcpStream>, u16> {
        let mut request = format!("ws://{}/ws", self.addr).into_client_request().unwrap();
        request.headers_mut().insert("authorization", authorization.parse().unwrap());
        let stream = TcpStream::connect(self.addr).await.unwrap();
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    async fn hear(&mut self) -> Heard {
        timeout(Duration::from_secs(5), self.heard.recv()).await.expect("the actor hears something").unwrap()
    }
}

/// Says hello, tells what it hears, knows one call of client `a`.
async fn stand_in(mut inputs: mpsc::Receiver<Input>, tell: mpsc::Sender<Heard>) {
    while let Some(input) = inputs.recv().await {
        let heard = match input {
            Input::Connected { client, conn, outgoing } => {
                let _ = outgoing.send(ServerMessage::Hello { client: client.clone(), conn }).await;
                Heard::Connected(client, outgoing)
            }
            Input::Message { message, .. } => Heard::Message(message),
            Input::Disconnected { .. } => Heard::Disconnected,
            Input::Sessions { client, call, reply } => {
                let known = client.as_str() == "a" && call.as_str() == "call/1";
                let session = SessionInfo {
                    group: client,
                    call,
                    user: "user".into(),
                    session: "session".into(),
                    channel_id: "channel".into(),
                    av1_support: true,
                    dc_signaling: false,
                };
                let _ = reply.send(known.then(|| vec![session]));
                continue;
            }
            #[allow(unreachable_patterns, reason = "the actor may learn to hear more")]
            _ => continue,
        };
        let _ = tell.try_send(heard);
    }
}

fn basic(client: &str, key: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{client}:{key}")))
}
