//! The certificate of the page on the media port: the API's own, or one that is made in memory. A browser gives the microphone
//! to nobody without TLS; of a certificate that it does not know it warns once.
use crate::config::Tls;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long one that we made is valid; another one is made long before.
const VALID: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Names that are shown to the admin.
const MAX_NAMES: usize = 2;

/// What the page is served with.
pub struct Certificates {
    /// Of the API, which it reads again at a reload, and the names in it.
    api: Option<(Arc<ServerConfig>, Vec<String>)>,
    /// Ours, with when it was made and for which addresses.
    own: Mutex<Option<Own>>,
}

struct Own {
    made: Instant,
    addresses: Vec<IpAddr>,
    server: Arc<ServerConfig>,
}

impl Certificates {
    /// The API's if it has TLS.
    pub fn new(api: Option<&Tls>) -> Self {
        let names = |tls: &Tls| {
            let certificate = CertificateDer::from_pem_file(&tls.cert_file).ok();
            let mut names = certificate.map(|der| crate::check::fault::names_of(&der)).unwrap_or_default();
            names.retain(|name| !name.contains('*') && name.parse::<IpAddr>().is_err());
            names.truncate(MAX_NAMES);
            names
        };
        Self { api: api.map(|tls| (tls.server.clone(), names(tls))), own: Mutex::default() }
    }

    /// Whether no browser can know it.
    pub fn is_self_signed(&self) -> bool {
        self.api.is_none()
    }

    /// Names that browsers may know it by.
    pub fn names(&self) -> &[String] {
        self.api.as_ref().map_or(&[], |(_, names)| names)
    }

    /// There is one from now on, for these addresses.
    pub fn prepare(&self, addresses: impl Iterator<Item = IpAddr>) -> Result<(), rcgen::Error> {
        if self.api.is_some() {
            return Ok(());
        }
        let mut addresses: Vec<_> = addresses.collect();
        addresses.sort_unstable();
        addresses.dedup();
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let is_good = |own: &Own| own.addresses == addresses && own.made.elapsed() < VALID / 2;
        if !own.as_ref().is_some_and(is_good) {
            *own = Some(Own { made: Instant::now(), server: make(&addresses)?, addresses });
        }
        Ok(())
    }

    /// Ready for an acceptor, once it has been prepared.
    pub fn server(&self) -> Option<Arc<ServerConfig>> {
        match &self.api {
            Some((server, _)) => Some(server.clone()),
            None => self.own.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|own| own.server.clone()),
        }
    }
}

fn make(addresses: &[IpAddr]) -> Result<Arc<ServerConfig>, rcgen::Error> {
    let mut params = CertificateParams::new(addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "rtcd check page");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = SystemTime::now();
    // Clocks differ.
    (params.not_before, params.not_after) = ((now - DAY).into(), (now + VALID).into());
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![certificate.into()], key));
    server.map(Arc::new).map_err(|_| rcgen::Error::CouldNotParseKeyPair)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_one_is_made_when_the_addresses_are_others() {
        let certificates = Certificates::new(None);
        assert!(certificates.server().is_none() && certificates.is_self_signed());
        let addresses = |last: u8| [IpAddr::from([192, 0, 2, last]), IpAddr::from([192, 0, 2, 1])];
        let prepared = |last| {
            certificates.prepare(addresses(last).into_iter()).expect("made");
            certificates.server().expect("there")
        };
        let first = prepared(2);
        assert!(Arc::ptr_eq(&first, &prepared(2)));
        assert!(!Arc::ptr_eq(&first, &prepared(3)));
    }
}
