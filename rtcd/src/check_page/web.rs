//! The pages, and the WebSocket of a run.
use super::links::Standing;
use super::{CheckPage, SeenAs, run};
use crate::web_page;
use axum::extract::ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection};
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get};
use axum::{Router, http::HeaderName};

/// Longest message of a page: a description has some KiB.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// Nothing from elsewhere, nothing inline, no frames.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; media-src 'self' blob:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

impl CheckPage {
    /// `/check/...`, for a server of any state.
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let file = |kind: &'static str, text: &'static str| -> MethodRouter<Self> {
            get(move || async move { page(StatusCode::OK, kind, text) })
        };
        Router::new()
            .route("/check/style.css", file("text/css", include_str!("page/style.css")))
            .route("/check/app.js", file("text/javascript", include_str!("page/app.js")))
            .route("/check/echo.js", file("text/javascript", include_str!("page/echo.js")))
            .route("/check/run.js", file("text/javascript", include_str!("page/run.js")))
            .route("/check/verdict.js", file("text/javascript", include_str!("page/verdict.js")))
            .route("/check/{token}", get(open))
            .route("/check/{token}/run", get(start))
            .with_state(self.clone())
    }
}

fn page(status: StatusCode, kind: &'static str, text: impl Into<String>) -> Response {
    const PERMISSIONS: HeaderName = HeaderName::from_static("permissions-policy");
    let permissions = [(PERMISSIONS, "microphone=(self)")];
    (status, web_page::headers(kind, POLICY, "no-store"), permissions, text.into()).into_response()
}

/// `GET /check/TOKEN`. It uses nothing up: programs that preview links in messages look at them, too.
async fn open(State(check): State<CheckPage>, Path(token): Path<String>) -> Response {
    match check.standing(&token) {
        Standing::Alive { .. } => page(StatusCode::OK, "text/html", include_str!("page/index.html")),
        ended => {
            let status = if ended == Standing::Unknown { StatusCode::NOT_FOUND } else { StatusCode::GONE };
            page(status, "text/html", include_str!("page/ended.html").replace("WHY", why(ended)))
        }
    }
}

fn why(ended: Standing) -> &'static str {
    match ended {
        Standing::Expired => "This link has expired.",
        Standing::UsedUp => "This link has been used up.",
        _ => "This link is not known here (any more).",
    }
}

/// `GET /check/TOKEN/run`: one use of the link.
async fn start(
    State(check): State<CheckPage>,
    Path(token): Path<String>,
    seen: Option<Extension<SeenAs>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    if !is_own_page(&headers) {
        return (StatusCode::FORBIDDEN, "request origin not allowed\n").into_response();
    }
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let seen = seen.map(|Extension(SeenAs(address))| address);
    let upgrade = upgrade.max_message_size(MAX_MESSAGE_BYTES).max_frame_size(MAX_MESSAGE_BYTES);
    upgrade.on_upgrade(move |socket| run::run(check, token, seen, socket))
}

/// A browser says whose page it is, and it must be one from here.
fn is_own_page(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
    let origin = text(header::ORIGIN).split_once("://").map_or("", |(_, origin)| origin);
    !origin.is_empty() && origin.eq_ignore_ascii_case(text(header::HOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_begun_by_a_page_from_here_alone() {
        let check = |host: &str, origin: Option<&str>, expected: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().expect("a value"));
            origin.iter().for_each(|origin| drop(headers.insert(header::ORIGIN, origin.parse().expect("a value"))));
            assert_eq!(is_own_page(&headers), expected, "{host} {origin:?}");
        };
        check("a.example:8443", Some("https://a.example:8443"), true);
        check("a.example:8443", Some("https://A.example:8443"), true);
        check("a.example:8443", Some("https://a.example"), false);
        check("a.example:8443", Some("https://evil.example"), false);
        check("a.example:8443", Some("null"), false);
        check("a.example:8443", None, false);
    }
}
