//! The one list of all keys. Their doc comments are the manual: `rtcd.toml` and `CONFIGURATION.md` are made from them.

/// A key of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// `section.key`
    pub path: &'static str,
    /// The variable that overrides it.
    pub env: &'static str,
    /// The default, which also tells the type.
    pub default: Default,
    /// Shown as `<redacted>` wherever the configuration is printed.
    pub secret: bool,
    /// The manual, line by line.
    pub doc: &'static [&'static str],
}

/// A default, and with it the type of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Default {
    /// `true` or `false`.
    Bool(bool),
    /// An integer; its range is checked in `validate`.
    Integer(i64),
    /// A whole number that depends on the machine.
    ByCpus,
    /// A string, possibly empty.
    Text(&'static str),
    /// A text that may also be written as a number.
    TextOrInteger(&'static str),
    /// An array of servers, empty.
    NoServers,
}

impl Key {
    /// The table that the key is in.
    pub fn section(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(section, _)| section)
    }
    /// Its name in that table.
    pub fn name(&self) -> &'static str {
        self.path.rsplit_once('.').map_or(self.path, |(_, name)| name)
    }
    /// The type, in words.
    pub fn expected(&self) -> &'static str {
        match self.default {
            Default::Bool(_) => "a boolean",
            Default::Integer(_) | Default::ByCpus => "an integer",
            Default::Text(_) => "a string",
            Default::TextOrInteger(_) => "an integer or a string",
            Default::NoServers => "an array of URLs or of {urls, username, credential}",
        }
    }
}

/// The key with this path. Upper and lower case are the same, as they are to the reference.
pub fn find(path: &str) -> Option<&'static Key> {
    ALL.iter().find(|key| key.path.eq_ignore_ascii_case(path))
}

/// Keys that once meant something, or that guides still show, and why they do nothing.
pub const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("rtc.ice.port_range.min", "has no effect: all media goes through rtc.ice_port_udp and rtc.ice_port_tcp"),
    ("rtc.ice.port_range.max", "has no effect: all media goes through rtc.ice_port_udp and rtc.ice_port_tcp"),
];

/// The path of the known key that is most like this one.
pub fn nearest(path: &str) -> Option<&'static str> {
    let name = path.rsplit('.').next().unwrap_or(path);
    let likeness = |key: &Key| {
        let whole = strsim::normalized_damerau_levenshtein(key.path, path);
        // The right name in the wrong table.
        let last = 0.9 * strsim::normalized_damerau_levenshtein(key.name(), name);
        whole.max(last)
    };
    let best = ALL.iter().map(|key| (likeness(key), key.path)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= 0.7).then_some(best.1)
}

macro_rules! keys {
    ($($(#[doc = $doc:literal])+ $name:ident = $path:literal, $env:literal, $default:expr $(, $secret:ident)?;)+) => {
        use self::Default as D;
        $($(#[doc = $doc])+ pub const $name: Key = Key {
            path: $path, env: $env, default: $default, secret: keys!(@ $($secret)?), doc: &[$($doc),+],
        };)+
        /// All keys, in the order of the manual.
        pub const ALL: &[Key] = &[$($name),+];
    };
    (@) => { false };
    (@ secret) => { true };
}

keys! {
    /// Where the HTTP and WebSocket API listens: `host:port`, or `:port` for every address of the machine.
    /// The Calls plugin and Prometheus connect here; participants never do.
    LISTEN_ADDRESS = "api.http.listen_address", "RTCD_API_HTTP_LISTENADDRESS", D::Text(":8045");
    /// Whether the API speaks HTTPS (TLS 1.2 and 1.3).
    TLS_ENABLE = "api.http.tls.enable", "RTCD_API_HTTP_TLS_ENABLE", D::Bool(false);
    /// The certificate chain, a PEM file, the server's own certificate first. Needed when TLS is on.
    TLS_CERT_FILE = "api.http.tls.cert_file", "RTCD_API_HTTP_TLS_CERTFILE", D::Text("");
    /// The private key of the certificate, a PEM file. Needed when TLS is on.
    TLS_CERT_KEY = "api.http.tls.cert_key", "RTCD_API_HTTP_TLS_CERTKEY", D::Text("");
    /// Whether anybody who reaches the API may register a client.
    /// Turn it on only where nobody but Mattermost reaches the API.
    ALLOW_SELF_REGISTRATION = "api.security.allow_self_registration", "RTCD_API_SECURITY_ALLOWSELFREGISTRATION", D::Bool(false);
    /// Whether there is an admin, who may add and remove clients over the API; `rtcd client add ID` on the machine needs none.
    ENABLE_ADMIN = "api.security.enable_admin", "RTCD_API_SECURITY_ENABLEADMIN", D::Bool(false);
    /// The admin's password, of 16 characters or more. Needed when the admin is on.
    ADMIN_SECRET_KEY = "api.security.admin_secret_key", "RTCD_API_SECURITY_ADMINSECRETKEY", D::Text(""), secret;
    /// Minutes that a client's bearer token is good for, at least 1.
    SESSION_EXPIRATION = "api.security.session_cache.expiration_minutes", "RTCD_API_SECURITY_SESSIONCACHE_EXPIRATIONMINUTES", D::Integer(1440);
    /// Addresses for media over UDP, comma-separated IPs of this machine. Empty: all of them, also those that come later;
    /// `0.0.0.0` and `::`: all of their family.
    ICE_ADDRESS_UDP = "rtc.ice_address_udp", "RTCD_RTC_ICEADDRESSUDP", D::Text("");
    /// Addresses for media over TCP, in the same way.
    ICE_ADDRESS_TCP = "rtc.ice_address_tcp", "RTCD_RTC_ICEADDRESSTCP", D::Text("");
    /// The UDP port for all media, 80 to 49151. Participants must be able to reach it.
    ICE_PORT_UDP = "rtc.ice_port_udp", "RTCD_RTC_ICEPORTUDP", D::Integer(8443);
    /// The TCP port for media of participants whose network blocks UDP, 80 to 49151.
    ICE_PORT_TCP = "rtc.ice_port_tcp", "RTCD_RTC_ICEPORTTCP", D::Integer(8443);
    /// What participants are told in place of our local addresses, when those are not what they can reach:
    /// an IP, a host name (resolved again and again), or `external/internal,external/internal` pairs of IPs, of which only
    /// the external addresses are told. Of a name all addresses are told, or only this machine's own where it is known
    /// which those are: it is bound to them, or a STUN server of `ice_servers` sees it there.
    /// Empty: the public address that a STUN server of `ice_servers` reports for each local one, else the local one.
    ICE_HOST_OVERRIDE = "rtc.ice_host_override", "RTCD_RTC_ICEHOSTOVERRIDE", D::Text("");
    /// What participants are told in place of our ports, beside an external address: a port (80 to 49151), or
    /// `localIP/port,localIP/port`, of which the entry of an own address counts, so that many machines can share one
    /// configuration.
    ICE_HOST_PORT_OVERRIDE = "rtc.ice_host_port_override", "RTCD_RTC_ICEHOSTPORTOVERRIDE", D::TextOrInteger("");
    /// STUN and TURN servers: an array of URLs (`stun:`, `stuns:`, `turn:`, `turns:`), or of
    /// `{urls = ["turn:..."], username = "...", credential = "..."}`. One entry is all STUN or all TURN.
    /// A STUN server tells us our public address. From a TURN server (UDP, or `?transport=tcp`, or `turns:`) we get an
    /// address by which participants reach us who have no other way.
    /// The variable holds the same as JSON.
    ICE_SERVERS = "rtc.ice_servers", "RTCD_RTC_ICESERVERS", D::NoServers;
    /// Whether IPv6 addresses are used for media too: all but link-local, temporary and deprecated ones. On a machine
    /// without IPv6 it has no effect.
    ENABLE_IPV6 = "rtc.enable_ipv6", "RTCD_RTC_ENABLEIPV6", D::Bool(false);
    /// UDP sockets for each local address, at least 1. Default: one for each CPU; more has no effect.
    UDP_SOCKETS_COUNT = "rtc.udp_sockets_count", "RTCD_RTC_UDPSOCKETSCOUNT", D::ByCpus;
    /// Packets kept for each stream so that lost ones can be sent again: 0 (none) or a power of two from 32 to 8192.
    NACK_BUFFER_SIZE = "rtc.nack_buffer_size", "RTCD_RTC_NACKBUFFERSIZE", D::Integer(256);
    /// Sessions (participants in calls) that one client may have at a time, 1 to 1000000; further ones are refused. The
    /// client is a whole Mattermost installation: raise it for one with more people in calls at once.
    MAX_SESSIONS_PER_CLIENT = "rtc.max_sessions_per_client", "RTCD_RTC_MAXSESSIONSPERCLIENT", D::Integer(10_000);
    /// Accepted for the sake of old configurations; has no effect.
    NACK_DISABLE_COPY = "rtc.nack_disable_copy", "RTCD_RTC_NACKDISABLECOPY", D::Bool(true);
    /// The secret shared with TURN servers (their `static-auth-secret`), from which time-limited credentials are made.
    TURN_SECRET = "rtc.turn.static_auth_secret", "RTCD_RTC_TURNCONFIG_STATICAUTHSECRET", D::Text(""), secret;
    /// Minutes that such a credential is good for, 1 to 10079 (less than a week).
    TURN_EXPIRATION = "rtc.turn.credentials_expiration_minutes", "RTCD_RTC_TURNCONFIG_CREDENTIALSEXPIRATIONMINUTES", D::Integer(1440);
    /// The directory of the database of registered clients; made when it is missing. Choose one that survives a
    /// restart of the machine, else every client must register again. The clients in a database of Mattermost's rtcd that
    /// is there are taken over: its files stay as they are, and ours are in the directory `rtcd` beside them.
    DATA_SOURCE = "store.data_source", "RTCD_STORE_DATASOURCE", D::Text("/tmp/rtcd_db");
    /// Whether to log on the console (standard output), or to the journal when systemd runs the daemon.
    ENABLE_CONSOLE = "logger.enable_console", "RTCD_LOGGER_ENABLECONSOLE", D::Bool(true);
    /// Whether the console gets JSON lines in place of text.
    CONSOLE_JSON = "logger.console_json", "RTCD_LOGGER_CONSOLEJSON", D::Bool(false);
    /// The least important level on the console: PANIC, FATAL, ERROR, WARN, INFO, DEBUG or TRACE.
    CONSOLE_LEVEL = "logger.console_level", "RTCD_LOGGER_CONSOLELEVEL", D::Text("INFO");
    /// Whether text on the console is coloured.
    ENABLE_COLOR = "logger.enable_color", "RTCD_LOGGER_ENABLECOLOR", D::Bool(false);
    /// Whether to log to a file. At least one of console and file must be on.
    ENABLE_FILE = "logger.enable_file", "RTCD_LOGGER_ENABLEFILE", D::Bool(true);
    /// Whether the file gets JSON lines in place of text.
    FILE_JSON = "logger.file_json", "RTCD_LOGGER_FILEJSON", D::Bool(true);
    /// The least important level in the file: PANIC, FATAL, ERROR, WARN, INFO, DEBUG or TRACE.
    FILE_LEVEL = "logger.file_level", "RTCD_LOGGER_FILELEVEL", D::Text("DEBUG");
    /// The log file. Needed when the file is on.
    FILE_LOCATION = "logger.file_location", "RTCD_LOGGER_FILELOCATION", D::Text("rtcd.log");
}
