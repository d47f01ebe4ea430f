//! Paths that are not quite right are sent where they belong, as Go's `http.ServeMux` does it: `//register` comes from a
//! service URL with a slash at its end. 307, so that a POST stays one.
use super::error::not_found;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

/// Redirects what is to be cleaned. `HEAD` is a wrong method like any other here but for `/metrics`, `/status` and the last
/// lines, though axum takes it for `GET`.
pub async fn clean(request: Request, next: Next) -> Response {
    if let Some(location) = better(request.uri()) {
        return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location)]).into_response();
    }
    if request.method() == Method::HEAD && !["/metrics", "/status", "/status/log"].contains(&request.uri().path()) {
        return not_found().await;
    }
    next.run(request).await
}

/// Where a request should have gone.
fn better(uri: &Uri) -> Option<HeaderValue> {
    let path = uri.path();
    let clean = cleaned(path);
    let clean = match clean.strip_suffix('/') {
        Some(shorter) if is_route(shorter) => shorter.to_owned(),
        _ => clean,
    };
    if clean == path || !path.starts_with('/') {
        return None;
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    HeaderValue::try_from(format!("{clean}{query}")).ok()
}

/// Without empty parts, `.` and `..`; a slash at the end stays. What is percent-encoded is left alone.
fn cleaned(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let end = if path.ends_with('/') && !parts.is_empty() { "/" } else { "" };
    format!("/{}{end}", parts.join("/"))
}

fn is_route(path: &str) -> bool {
    let parts: Vec<_> = path.split('/').skip(1).collect();
    match parts[..] {
        [one] => ["version", "system", "metrics", "status", "register", "unregister", "login", "ws"].contains(&one),
        ["status", "log"] | ["calls", _, "sessions"] | ["calls", _, "sessions", _] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_gos_are() {
        let check = |path: &str, expected: Option<&str>| {
            let uri = path.parse().expect("a request target");
            assert_eq!(better(&uri).as_ref().and_then(|value| value.to_str().ok()), expected, "{path}");
        };
        check("/register", None);
        check("//register", Some("/register"));
        check("/register/", Some("/register"));
        check("/./login?a=//b", Some("/login?a=//b"));
        check("/x/../version", Some("/version"));
        check("/../../version//", Some("/version"));
        check("http://rtcd:8045//version", Some("/version"));
        check("/calls//a/sessions", Some("/calls/a/sessions"));
        check("/calls/a/sessions/b/", Some("/calls/a/sessions/b"));
        check("/calls/a%2F%2Fb/sessions", None);
        check("/", None);
        check("/nothing/", None);
        check("//", Some("/"));
        check("//evil.example/x", Some("/evil.example/x"));
    }
}
