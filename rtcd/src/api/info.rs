//! `/version`, `/system`, `/metrics`: what anybody may ask.
use super::Api;
use super::error::json;
use crate::build_info::BuildInfo;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use std::io::Write as _;

/// `GET /version`.
pub async fn version() -> Response {
    json(StatusCode::OK, &json!(BuildInfo::this()))
}

/// `GET /system`.
pub async fn system(State(api): State<Api>) -> Response {
    json(StatusCode::OK, &json!({"cpu_load": api.inner.load.get()}))
}

/// `GET /metrics`; gzipped for whoever can read that.
pub async fn metrics(State(api): State<Api>, headers: HeaderMap) -> Response {
    let about = api.inner.metrics.about();
    about.set_draining(api.inner.load.is_draining());
    about.set_share(api.inner.load.share());
    about.set_certificate(api.certificate_end());
    let text = api.inner.metrics.render(&(api.inner.around.plane)());
    let kind = (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    let vary = (header::VARY, "Accept-Encoding");
    if !accepts_gzip(&headers) {
        return ([kind, vary], text).into_response();
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    match encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()) {
        Ok(bytes) => ([kind, vary, (header::CONTENT_ENCODING, "gzip")], bytes).into_response(),
        // Writing to memory does not fail.
        Err(_) => ([kind, vary], text).into_response(),
    }
}

/// RFC 9110, 12.5.3; a weight of zero is a no.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let zero = weight.trim().strip_prefix("q=").and_then(|q| q.trim().parse::<f32>().ok()) == Some(0.0);
        name.trim().eq_ignore_ascii_case("gzip") && !zero
    })
}
