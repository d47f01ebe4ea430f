//! Connections to the API, plain or TLS.
use super::PATIENCE;
use super::target::Target;
use crate::net::tls_client;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{HeaderMap, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// The longest answer that is read.
const MAX_BODY: usize = 1024 * 1024;

/// Something to speak HTTP over.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A connection, and the server's certificate under TLS.
pub struct Connection {
    /// Connected, past TLS if there is any.
    pub stream: Box<dyn Stream>,
    /// The server's own certificate, the first of its chain; `None` without TLS.
    pub certificate: Option<CertificateDer<'static>>,
}

/// An answer, read to its end.
pub struct Answer {
    /// The status code, not judged yet.
    pub status: StatusCode,
    /// All headers of the answer.
    pub headers: HeaderMap,
    /// At most as long as the checks read.
    pub body: Bytes,
}

/// Opens connections to one API.
pub struct Connector {
    /// Host, port and whether TLS is spoken there.
    pub target: Target,
    tls: Option<TlsConnector>,
}

impl Connector {
    /// Trusts the system's authorities, and those in the file `ca`.
    pub fn new(target: &Target, ca: Option<&Path>) -> Result<Self, String> {
        let tls = if target.tls { Some(tls_client::connector(ca)?) } else { None };
        Ok(Self { target: target.clone(), tls })
    }

    /// Trusts this certificate and no other.
    pub fn pinned(target: &Target, certificate: CertificateDer<'static>) -> Result<Self, String> {
        let config = tls_client::builder()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned(certificate, tls_client::provider())))
            .with_no_client_auth();
        Ok(Self { target: target.clone(), tls: Some(TlsConnector::from(Arc::new(config))) })
    }

    /// Connects over TCP, then TLS if it is wanted; the error says which failed.
    pub async fn connect(&self) -> io::Result<Connection> {
        within(async {
            let stream = TcpStream::connect((self.target.host.as_str(), self.target.port)).await?;
            let Some(tls) = &self.tls else {
                return Ok(Connection { stream: Box::new(stream), certificate: None });
            };
            let name = ServerName::try_from(self.target.host.clone()).map_err(io::Error::other)?;
            let stream = tls.connect(name, stream).await?;
            let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let certificate = certificates.first().map(|certificate| certificate.clone().into_owned());
            Ok(Connection { stream: Box::new(stream), certificate })
        })
        .await
    }

    /// `GET` of a path, over a connection of its own.
    pub async fn get(&self, path: &str) -> Result<Answer, String> {
        let connection = self.connect().await.map_err(|error| error.to_string())?;
        let request =
            Request::get(format!("{}{path}", self.target.prefix)).header(header::HOST, self.target.authority());
        let request = request.body(Full::default()).map_err(|error| error.to_string())?;
        exchange(connection.stream, request, PATIENCE).await
    }
}

/// One request and its answer, after which the connection ends.
pub async fn exchange(
    stream: impl Stream + 'static,
    mut request: Request<Full<Bytes>>,
    patience: Duration,
) -> Result<Answer, String> {
    request.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    let exchange = async {
        let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await?.to_bytes();
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Answer { status: head.status, headers: head.headers, body })
    };
    match timeout(patience, exchange).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(no_answer(patience).to_string()),
    }
}

/// Puts [`PATIENCE`] on something.
pub async fn within<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(no_answer(PATIENCE)))
}

fn no_answer(patience: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", patience.as_secs()))
}

/// Takes one certificate, whatever names and dates it has, from whoever has its key.
#[derive(Debug)]
struct Pinned(CertificateDer<'static>, Arc<CryptoProvider>);

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *certificate == self.0 {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.1.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.1.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.1.signature_verification_algorithms.supported_schemes()
    }
}
