//! Connections to the API, plain or TLS.
use super::PATIENCE;
use super::fault::{Fault, TlsFault};
use super::target::Target;
use crate::net::tls_client;
use futures_util::future::select_ok;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{HeaderMap, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
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

/// Puts [`PATIENCE`] on one step.
async fn patiently<T>(step: impl Future<Output = io::Result<T>>) -> Result<T, Fault> {
    timeout(PATIENCE, step).await.map_err(|_| Fault::TimedOut)?.map_err(Fault::from)
}

/// All addresses of a host: at least one.
pub async fn lookup(host: &str, port: u16) -> Result<Vec<SocketAddr>, Fault> {
    let found = timeout(PATIENCE, lookup_host((host, port))).await.map_err(|_| Fault::Unresolvable { silent: true })?;
    let addresses: Vec<_> = found.map_err(|error| Fault::of_lookup(&error))?.collect();
    if addresses.is_empty() { Err(Fault::Unresolvable { silent: false }) } else { Ok(addresses) }
}

/// The first address that takes a connection; they are tried at the same time, so that one that drops everything does not
/// hide another. The fault is that of the one which failed last.
async fn dial(host: &str, port: u16) -> Result<TcpStream, Fault> {
    let dialling =
        lookup(host, port).await?.into_iter().map(|address| Box::pin(patiently(TcpStream::connect(address))));
    select_ok(dialling).await.map(|(stream, _)| stream)
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
            .with_custom_certificate_verifier(Arc::new(Known {
                certificate: Some(certificate),
                provider: tls_client::provider(),
            }))
            .with_no_client_auth();
        Ok(Self { target: target.clone(), tls: Some(TlsConnector::from(Arc::new(config))) })
    }

    /// Connects over TCP, then TLS if it is wanted.
    pub async fn connect(&self) -> Result<Connection, Fault> {
        let Target { host, port, .. } = &self.target;
        let stream = dial(host, *port).await?;
        let Some(tls) = &self.tls else {
            return Ok(Connection { stream: Box::new(stream), certificate: None });
        };
        match self.handshake(tls, stream).await {
            Err(fault @ Fault::Tls(TlsFault::NothingInCommon | TlsFault::NotTheFile)) => Err(fault),
            Err(fault @ Fault::Tls(_)) => Err(match self.presented().await {
                Some(certificate) => fault.with_certificate(&certificate),
                None => fault,
            }),
            Err(Fault::Closed | Fault::Reset | Fault::Silent) if self.speaks_plain_http().await => Err(Fault::NoTls),
            other => other,
        }
    }

    async fn handshake(&self, tls: &TlsConnector, stream: TcpStream) -> Result<Connection, Fault> {
        let name = ServerName::try_from(self.target.host.clone())
            .map_err(|_| Fault::Other("the host is no name that a certificate could have".into()))?;
        let stream = timeout(PATIENCE, tls.connect(name, stream)).await.map_err(|_| Fault::Silent)??;
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let certificate = certificates.first().map(|certificate| certificate.clone().into_owned());
        Ok(Connection { stream: Box::new(stream), certificate })
    }

    /// `GET` of a path, over a connection of its own.
    pub async fn get(&self, path: &str) -> Result<Answer, Fault> {
        let connection = self.connect().await?;
        let answer = exchange(connection.stream, self.request(path)?, PATIENCE).await;
        let is_odd = match &answer {
            // So do web servers whose port is for TLS: nginx, and Go's.
            Ok(answer) => answer.status == StatusCode::BAD_REQUEST,
            Err(fault) => matches!(fault, Fault::NotHttp | Fault::Closed | Fault::Reset),
        };
        if is_odd && self.tls.is_none() && self.presented().await.is_some() {
            return Err(Fault::NeedsTls);
        }
        answer
    }

    fn request(&self, path: &str) -> Result<Request<Full<Bytes>>, Fault> {
        let request =
            Request::get(format!("{}{path}", self.target.prefix)).header(header::HOST, self.target.authority());
        request.body(Full::default()).map_err(|_| Fault::Other("the URL cannot be sent".into()))
    }

    /// The certificate that is shown there, whoever vouches for it; nothing is sent over such a connection.
    async fn presented(&self) -> Option<CertificateDer<'static>> {
        let config = tls_client::builder().ok()?.dangerous();
        let anything = Arc::new(Known { certificate: None, provider: tls_client::provider() });
        let config = config.with_custom_certificate_verifier(anything).with_no_client_auth();
        let stream = dial(&self.target.host, self.target.port).await.ok()?;
        self.handshake(&TlsConnector::from(Arc::new(config)), stream).await.ok()?.certificate
    }

    async fn speaks_plain_http(&self) -> bool {
        let Ok(stream) = dial(&self.target.host, self.target.port).await else { return false };
        let Ok(request) = self.request("/version") else { return false };
        exchange(stream, request, PATIENCE).await.is_ok()
    }
}

/// One request and its answer, after which the connection ends.
pub async fn exchange(
    stream: impl Stream + 'static,
    mut request: Request<Full<Bytes>>,
    patience: Duration,
) -> Result<Answer, Fault> {
    request.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    let died_of = Arc::new(OnceLock::new());
    let is_http = Arc::new(OnceLock::new());
    let stream = Watched { stream, died_of: died_of.clone(), is_http: is_http.clone() };
    let exchange = async {
        let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
            Ok(error) => (*error).into(),
            Err(_) => Fault::Other(format!("the answer is longer than {MAX_BODY} bytes")),
        })?;
        Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
    };
    let answer = timeout(patience, exchange).await.unwrap_or(Err(Fault::Silent));
    answer.map_err(|fault| match (is_http.get(), died_of.get()) {
        (Some(false), _) => Fault::NotHttp,
        (_, Some(kind)) => Fault::of(&io::Error::from(*kind)),
        _ => fault,
    })
}

/// Remembers what a connection has died of, and how it began to speak: hyper may call a reset an end, and so it may the word of
/// a server that speaks first.
struct Watched<S> {
    stream: S,
    died_of: Arc<OnceLock<io::ErrorKind>>,
    is_http: Arc<OnceLock<bool>>,
}

impl<S> Watched<S> {
    fn watch<T>(&self, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &done {
            let _ = self.died_of.set(error.kind());
        }
        done
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let done = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Some(first) = buf.filled().get(before..).filter(|bytes| !bytes.is_empty()) {
            let _ = self.is_http.set(first.iter().zip(b"HTTP/").all(|(said, expected)| said == expected));
        }
        self.watch(done)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(done)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Takes one certificate, whatever names and dates it has, from whoever has its key.
#[derive(Debug)]
struct Known {
    /// `None`: any, to look at it.
    certificate: Option<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.certificate.as_ref().is_none_or(|known| known == certificate) {
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
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
