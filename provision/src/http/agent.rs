//! The library's agent, set to what the client promises. Each request has its own: nothing is kept between them.
use super::low_port::LowPort;
use std::sync::Arc;
use std::time::Duration;
use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, DefaultConnector};
use ureq::{Agent, config::Config};

/// For one request to `target` that may take `time`.
pub(super) fn new(target: &Uri, time: Duration, low_port: Option<LowPort>) -> Agent {
    let mut config = Config::builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .max_idle_connections(0)
        .user_agent("rtcd-provision")
        .timeout_global(Some(time));
    if target.scheme_str() == Some("https") {
        config = config.tls_config(tls());
    }
    let config = config.build();
    match low_port {
        Some(low_port) => Agent::with_parts(config, ().chain(low_port), DefaultResolver::default()),
        None => Agent::with_parts(config, DefaultConnector::default(), DefaultResolver::default()),
    }
}

/// The certificates of the image. Only seeds of NoCloud are asked over https.
fn tls() -> TlsConfig {
    let roots = rustls_native_certs::load_native_certs();
    for error in &roots.errors {
        tracing::warn!(%error, "certificates of the system cannot be read");
    }
    let roots: Vec<_> = roots.certs.iter().map(|root| Certificate::from_der(root.as_ref()).to_owned()).collect();
    TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&roots))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .build()
}
