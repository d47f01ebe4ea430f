//! `POST /factory-reset`: the appliance forgets what it holds and starts anew, for the admin alone. The reference has no such
//! call.
use super::Api;
use super::clients::{Fields, admin_only};
use super::error::{json, refuse};
use super::guard::Peer;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use std::io;
use std::path::Path;
use tracing::{error, warn};

/// Where the appliance looks for wishes of ours: a unit of systemd waits for the file and does what we may not. Elsewhere there
/// is no such directory.
const REQUESTS: &str = "/run/rtcd-requests";
/// What has to be said: nobody gets here by a wrong address.
const CONFIRMATION: &str = "erase";

/// Asks for it. The answer comes before the machine goes.
pub async fn ask(State(api): State<Api>, Extension(peer): Extension<Peer>, headers: HeaderMap, body: Body) -> Response {
    if let Err(response) = admin_only(&api, &headers, &peer).await {
        return response;
    }
    let fields = match Fields::read(&api, body).await {
        Ok(fields) => fields,
        Err(response) => return response,
    };
    if fields.text("confirm") != CONFIRMATION {
        return refuse(
            StatusCode::BAD_REQUEST,
            "confirm is not \"erase\": clients, their keys and the journal would be gone",
        );
    }
    match std::fs::write(Path::new(REQUESTS).join("factory-reset"), "") {
        Ok(()) => {
            warn!("factory reset, as the admin asks: the machine starts anew");
            json(StatusCode::ACCEPTED, &serde_json::json!({ "code": "202" }))
        }
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            refuse(StatusCode::NOT_IMPLEMENTED, "this is not the appliance: there is no machine to reset")
        }
        Err(cause) => {
            error!(%cause, "the machine cannot be told to reset itself");
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "the machine cannot be told")
        }
    }
}
