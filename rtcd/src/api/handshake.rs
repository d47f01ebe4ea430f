//! The opening handshake of a WebSocket, from the server's side (RFC 6455, 4.2).
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Checks the opening handshake (RFC 6455, 4.2.1).
pub fn accept_key(headers: &HeaderMap) -> Result<HeaderValue, (StatusCode, &'static str)> {
    let bad = |text| (StatusCode::BAD_REQUEST, text);
    if !has_token(headers, header::CONNECTION, "upgrade") || !has_token(headers, header::UPGRADE, "websocket") {
        return Err(bad("this is a WebSocket endpoint\n"));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(bad("unsupported WebSocket version\n"));
    }
    if foreign_origin(headers) {
        return Err((StatusCode::FORBIDDEN, "request origin not allowed\n"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or(bad("Sec-WebSocket-Key is missing\n"))?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(|_| bad("Sec-WebSocket-Key is not valid\n"))
}

fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(token))
}

/// Servers send no `Origin`. A browser does, and a page from elsewhere must not use credentials that it has cached.
fn foreign_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
    let host = text(header::HOST);
    headers.contains_key(header::ORIGIN)
        && text(header::ORIGIN).split_once("://").is_none_or(|(_, origin)| !origin.eq_ignore_ascii_case(host))
}

/// The answer that switches to the WebSocket protocol.
pub fn switch(accept: HeaderValue) -> Response {
    let switched = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::UPGRADE, "websocket")
        .header(header::CONNECTION, "Upgrade")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept)
        .body(Body::empty());
    switched.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}
