//! The certificate and the key of the API, read and compared before anything else happens.
use super::error::Problem;
use super::keys;
use super::source::Origin;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// Why a certificate cannot be used. Never quotes what is in a file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate file cannot be read: its path, and why.
    #[error("{0} cannot be read: {1}")]
    Cert(PathBuf, String),
    /// The key file cannot be read: its path, and why.
    #[error("{0} cannot be read: {1}")]
    Key(PathBuf, String),
    /// Both are fine, but strangers.
    #[error("the certificate and the key do not belong together: {0}")]
    Pair(rustls::Error),
}

impl TlsError {
    /// Whether the key file is to blame.
    pub fn in_key(&self) -> bool {
        matches!(self, Self::Key(..))
    }
    /// What would be right.
    fn allowed(&self) -> &'static str {
        match self {
            Self::Cert(..) => "a readable PEM file with at least one certificate",
            Self::Key(..) => "a readable PEM file with a private key",
            Self::Pair(_) => "the certificate of the key in api.http.tls.cert_key",
        }
    }
}

impl TlsError {
    pub(crate) fn problem(&self, origin: &Origin) -> Problem {
        let key = if self.in_key() { &keys::TLS_CERT_KEY } else { &keys::TLS_CERT_FILE };
        let (what, allowed) = (self.to_string(), self.allowed().to_owned());
        Problem { origin: origin.clone(), key: key.path.into(), what, allowed }
    }
}

/// How a file is read: from disk, or from what is about to be written there.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// What handshakes show, until it is renewed.
#[derive(Debug)]
pub struct Certificate(RwLock<Arc<CertifiedKey>>);

impl Certificate {
    fn current(&self) -> Arc<CertifiedKey> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first of its chain.
    pub fn leaf(&self) -> Option<Vec<u8>> {
        self.current().cert.first().map(|certificate| certificate.to_vec())
    }

    /// Shows what `other` shows from now on; whether that is another certificate.
    pub fn take(&self, other: &Self) -> bool {
        let new = other.current();
        let last = std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), new.clone());
        last.cert != new.cert
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

/// Reads both files; every mistake is reported.
pub fn load(
    cert_file: &Path,
    cert_key: &Path,
    read: ReadFile<'_>,
) -> Result<(Arc<rustls::ServerConfig>, Arc<Certificate>), Vec<TlsError>> {
    let chain = read(cert_file).map_err(|error| error.to_string()).and_then(|pem| read_chain(&pem));
    let chain = chain.map_err(|why| TlsError::Cert(cert_file.to_owned(), why));
    let key = read(cert_key).map_err(|error| error.to_string()).and_then(|pem| read_key(&pem));
    let key = key.map_err(|why| TlsError::Key(cert_key.to_owned(), why));
    let (chain, key) = match (chain, key) {
        (Ok(chain), Ok(key)) => (chain, key),
        (chain, key) => return Err(chain.err().into_iter().chain(key.err()).collect()),
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let pair = |error| vec![TlsError::Pair(error)];
    let certificate = CertifiedKey::from_der(chain, key, &provider).map_err(pair)?;
    let certificate = Arc::new(Certificate(RwLock::new(Arc::new(certificate))));
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_no_client_auth()
        .with_cert_resolver(certificate.clone());
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((Arc::new(config), certificate))
}

fn read_chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|error| describe(&error))?;
    if chain.is_empty() { Err("no certificate in it".into()) } else { Ok(chain) }
}

fn read_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| describe(&error))
}

fn describe(error: &rustls::pki_types::pem::Error) -> String {
    use rustls::pki_types::pem::Error;
    match error {
        Error::NoItemsFound => "nothing of the right kind in it".into(),
        _ => "it is no PEM file".into(),
    }
}
