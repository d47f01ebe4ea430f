//! The ways to the clients: the API with the admin's key, the control socket of a daemon on this machine, and the store itself
//! when no daemon runs.
use crate::api::SOCKET;
use crate::auth::{Auth, AuthError, Claim, Source};
use crate::check::connect::{Answer, Connector, exchange};
use crate::check::fault::Fault;
use crate::check::local;
use crate::check::target::Target;
use crate::config::{Config, Secret};
use crate::exit_code::ExitCode;
use crate::store::{Store, StoreError, place};
use base64::Engine as _;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, StatusCode};
use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};
use serde_json::{Value, json};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;

/// How long an answer may take: a daemon lets a flood of logins wait for 10 s.
const PATIENCE: Duration = Duration::from_secs(15);
/// The same key as in the daemon's configuration.
const ADMIN_KEY_VARIABLE: &str = crate::config::keys::ADMIN_SECRET_KEY.env;

/// Why a command failed, and what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: ExitCode,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { code: ExitCode::Failure, text: text.into() }
    }
    fn unavailable(text: impl Into<String>) -> Self {
        Self { code: ExitCode::Unavailable, text: text.into() }
    }
}

/// How the clients are reached.
pub(crate) enum Way {
    Api(Connector, Secret),
    Socket(PathBuf),
    Store(Auth),
}

impl Way {
    /// The API at this URL.
    pub(crate) fn over_api(url: &Target, ca: Option<&Path>, key_file: Option<&Path>) -> Result<Self, Failure> {
        let key = admin_key(key_file, std::env::var(ADMIN_KEY_VARIABLE).ok().map(Secret::new))?;
        let key = key.ok_or_else(|| Failure {
            code: ExitCode::Usage,
            text: format!("give the admin's key by --admin-key-file or in {ADMIN_KEY_VARIABLE}"),
        })?;
        Ok(Self::Api(Connector::new(url, ca).map_err(Failure::new)?, key))
    }

    /// What the configuration of this machine leads to: the daemon that runs, else the store.
    pub(super) async fn on_this_machine(config: &Config, key_file: Option<&Path>) -> Result<Self, Failure> {
        match Self::running(config, key_file).await? {
            Ok(way) => Ok(way),
            Err(address) => store(&config.store.data_source, &address),
        }
    }

    /// The same without the store, for what only a running daemon can do.
    pub(crate) async fn on_running_daemon(config: &Config, key_file: Option<&Path>) -> Result<Self, Failure> {
        Self::running(config, key_file).await?.map_err(|address| {
            Failure::unavailable(format!(
                "rtcd does not answer at {address}: start it, or name its configuration by --config"
            ))
        })
    }

    /// The running daemon, or the address of the API where none answers.
    async fn running(config: &Config, key_file: Option<&Path>) -> Result<Result<Self, String>, Failure> {
        let data_source = &config.store.data_source;
        let socket = place(data_source).join(SOCKET);
        let refused = match UnixStream::connect(&socket).await {
            Ok(_) => return Ok(Ok(Self::Socket(socket))),
            Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
        };
        let key = admin_key(key_file, config.api.admin_secret_key.clone())?;
        let connector = local::api(config).map_err(Failure::new)?;
        let address = connector.target.authority();
        match (connector.connect().await, key) {
            (Ok(_), Some(key)) => Ok(Ok(Self::Api(connector, key))),
            (_, _) if refused => Err(Failure::new(format!(
                "{} is for root and for the user that rtcd runs as: run this command with sudo",
                socket.display()
            ))),
            (Ok(_), None) => Err(Failure::new(format!(
                "something answers at {address}, but there is no {}: run this command with the configuration and the \
                 environment that rtcd has (--config, store.data_source), or restart an rtcd that is older than this program",
                socket.display()
            ))),
            (Err(_), _) => Ok(Err(address)),
        }
    }

    /// A link to the check page, as the API says it.
    pub(crate) async fn check_link(&self, seconds: Option<u64>) -> Result<Value, Failure> {
        let body = match seconds {
            Some(seconds) => json!({"validSeconds": seconds.to_string()}),
            None => json!({}),
        };
        self.request("POST", "/check-links", Some(&body), "").await
    }

    /// How many clients the daemon that runs on this store has.
    pub(super) async fn asked_here(data_source: &Path) -> Option<usize> {
        let socket = place(data_source).join(SOCKET);
        UnixStream::connect(&socket).await.ok()?;
        Some(Self::Socket(socket).list().await.ok()?.len())
    }

    pub(super) async fn add(&self, id: &str, key: &Secret) -> Result<(), Failure> {
        match self {
            Self::Store(auth) => {
                let added = auth.register(&id.into(), key, Source::default(), Claim::Registered).await;
                added.map_err(|error| of_store(&error, id))
            }
            _ => self.post("/register", id, Some(key)).await,
        }
    }

    pub(super) async fn remove(&self, id: &str) -> Result<(), Failure> {
        match self {
            Self::Store(auth) => auth.unregister(&id.into()).await.map_err(|error| of_store(&error, id)),
            _ => self.post("/unregister", id, None).await,
        }
    }

    pub(super) async fn rotate(&self, id: &str, key: &Secret) -> Result<(), Failure> {
        match self {
            Self::Store(auth) => {
                auth.rotate(&id.into(), key, Source::default()).await.map_err(|error| of_store(&error, id))
            }
            _ => self.post("/rotate", id, Some(key)).await,
        }
    }

    pub(super) async fn list(&self) -> Result<Vec<String>, Failure> {
        if let Self::Store(auth) = self {
            let clients = auth.clients().await.map_err(|error| of_store(&error, ""))?;
            return Ok(clients.iter().map(|client| client.as_str().to_owned()).collect());
        }
        let answer = self.request("GET", "/clients", None, "").await?;
        let ids = answer["clients"].as_array().ok_or_else(|| Failure::new("the answer names no clients"))?;
        Ok(ids.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    async fn post(&self, path: &str, id: &str, key: Option<&Secret>) -> Result<(), Failure> {
        let body = match key {
            Some(key) => json!({"clientID": id, "authKey": key.expose()}),
            None => json!({"clientID": id}),
        };
        self.request("POST", path, Some(&body), id).await.map(drop)
    }

    async fn request(&self, method: &str, path: &str, body: Option<&Value>, id: &str) -> Result<Value, Failure> {
        let mut request = Request::builder().method(method).header(CONTENT_TYPE, "application/json");
        request = match self {
            Self::Api(Connector { target, .. }, key) => {
                let pair = base64::engine::general_purpose::STANDARD.encode(format!("admin:{}", key.expose()));
                let mut basic = HeaderValue::try_from(format!("Basic {pair}"))
                    .map_err(|_| Failure::new("the admin's key cannot be sent"))?;
                basic.set_sensitive(true);
                let request = request.uri(format!("{}{path}", target.prefix)).header(HOST, target.authority());
                request.header(AUTHORIZATION, basic)
            }
            _ => request.uri(path).header(HOST, "rtcd"),
        };
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(Full::from(Bytes::from(body))).map_err(|error| Failure::new(error.to_string()))?;
        let (place, answer) = match self {
            Self::Api(connector, _) => {
                let place = connector.target.authority();
                let connection = connector.connect().await;
                let connection =
                    connection.map_err(|fault| cannot_connect(&place, &fault, &fault.advice(connector.target.port)))?;
                (place, exchange(connection.stream, request, PATIENCE).await)
            }
            Self::Socket(path) => {
                let place = path.display().to_string();
                let stream = UnixStream::connect(path).await;
                let stream =
                    stream.map_err(|error| cannot_connect(&place, &Fault::of(&error), "has rtcd just ended?"))?;
                (place, exchange(stream, request, PATIENCE).await)
            }
            Self::Store(_) => return Err(Failure::new("the store answers no requests")),
        };
        judge(&answer.map_err(|fault| Failure::unavailable(format!("{place}: {fault}")))?, &place, id)
    }
}

/// The admin's key from a file, else what is configured.
fn admin_key(file: Option<&Path>, configured: Option<Secret>) -> Result<Option<Secret>, Failure> {
    match file {
        Some(path) => secret_of("--admin-key-file", path).map(Some),
        None => Ok(configured.filter(|key| !key.expose().is_empty())),
    }
}

/// The one line of a file that an option names.
pub(super) fn secret_of(option: &str, path: &Path) -> Result<Secret, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Secret::new(text.trim_end_matches(['\r', '\n']))),
        Err(error) => Err(Failure::new(format!("{option} {}: {error}", path.display()))),
    }
}

fn cannot_connect(place: &str, fault: &Fault, advice: &str) -> Failure {
    Failure::unavailable(format!("{place}: {fault}: {advice}"))
}

/// What an answer means to the admin.
fn judge(answer: &Answer, place: &str, id: &str) -> Result<Value, Failure> {
    let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let said = json["error"].as_str().unwrap_or("no reason given");
    Err(Failure::new(match answer.status {
        StatusCode::OK | StatusCode::CREATED if json.is_object() => return Ok(json),
        StatusCode::UNAUTHORIZED => format!(
            "{place} refuses the admin's key: it must be api.security.admin_secret_key there, and \
             api.security.enable_admin must be true"
        ),
        StatusCode::FORBIDDEN => format!("{place}: {said}: give the admin's key, and not that of a client"),
        StatusCode::NOT_FOUND => format!(
            "{place} has no such call: it is no rtcd, or one that is older than this program (Mattermost's own can add and \
             remove alone)"
        ),
        StatusCode::SERVICE_UNAVAILABLE => format!("{place}: {said}"),
        _ if said.contains("already registered") => already_there(id),
        _ if said.contains("not found") => not_there(id),
        StatusCode::INTERNAL_SERVER_ERROR => format!("{place}: {said}: look into rtcd's log"),
        status => format!("{place}: {said} (status {status})"),
    }))
}

fn already_there(id: &str) -> String {
    format!("{id} is registered already: `rtcd client rotate {id}` gives it another key")
}

fn not_there(id: &str) -> String {
    format!("{id} is not registered: `rtcd client list` shows who is")
}

/// No daemon runs: the store itself, as the user whose it is.
fn store(data_source: &Path, address: &str) -> Result<Way, Failure> {
    let shown = data_source.display();
    let about = std::fs::metadata(data_source).map_err(|error| {
        Failure::new(format!(
            "rtcd does not answer at {address}, and its store.data_source {shown} cannot be opened: {error}: start rtcd, or \
             name its configuration by --config"
        ))
    })?;
    if geteuid().is_root() && about.uid() != 0 {
        // What is written must be the daemon's.
        let (uid, gid) = (Uid::from_raw(about.uid()), Gid::from_raw(about.gid()));
        let dropped = setgroups(&[gid]).and_then(|()| setresgid(gid, gid, gid)).and_then(|()| setresuid(uid, uid, uid));
        dropped.map_err(|error| Failure::new(format!("becoming the user that owns {shown}: {error}")))?;
    }
    let store = Store::open(data_source).map_err(|error| match &error {
        StoreError::Reference { .. } => Failure { code: ExitCode::Config, text: error.to_string() },
        _ => Failure::new(error.to_string()),
    })?;
    eprintln!("rtcd does not run: this is about its store, {shown}");
    Ok(Way::Store(Auth::new(store, None, Duration::ZERO)))
}

fn of_store(error: &AuthError, id: &str) -> Failure {
    Failure::new(match error {
        AuthError::Store(StoreError::AlreadyThere) => already_there(id),
        AuthError::Store(StoreError::NotFound) => not_there(id),
        AuthError::Store(StoreError::Io(cause)) => format!("the store failed: {cause}"),
        error => error.to_string(),
    })
}
