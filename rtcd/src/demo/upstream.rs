//! The way to the daemon: HTTP to register, then one WebSocket, as the Calls plugin does it.
use crate::auth::Secret;
use crate::ids::ClientId;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use axum::body::Body;
use axum::http::uri::Scheme;
use axum::http::{HeaderValue, Request, StatusCode, Uri, header};
use base64::Engine as _;
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, client::IntoClientRequest as _};

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// A plain or a TLS connection.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// The WebSocket to the daemon.
pub type Socket = WebSocketStream<Box<dyn Io>>;

/// Where the daemon is, and who we are to it.
pub struct Upstream {
    host: String,
    port: u16,
    tls: Option<TlsConnector>,
    /// The id that we register and log in with.
    pub client: ClientId,
    key: Secret,
}

impl Upstream {
    /// The daemon whose API has this URL.
    pub fn new(url: &str, client: ClientId, key: Secret) -> Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("--connect {url}"))?;
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => None,
            Some(scheme) if *scheme == Scheme::HTTPS => Some(tls_connector()?),
            _ => bail!("--connect {url}: a URL that begins with http:// or https:// is needed"),
        };
        let host = uri.host().ok_or_else(|| anyhow!("--connect {url}: no host"))?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if tls.is_some() { 443 } else { 8045 });
        Ok(Self { host, port, tls, client, key })
    }

    /// Dials; registers first when the daemon does not know us.
    pub async fn connect(&self) -> Result<Socket> {
        if let Some(socket) = self.dial().await? {
            return Ok(socket);
        }
        self.register().await?;
        self.dial().await?.context("the daemon refuses the key that it has just taken")
    }

    /// `None`: unauthorized.
    async fn dial(&self) -> Result<Option<Socket>> {
        let mut request = format!("ws://{}/ws", self.authority()).into_client_request()?;
        let pair = format!("{}:{}", self.client, self.key.expose());
        let mut basic: HeaderValue =
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)).parse()?;
        basic.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, basic);
        let stream = self.open().await?;
        match timeout(PATIENCE, tokio_tungstenite::client_async(request, stream)).await? {
            Ok((socket, _)) => Ok(Some(socket)),
            Err(tungstenite::Error::Http(answer)) if answer.status() == StatusCode::UNAUTHORIZED => Ok(None),
            Err(error) => Err(error).context("the daemon's WebSocket"),
        }
    }

    async fn register(&self) -> Result<()> {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake::<_, Body>(TokioIo::new(self.open().await?)).await?;
        let body = serde_json::json!({"clientID": self.client.as_str(), "authKey": self.key.expose()}).to_string();
        let request = Request::post("/register").header(header::HOST, self.authority()).body(Body::from(body))?;
        let exchange = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            anyhow::Ok((status, answer.into_body().collect().await?.to_bytes()))
        };
        let driven = async {
            // The connection ends behind the answer.
            tokio::pin!(connection);
            tokio::pin!(exchange);
            tokio::select! {
                answer = &mut exchange => answer,
                _ = &mut connection => exchange.await,
            }
        };
        let (status, body) = timeout(PATIENCE, driven).await??;
        ensure!(
            status == StatusCode::CREATED,
            "the daemon refuses to register client {}: {status} {}",
            self.client,
            String::from_utf8_lossy(&body)
        );
        Ok(())
    }

    async fn open(&self) -> Result<Box<dyn Io>> {
        let stream = timeout(PATIENCE, TcpStream::connect((self.host.as_str(), self.port))).await?;
        let stream = stream.with_context(|| format!("the daemon at {}", self.authority()))?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(self.host.clone())?;
        Ok(Box::new(timeout(PATIENCE, tls.connect(name, stream)).await??))
    }

    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

fn tls_connector() -> Result<TlsConnector> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
