//! The way to the daemon: HTTP to register, then one WebSocket, as the Calls plugin does it.
use crate::auth::Secret;
use crate::check::target::Target;
use crate::ids::ClientId;
use crate::net::tls_client;
use anyhow::{Context as _, Result, anyhow, ensure};
use axum::body::Body;
use axum::http::{HeaderValue, Request, StatusCode, header};
use base64::Engine as _;
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use rustls::CertificateError;
use rustls::pki_types::ServerName;
use std::io;
use std::path::Path;
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
    target: Target,
    tls: Option<TlsConnector>,
    /// The id that we register and log in with.
    pub client: ClientId,
    key: Secret,
}

impl Upstream {
    /// The daemon whose API is there; over TLS its certificate is issued by an authority of the system, or of the file `ca`.
    pub fn new(target: Target, ca: Option<&Path>, client: ClientId, key: Secret) -> Result<Self> {
        ensure!(target.tls || ca.is_none(), "--ca is for a daemon at https://, and --connect has http://");
        let connector = || tls_client::connector(ca).map_err(|error| anyhow!("--ca {error}"));
        let tls = if target.tls { Some(connector()?) } else { None };
        Ok(Self { target, tls, client, key })
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
        let mut request = format!("ws://{}{}/ws", self.target.authority(), self.target.prefix).into_client_request()?;
        let pair = format!("{}:{}", self.client, self.key.expose());
        let mut basic: HeaderValue =
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)).parse()?;
        basic.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, basic);
        let stream = self.open().await?;
        match timeout(PATIENCE, tokio_tungstenite::client_async(request, stream)).await? {
            Ok((socket, _)) => Ok(Some(socket)),
            Err(tungstenite::Error::Http(answer)) if answer.status() == StatusCode::UNAUTHORIZED => Ok(None),
            Err(error) => Err(error).with_context(|| format!("the WebSocket of {}", self.place())),
        }
    }

    async fn register(&self) -> Result<()> {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake::<_, Body>(TokioIo::new(self.open().await?)).await?;
        let body = serde_json::json!({"clientID": self.client.as_str(), "authKey": self.key.expose()}).to_string();
        let request = Request::post(format!("{}/register", self.target.prefix))
            .header(header::HOST, self.target.authority())
            .body(Body::from(body))?;
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
        let host = self.target.host.as_str();
        let stream = timeout(PATIENCE, TcpStream::connect((host, self.target.port)));
        let stream = stream.await.with_context(|| format!("{} takes no connection", self.place()))?;
        let stream = stream.with_context(|| self.place())?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(host.to_owned()).with_context(|| format!("{host} is no name for TLS"))?;
        let secured = timeout(PATIENCE, tls.connect(name, stream)).await;
        let secured = secured.with_context(|| format!("{} does not answer over TLS", self.place()))?;
        Ok(Box::new(secured.map_err(|error| anyhow!("{}: {}", self.place(), of_tls(&error)))?))
    }

    fn place(&self) -> String {
        format!("the daemon at {}", self.target.authority())
    }
}

/// What is wrong, and what to do where that is known.
fn of_tls(error: &io::Error) -> String {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "its certificate is issued by nobody who is trusted here; name the authority's file with --ca".into()
        }
        Some(rustls::Error::InvalidMessage(_)) => "it does not speak TLS; is it http://?".into(),
        _ => format!("TLS: {error}"),
    }
}
