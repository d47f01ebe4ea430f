//! `POST /check-links`: a link to the check page, for the admin alone. The reference has no such call.
use super::Api;
use super::clients::{Fields, admin_only};
use super::error::{json, refuse};
use super::guard::Peer;
use crate::check_page::{MAX_LIFE, USES};
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use std::time::Duration;
use tracing::error;

/// Makes a link. `validSeconds` in the body makes it good for less than an hour.
pub async fn make(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if let Err(response) = admin_only(&api, &headers, &peer).await {
        return response;
    }
    let fields = match Fields::read(&api, body).await {
        Ok(fields) => fields,
        Err(response) => return response,
    };
    let seconds = match fields.text("validSeconds") {
        "" => Some(MAX_LIFE.as_secs()),
        seconds => seconds.parse().ok().filter(|seconds| (1..=MAX_LIFE.as_secs()).contains(seconds)),
    };
    let Some(seconds) = seconds else {
        return refuse(StatusCode::BAD_REQUEST, "validSeconds is not a number from 1 to 3600");
    };
    let Some(page) = api.inner.check_page.get() else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "rtcd is just starting: try again");
    };
    match page.make_link(Duration::from_secs(seconds)) {
        Ok(link) => {
            let answer = serde_json::json!({
                "path": link.path,
                "urls": link.urls,
                "validSeconds": link.life.as_secs(),
                "uses": USES,
                "selfSigned": link.self_signed,
                "code": "201",
            });
            json(StatusCode::CREATED, &answer)
        }
        Err(cause) => {
            error!(%cause, "no certificate can be made for the check page");
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "no certificate can be made")
        }
    }
}
