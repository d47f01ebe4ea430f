//! `/debug/memory`: what sessions hold, by kind, beside what the process takes. For the admin, as text or for programs.
use super::Api;
use super::error::{json, stopping};
use super::status::{OfAdmin, Wanted, wanted};
use crate::logging;
use crate::memory::{Memory, Process};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rtcd_media::footprint::Per;

/// `GET /debug/memory`.
pub async fn memory(State(api): State<Api>, OfAdmin(request): OfAdmin) -> Response {
    let inner = &api.inner;
    let (signalling, plane) = tokio::join!(inner.signal.tally(), (inner.around.tally)());
    let mut tally = match signalling {
        Ok(tally) => tally,
        Err(stopped) => return stopping(stopped),
    };
    tally.merge(&plane);
    tally.add(Per::Process, "log lines", 1, logging::bytes());
    let memory = Memory::new(&tally, Process::now());
    match wanted(&request.headers) {
        Wanted::Json => json(StatusCode::OK, &serde_json::json!(memory)),
        Wanted::Text | Wanted::Page => memory.to_string().into_response(),
    }
}
