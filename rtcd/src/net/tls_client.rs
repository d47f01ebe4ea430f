//! TLS as a client: whom we trust.
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ConfigBuilder, WantsVerifier};
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// Trusts the authorities of the system as they are now, and those in the file `ca`.
pub fn connector(ca: Option<&Path>) -> Result<TlsConnector, String> {
    let mut roots = rustls::RootCertStore::empty();
    // Without a system's store there is still --ca; what is missing then shows as an unknown issuer.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca {
        let read = |error| format!("{}: {}", path.display(), why_not_pem(&error));
        let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let (added, _) = roots.add_parsable_certificates(certificates.map_err(read)?);
        if added == 0 {
            return Err(format!("{}: no certificate in it", path.display()));
        }
    }
    let config = builder()?.with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Why a PEM file could not be read.
pub fn why_not_pem(error: &rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::Io(error) => {
            error.to_string().split(" (os error").next().unwrap_or_default().to_owned()
        }
        rustls::pki_types::pem::Error::NoItemsFound => "there is no certificate in it".into(),
        _ => "it is no PEM file with a certificate".into(),
    }
}

/// What does the arithmetic.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The beginning of a configuration.
pub fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, String> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    builder.map_err(|error| error.to_string())
}
