//! The configuration as the rest of the daemon sees it: every value is valid, nobody checks again.
use super::error::Problems;
use super::source::Origin;
use super::tls::{self, Certificate};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Everything that an operator can choose.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[api]`
    pub api: Api,
    /// `[rtc]`
    pub rtc: Rtc,
    /// `[store]`
    pub store: Store,
    /// `[logger]`
    pub logger: Logger,
}

/// The HTTP and WebSocket API.
#[derive(Clone, Debug)]
pub struct Api {
    /// Address and port of HTTP and WebSockets.
    pub listen: ListenAddress,
    /// `None`: plain HTTP.
    pub tls: Option<Tls>,
    /// Whether anybody may register a client.
    pub allow_self_registration: bool,
    /// The admin's key; `None` while there is no admin.
    pub admin_secret_key: Option<Secret>,
    /// How long a bearer token is good for.
    pub session_expiration: Duration,
}

/// A place to listen at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ListenAddress {
    /// `:port`: every address of the machine, IPv6 included where there is IPv6.
    Any(u16),
    /// An IPv4 or IPv6 address with its port.
    Address(SocketAddr),
    /// A host name, resolved when the listener is bound.
    Name(String, u16),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(port) => write!(f, ":{port}"),
            Self::Address(address) => write!(f, "{address}"),
            Self::Name(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

/// A certificate chain with its key, read and found to match.
#[derive(Clone)]
pub struct Tls {
    /// Where the certificate came from.
    pub cert_file: PathBuf,
    /// Where its key came from.
    pub cert_key: PathBuf,
    /// Ready for a TLS acceptor: TLS 1.2 and 1.3.
    pub server: Arc<rustls::ServerConfig>,
    pub(crate) certificate: Arc<Certificate>,
}

impl Tls {
    /// Reads the same files again.
    pub fn read_again(&self) -> Result<Self, Problems> {
        let read = |path: &Path| std::fs::read(path);
        match tls::load(&self.cert_file, &self.cert_key, &read) {
            Ok((server, certificate)) => Ok(Self { server, certificate, ..self.clone() }),
            Err(errors) => Err(Problems(errors.iter().map(|error| error.problem(&Origin::Default)).collect())),
        }
    }

    /// The server's own certificate (DER), as handshakes show it now.
    pub fn leaf(&self) -> Option<Vec<u8>> {
        self.certificate.leaf()
    }

    /// Handshakes by `self.server` show the certificate of `other` from now on; whether that is another one.
    pub fn take_certificate(&self, other: &Self) -> bool {
        self.certificate.take(&other.certificate)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("cert_file", &self.cert_file).field("cert_key", &self.cert_key).finish()
    }
}

/// Everything that participants connect to: addresses, ports, ICE and TURN.
#[derive(Clone, Debug)]
pub struct Rtc {
    /// Addresses of the UDP port; empty: all local ones.
    pub ice_address_udp: Vec<IpAddr>,
    /// Addresses of the TCP port; empty: all local ones.
    pub ice_address_tcp: Vec<IpAddr>,
    /// The UDP port for everybody.
    pub ice_port_udp: u16,
    /// The TCP port for everybody.
    pub ice_port_tcp: u16,
    /// What to advertise in place of local addresses.
    pub ice_host_override: Option<HostOverride>,
    /// What to advertise in place of our ports.
    pub ice_host_port_override: Option<PortOverride>,
    /// STUN and TURN servers.
    pub ice_servers: Vec<IceServer>,
    /// How time-limited TURN credentials are made, where a TURN server has none of its own.
    pub turn: Option<TurnStaticAuth>,
    /// Whether IPv6 addresses are used too.
    pub enable_ipv6: bool,
    /// UDP sockets for each local address; `None`: one for each CPU.
    pub udp_sockets_count: Option<NonZeroUsize>,
    /// Packets kept for each stream to answer NACKs: 0 or a power of two.
    pub nack_buffer_size: usize,
    /// Sessions that one client may have at a time.
    pub max_sessions_per_client: usize,
}

impl Rtc {
    /// Workers of the packet plane, one socket each. Configurations written for the reference ask for a hundred sockets
    /// a CPU; more than one a CPU buys nothing here.
    pub fn workers(&self) -> usize {
        let cpus = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        self.udp_sockets_count.map_or(cpus, |count| count.get().min(cpus))
    }
}

/// `rtc.ice_host_override`
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HostOverride {
    /// Advertised in place of every local address of its family.
    Address(IpAddr),
    /// The same, after it has been resolved.
    Name(String),
    /// Each internal address is advertised as its external one.
    Nat(Vec<NatPair>),
}

/// `external/internal`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NatPair {
    /// The address outside of the NAT, which participants are told.
    pub external: IpAddr,
    /// An address of this machine.
    pub internal: IpAddr,
}

/// `rtc.ice_host_port_override`
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PortOverride {
    /// One port, whatever the address.
    All(u16),
    /// One configuration for many machines: the entry of an own address counts.
    ByAddress(Vec<(IpAddr, u16)>),
}

/// One entry of `rtc.ice_servers`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IceServer {
    /// Either all STUN or all TURN.
    pub urls: Vec<IceUrl>,
    /// For TURN; empty when there is none.
    pub username: String,
    /// TURN password; `None` for STUN, and for TURN with `static_auth_secret`.
    pub credential: Option<Secret>,
}

/// `stun:host:port`, `turns:host:port?transport=tcp`, ...
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IceUrl {
    /// `turn:` or `turns:`, otherwise STUN.
    pub turn: bool,
    /// `stuns:` or `turns:`.
    pub tls: bool,
    /// A name or an address, without brackets.
    pub host: String,
    /// As given, or the scheme's own.
    pub port: u16,
    /// `?transport=tcp`, or the scheme's own habit.
    pub tcp: bool,
}

impl fmt::Display for IceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, s) = (if self.turn { "turn" } else { "stun" }, if self.tls { "s" } else { "" });
        match self.host.contains(':') {
            true => write!(f, "{scheme}{s}:[{}]:{}", self.host, self.port)?,
            false => write!(f, "{scheme}{s}:{}:{}", self.host, self.port)?,
        }
        // STUN is spoken over UDP whatever the URL says.
        match self.turn && self.tcp != self.tls {
            true => f.write_str(if self.tcp { "?transport=tcp" } else { "?transport=udp" }),
            false => Ok(()),
        }
    }
}

/// How to make TURN credentials that end by themselves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TurnStaticAuth {
    /// Shared with the TURN server.
    pub secret: Secret,
    /// How long a credential is good for.
    pub expiration: Duration,
}

/// Where registered clients are kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Store {
    /// A directory, made when it is missing.
    pub data_source: PathBuf,
}

/// Where the log goes; at least one place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Logger {
    /// Standard output, or the journal.
    pub console: Option<ConsoleLog>,
    /// A log file beside the console; `None`: switched off.
    pub file: Option<FileLog>,
}

/// The log on the console.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConsoleLog {
    /// JSON lines, not text.
    pub json: bool,
    /// The least important level that is written.
    pub level: LogLevel,
    /// ANSI colours by level; text only, JSON never has them.
    pub color: bool,
}

/// The log in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileLog {
    /// JSON lines, not text.
    pub json: bool,
    /// The least important level that is written.
    pub level: LogLevel,
    /// Relative to the working directory, or absolute.
    pub location: PathBuf,
}

/// How much is logged. PANIC and FATAL of the reference are `Error`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// A text that never shows itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Keeps a text out of `Debug` output.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into().into())
    }
    /// The text itself; compare it in constant time, log it never.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}
