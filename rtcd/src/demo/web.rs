//! The page and its WebSocket.
use super::bridge::{BROWSER_QUEUE, Bridge, JoinRequest};
use crate::api::is_foreign;
use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tracing::debug;

/// Connections that may be open: a page takes one or two.
const MAX_CONNECTIONS: usize = 1000;

/// For the head of a request, and for the first message on a WebSocket.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);

/// Longest message of a browser.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// Nothing from elsewhere, nothing inline, no frames.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Serves the page and its WebSockets; never returns.
pub async fn serve(listener: TcpListener, bridge: Bridge) {
    let file = |kind: &'static str, text: &'static str| get(move || async move { page(kind, text) });
    let router = Router::new()
        .route("/", file("text/html", include_str!("page/index.html")))
        .route("/style.css", file("text/css", include_str!("page/style.css")))
        .route("/app.js", file("text/javascript", include_str!("page/app.js")))
        .route("/call.js", file("text/javascript", include_str!("page/call.js")))
        .route("/msgpack.js", file("text/javascript", include_str!("page/msgpack.js")))
        .route("/sources.js", file("text/javascript", include_str!("page/sources.js")))
        .route("/signal", get(signal))
        .with_state(bridge);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(place) = places.clone().acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(REQUEST_PATIENCE)
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            if let Err(error) = connection.await {
                debug!(%error, "connection ended");
            }
            drop(place);
        });
    }
}

fn page(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, format!("{kind}; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
    ];
    (headers, text).into_response()
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
