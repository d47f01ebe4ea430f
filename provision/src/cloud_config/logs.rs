//! `logs`: where the machine's journal goes beside its own disk.
mod url;

use super::Reader;
use super::machine::check_certificates;
use crate::yaml::{Entry, join};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
pub use url::Target;
use url::{SYSLOG, Schemes, UPLOAD};

const SINKS: &str = "known are syslog, upload";

/// Where the journal goes. Without it, it stays on the machine.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Logs {
    /// RFC 5424 over TCP or TLS, by `provision syslog`.
    pub syslog: Option<Syslog>,
    /// The journal as it is over HTTP, by systemd-journal-upload.
    pub upload: Option<Sink>,
}

/// `logs.syslog`. Its JSON is what `provision syslog` reads.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Syslog {
    /// The server.
    #[serde(flatten)]
    pub sink: Sink,
    /// How a message ends.
    pub framing: Framing,
}

/// A log server and how to speak to it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sink {
    /// Host, port, and whether there is TLS.
    #[serde(flatten)]
    pub target: Target,
    /// PEM certificates of authorities, in place of those that the machine trusts.
    pub ca: Option<String>,
    /// What the machine shows of itself.
    pub client: Option<Client>,
}

/// The machine's own certificate for mutual TLS.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// PEM: the certificate, then its intermediates.
    pub certificate: String,
    /// PEM. A secret.
    pub key: String,
}

/// How one message is told from the next (RFC 6587, 3.4).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Framing {
    /// The length goes before it; the only one over TLS by RFC 5425.
    #[default]
    OctetCounting,
    /// A line feed goes behind it, for servers that know no better.
    Newline,
}

impl Reader {
    pub(super) fn logs(&mut self, entry: &Entry) {
        self.wanted.logs = Logs::default();
        let read = entry.value.entries();
        for field in self.log.take_entry(entry, &entry.key, read).into_iter().flatten() {
            let path = join(&entry.key, &field.key);
            match field.key.as_str() {
                "syslog" => {
                    let (sink, framing) = self.sink(field, &path, &SYSLOG);
                    self.wanted.logs.syslog = sink.zip(framing).map(|(sink, framing)| Syslog { sink, framing });
                }
                "upload" => self.wanted.logs.upload = self.sink(field, &path, &UPLOAD).0,
                _ => self.log.mistake(field.mark, &path, "unknown key", SINKS),
            }
        }
    }

    /// What is known of one server; `None` after a mistake, which has been noted.
    fn sink(&mut self, entry: &Entry, path: &str, schemes: &Schemes) -> (Option<Sink>, Option<Framing>) {
        let (mut url, mut ca, mut framing) = (None, Some(None), Some(Framing::default()));
        let (mut certificate, mut key) = (None, None);
        let Some(fields) = self.log.take_entry(entry, path, entry.value.entries()) else { return (None, None) };
        for field in fields {
            let path = join(path, &field.key);
            match field.key.as_str() {
                "url" => {
                    let text = self.log.take_entry(field, &path, field.value.line());
                    url = Some((field, text.and_then(|text| self.checked(field, &path, schemes.read(text)))));
                }
                "ca" => ca = self.pem(field, &path, check_certificates).map(Some),
                "certificate" => certificate = Some((field, self.pem(field, &path, check_chain))),
                "key" => key = Some((field, self.pem(field, &path, check_key))),
                "framing" if schemes.frames => {
                    let text = self.log.take_entry(field, &path, field.value.line());
                    framing = text.and_then(|text| self.checked(field, &path, read_framing(text)));
                }
                _ => self.log.mistake(field.mark, &path, "unknown key", schemes.known),
            }
        }
        let client = self.client(path, certificate, key);
        let path = join(path, "url");
        let Some((field, target)) = url else {
            self.log.mistake(entry.mark, &path, "is missing", schemes.example);
            return (None, framing);
        };
        let shows = matches!(ca, Some(Some(_))) || matches!(client, Some(Some(_)));
        if shows && target.as_ref().is_some_and(|target| !target.tls) {
            let hint = format!("write {}://, or leave the certificates out", schemes.secure);
            self.log.mistake(field.value.mark, &path, "is without TLS, and there are certificates", hint);
        }
        let sink = target.zip(ca).zip(client).map(|((target, ca), client)| Sink { target, ca, client });
        (sink, framing)
    }

    /// The pair, if there is one; `None` after a mistake.
    fn client(&mut self, path: &str, certificate: Option<Half<'_>>, key: Option<Half<'_>>) -> Option<Option<Client>> {
        let mut wrong = |field: &Entry, mark, what: &str, hint: &str| {
            self.log.mistake(mark, &join(path, &field.key), what, hint);
            None
        };
        match (certificate, key) {
            (None, None) => Some(None),
            (Some((field, _)), None) => wrong(field, field.mark, "has no key", "give its key, too"),
            (None, Some((field, _))) => wrong(field, field.mark, "has no certificate", "give its certificate, too"),
            (Some((_, certificate)), Some((field, key))) => {
                let client = Client { certificate: certificate?, key: key? };
                if client.fits() {
                    return Some(Some(client));
                }
                let hint = "give the key that the certificate was made for";
                wrong(field, field.value.mark, "is not that of the certificate", hint)
            }
        }
    }

    fn pem(&mut self, field: &Entry, path: &str, check: impl Fn(&str) -> Result<(), Why>) -> Option<String> {
        let text = self.log.take_entry(field, path, field.value.text())?;
        self.checked(field, path, check(text).map(|()| format!("{}\n", text.trim())))
    }

    fn checked<T, W: Into<String>>(
        &mut self,
        field: &Entry,
        path: &str,
        read: Result<T, (W, impl Into<String>)>,
    ) -> Option<T> {
        read.map_err(|(what, hint)| self.log.mistake(field.value.mark, path, what, hint)).ok()
    }
}

type Why = (&'static str, &'static str);
/// A certificate or a key, if it could be read.
type Half<'a> = (&'a Entry, Option<String>);

fn read_framing(text: &str) -> Result<Framing, Why> {
    match text {
        "octet-counting" => Ok(Framing::OctetCounting),
        "newline" => Ok(Framing::Newline),
        _ => Err(("is no framing that is known", "allowed: octet-counting, newline")),
    }
}

fn check_chain(pem: &str) -> Result<(), Why> {
    const HINT: &str = "paste the whole of it, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----";
    if pem.contains("PRIVATE KEY") {
        return Err(("holds a private key", "that goes into key"));
    }
    match CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>() {
        Ok(chain) if !chain.is_empty() => Ok(()),
        _ => Err(("is no PEM certificate", HINT)),
    }
}

fn check_key(pem: &str) -> Result<(), Why> {
    const HINT: &str = "paste the whole of it, from -----BEGIN PRIVATE KEY----- to -----END PRIVATE KEY-----";
    if pem.contains("ENCRYPTED") {
        return Err(("has a passphrase", "nobody is there to type it: give the key without one"));
    }
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map(drop).map_err(|_| ("is no PEM private key", HINT))
}

impl Client {
    /// The chain and the key; `None` when they are no PEM.
    pub fn read(&self) -> Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes()).collect::<Result<_, _>>().ok()?;
        Some((chain, PrivateKeyDer::from_pem_slice(self.key.as_bytes()).ok()?))
    }

    /// Whether the key is that of the certificate.
    fn fits(&self) -> bool {
        let Some((chain, key)) = self.read() else { return false };
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        // A kind of key that is unknown here cannot be compared.
        !matches!(CertifiedKey::from_der(chain, key, &provider), Err(rustls::Error::InconsistentKeys(_)))
    }
}
