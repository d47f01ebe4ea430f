//! The page and its WebSocket.
use super::bridge::{BROWSER_QUEUE, Bridge, JoinRequest, MAX_BROWSERS};
use super::{code, connection};
use crate::api::is_foreign;
use crate::web_page;
use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::{SinkExt as _, StreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

/// Connections that may be open: a page takes one or two.
const MAX_CONNECTIONS: u32 = 1000;

/// For the first message on a WebSocket.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);

/// Longest message of a browser.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// Nothing from elsewhere, nothing inline, no frames.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

macro_rules! files {
    ($($path:literal: $kind:literal),* $(,)?) => {
        /// The page: path, kind and text of each of its files.
        const FILES: &[(&str, &str, &str)] = &[$((concat!("/", $path), $kind, include_str!(concat!("page/", $path)))),*];
    };
}
files! {
    "app.js": "text/javascript", "call.js": "text/javascript", "colours.js": "text/javascript",
    "controls.js": "text/javascript", "dom.js": "text/javascript", "drawer.js": "text/javascript",
    "ended.js": "text/javascript", "icon.svg": "image/svg+xml", "keys.js": "text/javascript",
    "formats.js": "text/javascript", "media.js": "text/javascript", "msgpack.js": "text/javascript", "notices.js": "text/javascript",
    "pictures.js": "text/javascript", "settings.js": "text/javascript", "sources.js": "text/javascript",
    "start.js": "text/javascript", "state.js": "text/javascript", "stats.js": "text/javascript",
    "tiles.js": "text/javascript", "base.css": "text/css", "call.css": "text/css", "start.css": "text/css",
}

/// What the first screen says about this demo.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// Host and port of the daemon's API.
    pub daemon: String,
    /// Whether that daemon was started by the demo.
    pub own: bool,
    /// The page's addresses for other machines; none when it is for this machine alone.
    pub addresses: Vec<String>,
}

/// A place for each connection that may be open.
pub fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(MAX_CONNECTIONS as usize))
}

/// Resolves when no connection is open any more.
pub async fn are_free(places: &Semaphore) {
    let _ = places.acquire_many(MAX_CONNECTIONS).await;
}

/// Serves the page and its WebSockets; never returns.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    bridge: Bridge,
    about: About,
    places: Arc<Semaphore>,
) {
    let router = router(bridge, &about);
    while let Ok(place) = places.clone().acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (router, tls) = (router.clone(), tls.clone());
        tokio::spawn(async move {
            if let Err(error) = connection::serve(stream, tls, router).await {
                debug!(%error, "connection ended");
            }
            drop(place);
        });
    }
}

fn router(bridge: Bridge, about: &About) -> Router {
    let about = json!({
        "daemon": about.daemon, "own": about.own, "addresses": about.addresses, "most": MAX_BROWSERS,
        "version": crate::build_info::VERSION,
    });
    let about = about.to_string();
    let mut router = Router::new()
        .route("/", get(async || answer("text/html", include_str!("page/index.html"))))
        .route("/about.json", get(move || async move { answer("application/json", about) }))
        .route("/code.svg", get(code))
        .route("/signal", get(signal));
    for &(path, kind, text) in FILES {
        router = router.route(path, get(move || async move { answer(kind, text) }));
    }
    router.with_state(bridge)
}

fn answer(kind: &'static str, text: impl IntoResponse) -> Response {
    (web_page::headers(kind, POLICY, "no-cache"), text).into_response()
}

/// `GET /code.svg?text=..`: a QR code of the text.
async fn code(uri: Uri) -> Response {
    let text = uri.query().and_then(|query| query.strip_prefix("text=")).and_then(unescape);
    match text.and_then(|text| code::svg(&text)) {
        Some(picture) => answer("image/svg+xml", picture),
        None => (StatusCode::BAD_REQUEST, "text: an address of at most 300 bytes is needed\n").into_response(),
    }
}

/// What `encodeURIComponent` has made of a text.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let (byte, behind) = match (first, behind) {
            (b'%', [high, low, behind @ ..]) => {
                let digit = |digit: u8| char::from(digit).to_digit(16);
                (u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?, behind)
            }
            (b'%', _) => return None,
            _ => (*first, behind),
        };
        bytes.push(byte);
        rest = behind;
    }
    String::from_utf8(bytes).ok()
}

/// `GET /signal`: one browser's WebSocket.
async fn signal(State(bridge): State<Bridge>, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    if is_foreign(&headers) {
        return (StatusCode::FORBIDDEN, "request origin not allowed\n").into_response();
    }
    let upgrade = upgrade.max_message_size(MAX_MESSAGE_BYTES).max_frame_size(MAX_MESSAGE_BYTES);
    upgrade.on_upgrade(|socket| browser(bridge, socket))
}

#[derive(Deserialize)]
struct PageMessage {
    r#type: String,
    #[serde(default)]
    data: Value,
}

async fn browser(bridge: Bridge, socket: WebSocket) {
    let (mut sink, mut stream) = socket.split();
    let Ok(Some(Ok(Message::Text(text)))) = timeout(REQUEST_PATIENCE, stream.next()).await else { return };
    let request = serde_json::from_str::<PageMessage>(&text).ok().filter(|said| said.r#type == "join");
    let Some(request) = request.and_then(|said| serde_json::from_value::<JoinRequest>(said.data).ok()) else { return };
    let (out, mut outgoing) = mpsc::channel(BROWSER_QUEUE);
    let session = bridge.join(request, out).await;
    let listen = async {
        while let Some(Ok(frame)) = stream.next().await {
            let Message::Text(text) = frame else { continue };
            let Ok(said) = serde_json::from_str::<PageMessage>(&text) else { continue };
            bridge.say(session.clone(), said.r#type, said.data).await;
        }
    };
    let talk = async {
        while let Some(text) = outgoing.recv().await {
            if sink.send(Message::Text(text.into())).await.is_err() {
                return;
            }
        }
        let _ = sink.close().await;
    };
    tokio::select! {
        () = listen => {}
        () = talk => {}
    }
    bridge.gone(session).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_escaped_is_read_and_what_is_broken_is_not() {
        assert_eq!(unescape("https%3A%2F%2Fa%2F%3Fcall%3D%C3%A9").as_deref(), Some("https://a/?call=\u{e9}"));
        assert_eq!(unescape("plain").as_deref(), Some("plain"));
        for broken in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(unescape(broken), None, "{broken}");
        }
    }
}
