//! What every page of ours tells the browser beside its text.
use axum::http::{HeaderName, header};

/// The headers of a file of this MIME type: where it may load from and go to (`policy`, Content-Security-Policy), how it may be
/// kept (`cache`), that its type is to be believed, and that nobody hears where a visitor came from.
pub fn headers(kind: &str, policy: &str, cache: &str) -> [(HeaderName, String); 5] {
    [
        (header::CONTENT_TYPE, format!("{kind}; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, policy.to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        (header::CACHE_CONTROL, cache.to_owned()),
    ]
}
