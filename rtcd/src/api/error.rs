//! Refusals: one text for the client, the cause for the log.
use crate::auth::AuthError;
use crate::signal::Stopped;
use crate::store::StoreError;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use tracing::error;

/// When a refused client should come back: by then a full queue of bcrypt checks has run.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("10");

/// What Go's `http.NotFound` answers.
pub async fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "404 page not found\n").into_response()
}

/// The answer to register, unregister and login: a JSON object of strings with the status in `code`.
pub fn reply(status: StatusCode, fields: &[(&str, &str)]) -> Response {
    let mut object: Map<String, Value> =
        fields.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
    object.insert("code".into(), status.as_str().into());
    json(status, &Value::Object(object))
}

/// An answer with a JSON body and its content type.
pub fn json(status: StatusCode, value: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{value}\n")).into_response()
}

/// A refusal of register, unregister or login.
pub fn refuse(status: StatusCode, error: &str) -> Response {
    reply(status, &[("error", error)])
}

/// The refusal that an [`AuthError`] stands for, as JSON; `prefix` names what failed.
pub fn refuse_auth(error: &AuthError, prefix: &str) -> Response {
    let response = refuse(status(error), &format!("{prefix}{error}"));
    with_hints(error, response)
}

/// The same as plain text, for `/calls` and `/ws`.
pub fn refuse_auth_text(error: &AuthError) -> Response {
    let response = (status(error), format!("{error}\n")).into_response();
    with_hints(error, response)
}

/// The answer while the process is stopping.
pub fn stopping(stopped: Stopped) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{stopped}\n")).into_response()
}

fn status(error: &AuthError) -> StatusCode {
    match error {
        AuthError::Denied(_) => StatusCode::UNAUTHORIZED,
        AuthError::Busy(_) | AuthError::Store(StoreError::Stopping) => StatusCode::SERVICE_UNAVAILABLE,
        AuthError::Hash
        | AuthError::Store(
            StoreError::Io(_) | StoreError::Closed | StoreError::Open { .. } | StoreError::Reference { .. },
        ) => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}

fn with_hints(error: &AuthError, mut response: Response) -> Response {
    match error {
        AuthError::Denied(_) => {
            let basic = HeaderValue::from_static("Basic realm=\"rtcd\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
        }
        AuthError::Busy(_) => {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        AuthError::Store(StoreError::Io(cause)) => error!(%cause, "the store failed"),
        _ => {}
    }
    response
}
