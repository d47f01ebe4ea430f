//! What is checked: the URL of the API, and the place of the media port.
use crate::config::servers::split_host_port;
use std::fmt;
use std::str::FromStr;

/// Port of the API without one in the URL.
const API_PORT: u16 = 8045;
/// Port for media without one.
const MEDIA_PORT: u16 = 8443;

/// Where the HTTP API is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// `https:`
    pub tls: bool,
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    /// As given, or the API's own.
    pub port: u16,
    /// What comes before `/version`, without a slash at the end.
    pub prefix: String,
}

impl Target {
    /// `host:port`, as it goes into the `Host` header.
    pub fn authority(&self) -> String {
        authority(&self.host, self.port)
    }
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

impl FromStr for Target {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return Err("expected http://host:port or https://host:port"),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("no credentials in the URL: use --client-id and --auth-key-file");
        }
        let prefix = path.trim_end_matches('/').to_owned();
        if !prefix.chars().all(|c| c.is_ascii_graphic() && !"?#".contains(c)) {
            return Err("the path cannot be read");
        }
        let (host, port) = host_and_port(authority, API_PORT)?;
        Ok(Self { tls, host, port, prefix })
    }
}

/// Where participants send media.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MediaTarget {
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    /// For UDP and TCP.
    pub port: u16,
}

impl MediaTarget {
    /// The usual port of a host.
    pub fn on(host: &str) -> Self {
        Self { host: host.to_owned(), port: MEDIA_PORT }
    }
}

impl fmt::Display for MediaTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&authority(&self.host, self.port))
    }
}

impl FromStr for MediaTarget {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        host_and_port(text, MEDIA_PORT).map(|(host, port)| Self { host, port })
    }
}

fn host_and_port(text: &str, default: u16) -> Result<(String, u16), &'static str> {
    let (host, port) = split_host_port(text).ok_or("the host cannot be read")?;
    let port = port.map_or(Some(default), |port| port.parse().ok().filter(|port| *port != 0));
    Ok((host.to_owned(), port.ok_or("the port is not a number from 1 to 65535")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_with_the_ports_of_the_daemon() {
        let check = |text: &str, expected: Option<(bool, &str, &str)>| {
            let found = text.parse::<Target>().ok();
            let found = found.map(|target| (target.tls, target.authority(), target.prefix));
            assert_eq!(found, expected.map(|(tls, host, prefix)| (tls, host.to_owned(), prefix.to_owned())), "{text}");
        };
        check("http://a", Some((false, "a:8045", "")));
        check("https://a.example:99/rtcd/", Some((true, "a.example:99", "/rtcd")));
        check("http://[::1]:1", Some((false, "[::1]:1", "")));
        check("a:8045", None);
        check("http://u:p@a", None);
        check("http://a:0", None);
        check("http://a/x y", None);
        assert_eq!("b:1".parse(), Ok(MediaTarget { host: "b".into(), port: 1 }));
        assert_eq!("b".parse(), Ok(MediaTarget::on("b")));
    }
}
