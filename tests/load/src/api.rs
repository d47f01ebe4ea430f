//! The HTTP side of a server: registering, and dialling its WebSocket.
use anyhow::{Context as _, Result, anyhow, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, http::Uri};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// How long any answer may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// The connection of a Mattermost node.
pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A server, and who we are to it.
#[derive(Clone)]
pub struct Api {
    /// `http://host:port` or `https://..`.
    pub url: String,
    /// Which Mattermost we are.
    pub client_id: String,
    auth_key: String,
    /// The client was made for this run, and goes with it.
    for_this_run: bool,
}

impl Api {
    /// A server by its address. Without a key a client of its own is registered for the run.
    pub fn new(url: &str, client_id: Option<String>, auth_key: Option<String>) -> Result<Self> {
        let uri: Uri =
            url.parse().with_context(|| format!("--url {url}: not an address like http://127.0.0.1:8045"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
            bail!("--url {url}: must begin with http:// or https:// and name the host of the API");
        }
        let for_this_run = auth_key.is_none();
        let client_id = match client_id {
            Some(id) => id,
            None if for_this_run => format!("load-{}", random(6)?),
            None => "load".into(),
        };
        let auth_key = match auth_key {
            Some(key) => key,
            None => random(32)?,
        };
        Ok(Self { url: url.trim_end_matches('/').into(), client_id, auth_key, for_this_run })
    }

    /// Where the API listens.
    pub fn address(&self) -> Result<SocketAddr> {
        let uri: Uri = self.url.parse()?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let found =
            (host, port).to_socket_addrs().with_context(|| format!("--url {}: {host} does not resolve", self.url))?;
        found.into_iter().next().with_context(|| format!("--url {}: {host} has no address", self.url))
    }

    /// Dials; when the credentials are refused, registers and dials again.
    pub async fn connect(&self) -> Result<Socket> {
        if self.for_this_run {
            self.register().await?;
        }
        match self.dial().await? {
            Ok(socket) => return Ok(socket),
            Err(_) if !self.for_this_run => self.register().await?,
            Err(_) => {}
        }
        self.dial().await?.map_err(|status| {
            anyhow!("{} registered `{}` and then refused it with {status}; its log says why", self.url, self.client_id)
        })
    }

    /// One attempt; a refusal is its status.
    async fn dial(&self) -> Result<Result<Socket, u16>> {
        let url = self.url.replacen("http", "ws", 1) + "/ws";
        let mut request = url.as_str().into_client_request()?;
        let mut value = tungstenite::http::HeaderValue::from_str(&self.basic())?;
        value.set_sensitive(true);
        request.headers_mut().insert("authorization", value);
        let dialled = tokio::time::timeout(PATIENCE, tokio_tungstenite::connect_async(request)).await;
        match dialled.map_err(|_| anyhow!("{url}: no answer in {} s", PATIENCE.as_secs()))? {
            Ok((socket, _)) => Ok(Ok(socket)),
            // Mattermost's own rtcd refuses with an empty 200.
            Err(tungstenite::Error::Http(answer)) if matches!(answer.status().as_u16(), 200 | 401) => {
                Ok(Err(answer.status().as_u16()))
            }
            Err(tungstenite::Error::Http(answer)) => {
                bail!("{url}: status {}: is this the API of an rtcd?", answer.status())
            }
            Err(error) => {
                Err(error).with_context(|| format!("{url}: does the server run, and is this its API's port?"))
            }
        }
    }

    async fn register(&self) -> Result<()> {
        let (status, answer) =
            self.post("/register", None, &[("clientID", &self.client_id), ("authKey", &self.auth_key)]).await?;
        let (url, id) = (&self.url, &self.client_id);
        match status {
            201 => Ok(()),
            401 | 403 => bail!(
                "{url}: clients may not register themselves (api.security.allow_self_registration is off); register one on the \
                 server (`rtcd client add {id}`) and give its key in RTCD_LOAD_AUTH_KEY or --auth-key-file, with --client-id {id}"
            ),
            _ if answer.contains("already registered") => bail!(
                "{url}: client `{id}` has another key than the one that was given; give its own, or another --client-id"
            ),
            _ if answer.contains("not long enough") => {
                bail!("the key is too short: {url} wants 32 characters at least")
            }
            _ => bail!("{url}/register: status {status}: {}", answer.trim()),
        }
    }

    /// Takes the client of this run from the server again.
    pub async fn disconnect(&self) -> Result<()> {
        if self.for_this_run {
            let (status, answer) =
                self.post("/unregister", Some(self.basic()), &[("clientID", &self.client_id)]).await?;
            if status != 200 {
                bail!("client `{}` is still registered: status {status}: {}", self.client_id, answer.trim());
            }
        }
        Ok(())
    }

    fn basic(&self) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", self.client_id, self.auth_key)))
    }

    async fn post(&self, path: &str, authorization: Option<String>, fields: &[(&str, &str)]) -> Result<(u16, String)> {
        let url = format!("{}{path}", self.url);
        let body = serde_json::Value::from_iter(fields.iter().copied()).to_string();
        let request = move || -> Result<(u16, String)> {
            let config = ureq::config::Config::builder()
                .timeout_global(Some(PATIENCE))
                .http_status_as_error(false)
                .tls_config(tls())
                .build();
            let mut request = config.new_agent().post(&url).content_type("application/json");
            if let Some(authorization) = authorization {
                request = request.header("authorization", authorization);
            }
            let mut answer = request.send(body).with_context(|| format!("{url}: no answer; does the server run?"))?;
            let text = answer.body_mut().with_config().limit(64 << 10).read_to_string().unwrap_or_default();
            Ok((answer.status().as_u16(), text))
        };
        tokio::task::spawn_blocking(request).await?
    }
}

/// The authorities that this machine trusts.
fn tls() -> TlsConfig {
    let found = rustls_native_certs::load_native_certs();
    let roots: Vec<_> = found.certs.iter().map(|der| Certificate::from_der(der.as_ref()).to_owned()).collect();
    TlsConfig::builder().root_certs(RootCerts::new_with_certs(&roots)).build()
}

/// So many random bytes in hexadecimal.
pub fn random(bytes: usize) -> Result<String> {
    let mut random = vec![0; bytes];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| anyhow!("this machine has no random numbers"))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
