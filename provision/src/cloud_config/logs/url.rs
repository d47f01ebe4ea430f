//! The URL of a log server.
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv6Addr};
use ureq::http::Uri;

/// A log server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Target {
    /// Host name or address, IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether there is TLS.
    pub tls: bool,
}

impl Target {
    /// `host:port`, as a URL has it.
    pub fn authority(&self) -> String {
        match self.host.parse::<Ipv6Addr>() {
            Ok(host) => format!("[{host}]:{}", self.port),
            Err(_) => format!("{}:{}", self.host, self.port),
        }
    }
}

/// What may stand in the URL of one kind of server, and what is said when something else does.
pub struct Schemes {
    /// The scheme with TLS, and the port that it has when none is said.
    pub secure: &'static str,
    secure_port: u16,
    plain: &'static str,
    plain_port: u16,
    /// Whether `framing` is known.
    pub frames: bool,
    /// The keys, for messages.
    pub known: &'static str,
    /// What would be right.
    pub example: &'static str,
}

/// Ports of RFC 5425 (6514) and of syslog over TCP (601, RFC 3195).
pub const SYSLOG: Schemes = Schemes {
    secure: "tls",
    secure_port: 6514,
    plain: "tcp",
    plain_port: 601,
    frames: true,
    known: "known are url, ca, certificate, key, framing",
    example: "write tls://HOST or tcp://HOST, with :PORT if it is not 6514 or 601",
};
/// The port of systemd-journal-remote.
pub const UPLOAD: Schemes = Schemes {
    secure: "https",
    secure_port: 19532,
    plain: "http",
    plain_port: 19532,
    frames: false,
    known: "known are url, ca, certificate, key",
    example: "write https://HOST or http://HOST, with :PORT if it is not 19532",
};

type Why = (String, &'static str);

impl Schemes {
    /// Reads a URL.
    pub fn read(&self, text: &str) -> Result<Target, Why> {
        let why = |what: &str| (what.to_owned(), self.example);
        let Some((scheme, _)) = text.split_once("://") else { return Err(why("is no URL")) };
        let (tls, port) = match scheme.to_ascii_lowercase() {
            scheme if scheme == self.secure => (true, self.secure_port),
            scheme if scheme == self.plain => (false, self.plain_port),
            scheme if scheme == "udp" && self.frames => {
                return Err(why("is udp:, which loses lines without telling anybody, and is not offered"));
            }
            _ => return Err((format!("is no {}: or {}: URL", self.plain, self.secure), self.example)),
        };
        let uri: Uri = text.parse().map_err(|_| why("is no URL"))?;
        let authority = uri.authority().ok_or_else(|| why("names no host"))?;
        if authority.as_str().contains('@') {
            let instead = "servers are shown a certificate instead: certificate and key";
            return Err(("holds a user name or a password".to_owned(), instead));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() || text.contains('#') {
            return Err(why("has more than a host and a port"));
        }
        let host = authority.host();
        let (bare, is_literal) = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(literal) => (literal, true),
            None => (host, false),
        };
        let is_good = match is_literal {
            true => bare.parse::<Ipv6Addr>().is_ok(),
            false => is_host(bare),
        };
        if !is_good {
            return Err(why("names no host"));
        }
        // The part behind the host, if there is one, is `:` and a port.
        let port = match authority.as_str().get(host.len()..).and_then(|rest| rest.strip_prefix(':')) {
            None => port,
            Some(said) => said.parse().ok().filter(|port| *port != 0).ok_or_else(|| why("has a port that is none"))?,
        };
        Ok(Target { host: bare.to_owned(), port, tls })
    }
}

/// An IPv4 address or a name. Underscores are no part of host names, but in use.
fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        let plain = label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        plain && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    // What is made of digits and dots only is an address or nothing.
    if host.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return host.parse::<IpAddr>().is_ok();
    }
    host.len() <= 253 && host.strip_suffix('.').unwrap_or(host).split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_host_and_has_the_port_of_its_scheme() {
        let read = |schemes: &Schemes, text: &str| schemes.read(text).map_err(|(what, _)| what);
        let good = |schemes, text, host: &str, port, tls| {
            assert_eq!(read(schemes, text), Ok(Target { host: host.into(), port, tls }), "{text}");
        };
        good(&SYSLOG, "tls://logs.example.com", "logs.example.com", 6514, true);
        good(&SYSLOG, "TCP://logs.example.com/", "logs.example.com", 601, false);
        good(&SYSLOG, "tcp://192.0.2.1:514", "192.0.2.1", 514, false);
        good(&SYSLOG, "tls://[2001:db8::1]", "2001:db8::1", 6514, true);
        good(&UPLOAD, "https://[2001:db8::1]:443", "2001:db8::1", 443, true);
        good(&UPLOAD, "http://journal", "journal", 19532, false);
        let bad = |schemes, text, what: &str| {
            let found = read(schemes, text).expect_err(text);
            assert!(found.contains(what), "{text}: {found}");
        };
        bad(&SYSLOG, "udp://logs.example.com:514", "udp:");
        bad(&SYSLOG, "https://logs.example.com", "is no tcp: or tls: URL");
        bad(&UPLOAD, "tls://logs.example.com", "is no http: or https: URL");
        bad(&UPLOAD, "udp://logs.example.com", "is no http: or https: URL");
        bad(&SYSLOG, "logs.example.com:6514", "is no URL");
        bad(&SYSLOG, "tls://admin:secret@logs.example.com", "user name or a password");
        bad(&UPLOAD, "https://logs.example.com/upload", "more than a host");
        bad(&UPLOAD, "https://logs.example.com?a=b", "more than a host");
        bad(&SYSLOG, "tls://logs.example.com:70000", "");
        bad(&SYSLOG, "tls://logs.example.com:0", "port");
        bad(&SYSLOG, "tls://300.1.1.1", "names no host");
        bad(&SYSLOG, "tls://[::1", "");
        bad(&SYSLOG, "tls://-a.example.com", "names no host");
        bad(&SYSLOG, "tls://", "");
    }

    #[test]
    fn an_address_of_ipv6_is_shown_in_brackets() {
        let shown = |host: &str| Target { host: host.into(), port: 1, tls: true }.authority();
        assert_eq!([shown("::1"), shown("a.example")], ["[::1]:1", "a.example:1"]);
    }
}
