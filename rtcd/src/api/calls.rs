//! `/calls/{callID}/sessions`: how the plugin finds out whether a call still runs. A 404 means that it has ended.
use super::Api;
use super::error::{json, refuse_auth_text, stopping};
use super::guard::Peer;
use crate::ids::CallId;
use crate::signal::SessionInfo;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// `GET /calls/{callID}/sessions`.
pub async fn sessions(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Path(call): Path<String>,
) -> Response {
    match find(&api, &peer, &headers, call).await {
        Ok(sessions) => json(StatusCode::OK, &sessions.iter().map(describe).collect()),
        Err(response) => response,
    }
}

/// `GET /calls/{callID}/sessions/{sessionID}`.
pub async fn session(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Path((call, session)): Path<(String, String)>,
) -> Response {
    let sessions = match find(&api, &peer, &headers, call).await {
        Ok(sessions) => sessions,
        Err(response) => return response,
    };
    match sessions.iter().find(|info| info.session.as_str() == session) {
        Some(info) => json(StatusCode::OK, &describe(info)),
        None => missing("session not found\n"),
    }
}

async fn find(api: &Api, peer: &Peer, headers: &HeaderMap, call: String) -> Result<Vec<SessionInfo>, Response> {
    let client = api.identify_client(headers, peer).await.map_err(|error| refuse_auth_text(&error))?;
    let sessions = api.inner.signal.sessions(client, CallId::from(call)).await.map_err(stopping)?;
    sessions.ok_or_else(|| missing("call not found\n"))
}

fn missing(text: &'static str) -> Response {
    (StatusCode::NOT_FOUND, text).into_response()
}

fn describe(info: &SessionInfo) -> Value {
    json!({
        "GroupID": info.group.as_str(),
        "CallID": info.call.as_str(),
        "UserID": info.user.as_str(),
        "SessionID": info.session.as_str(),
        "Props": {
            "channelID": info.channel_id,
            "av1Support": info.av1_support,
            "dcSignaling": info.dc_signaling,
        },
    })
}
