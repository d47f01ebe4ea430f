//! `/version`, `/system`, `/metrics`: what anybody may ask.
use super::Api;
use super::error::json;
use crate::build_info::BuildInfo;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// `GET /version`.
pub async fn version() -> Response {
    json(StatusCode::OK, &json!(BuildInfo::this()))
}

/// `GET /system`.
pub async fn system(State(api): State<Api>) -> Response {
    json(StatusCode::OK, &json!({"cpu_load": api.inner.load.get()}))
}

/// `GET /metrics`.
pub async fn metrics(State(api): State<Api>) -> Response {
    let text = api.inner.metrics.render(&(api.inner.plane)());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
