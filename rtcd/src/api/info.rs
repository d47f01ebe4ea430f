//! `/version`, `/system`, `/metrics`: what anybody may ask.
use super::Api;
use super::error::json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// What this binary was built from. The build sets `RTCD_BUILD_VERSION`, `RTCD_BUILD_DATE` and `RTCD_BUILD_HASH`.
#[derive(Debug, Clone, Copy)]
pub struct BuildInfo {
    /// `vX.Y.Z` of a release (the plugin wants at least `v1.0.0`), else something that starts with `dev`.
    pub version: &'static str,
    /// Day of the build.
    pub date: &'static str,
    /// Commit.
    pub hash: &'static str,
}

impl BuildInfo {
    /// That of this binary.
    pub const CURRENT: Self = Self {
        version: or(option_env!("RTCD_BUILD_VERSION"), concat!("dev-", env!("CARGO_PKG_VERSION"))),
        date: or(option_env!("RTCD_BUILD_DATE"), ""),
        hash: or(option_env!("RTCD_BUILD_HASH"), ""),
    };
}

const fn or(given: Option<&'static str>, default: &'static str) -> &'static str {
    match given {
        Some(given) => given,
        None => default,
    }
}

/// `GET /version`.
pub async fn version() -> Response {
    let build = BuildInfo::CURRENT;
    // The names that Go programs expect.
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let about = json!({
        "buildDate": build.date, "build_date": build.date,
        "buildVersion": build.version, "build_version": build.version,
        "buildHash": build.hash, "build_hash": build.hash,
        "goVersion": concat!("rust", env!("CARGO_PKG_RUST_VERSION")),
        "goOS": std::env::consts::OS,
        "goArch": arch,
    });
    json(StatusCode::OK, &about)
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
