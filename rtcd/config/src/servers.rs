//! `rtc.ice_servers`: strings or tables, from TOML or from JSON; and what a STUN or TURN URL is (RFC 7064, RFC 7065).
use super::error::{Problem, Warning};
use super::keys::ICE_SERVERS;
use super::source::{Origin, RawServer};
use super::types::{IceServer, IceUrl, Secret};
use serde_json::Value as Json;

/// Port of `stun:` and `turn:` without one.
const PORT: u16 = 3478;
/// Port of `stuns:` and `turns:` without one.
const TLS_PORT: u16 = 5349;

/// Servers as they are written, and what is wrong with the form.
#[derive(Default)]
pub struct Read {
    /// Entries of the right types; their URLs are not checked yet.
    pub servers: Vec<RawServer>,
    /// Names of fields that no entry has; they are ignored.
    pub warnings: Vec<Warning>,
    /// Entries that are neither a string nor a table of strings.
    pub problems: Vec<Problem>,
}

/// Reads an array of URLs or of tables.
pub fn read(json: &Json, origin: &Origin) -> Read {
    let mut out = Read::default();
    let Json::Array(entries) = json else {
        out.fail(origin, String::new(), "is not an array");
        return out;
    };
    for (index, entry) in entries.iter().enumerate() {
        match entry {
            Json::String(url) => out.servers.push(RawServer {
                urls: vec![url.clone()],
                username: String::new(),
                credential: String::new(),
                plain: true,
            }),
            Json::Object(fields) => {
                let server = out.table(index, fields, origin);
                out.servers.push(server);
            }
            _ => out.fail(origin, format!("[{index}]"), "is neither a URL nor a table"),
        }
    }
    out
}

impl Read {
    fn fail(&mut self, origin: &Origin, place: String, what: &str) {
        let allowed = ICE_SERVERS.expected().to_owned();
        let key = format!("{}{place}", ICE_SERVERS.path);
        self.problems.push(Problem { origin: origin.clone(), key, what: what.to_owned(), allowed });
    }

    fn table(&mut self, index: usize, fields: &serde_json::Map<String, Json>, origin: &Origin) -> RawServer {
        let mut server =
            RawServer { urls: Vec::new(), username: String::new(), credential: String::new(), plain: false };
        for (name, value) in fields {
            let place = format!("[{index}].{name}");
            match (name.to_ascii_lowercase().as_str(), value) {
                ("urls", Json::String(url)) => server.urls.push(url.clone()),
                ("urls", Json::Array(urls)) => {
                    for url in urls {
                        match url {
                            Json::String(url) => server.urls.push(url.clone()),
                            _ => self.fail(origin, place.clone(), "holds something that is not a string"),
                        }
                    }
                }
                ("username", Json::String(text)) => server.username.clone_from(text),
                ("credential", Json::String(text)) => server.credential.clone_from(text),
                ("username" | "credential", Json::Null) => {}
                ("urls" | "username" | "credential", _) => self.fail(origin, place, "has the wrong type"),
                _ => self.warnings.push(Warning {
                    origin: origin.clone(),
                    key: format!("{}{place}", ICE_SERVERS.path),
                    what: "unknown key, ignored; known are urls, username, credential".into(),
                }),
            }
        }
        server
    }
}

/// What makes an entry unusable, in words.
pub fn validate(raw: &RawServer) -> Result<IceServer, Vec<String>> {
    let mut wrong = Vec::new();
    let mut urls = Vec::new();
    for url in &raw.urls {
        match parse_url(url) {
            Ok(url) => urls.push(url),
            Err(why) => wrong.push(format!("{url:?}: {why}")),
        }
    }
    if raw.urls.is_empty() {
        wrong.push("has no URL".into());
    }
    if urls.iter().any(|url| url.turn) && urls.iter().any(|url| !url.turn) {
        wrong.push("mixes STUN and TURN, which must be entries of their own".into());
    }
    let credential = (!raw.credential.is_empty()).then(|| Secret::new(raw.credential.clone()));
    if wrong.is_empty() { Ok(IceServer { urls, username: raw.username.clone(), credential }) } else { Err(wrong) }
}

fn parse_url(text: &str) -> Result<IceUrl, &'static str> {
    let (scheme, rest) = text.trim().split_once(':').ok_or("has no scheme")?;
    let (turn, tls) = match scheme.to_ascii_lowercase().as_str() {
        "stun" => (false, false),
        "stuns" => (false, true),
        "turn" => (true, false),
        "turns" => (true, true),
        _ => return Err("is neither STUN nor TURN"),
    };
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    let tcp = match query {
        None => tls,
        // RFC 7064 knows no query for STUN; the reference takes it, and browsers' configurations are copied here.
        Some("transport=udp") => false,
        Some("transport=tcp") => true,
        Some(_) => return Err("the query is neither transport=udp nor transport=tcp"),
    };
    let default = if tls { TLS_PORT } else { PORT };
    let (host, port) = split_host_port(place.trim_start_matches("//")).ok_or("the host cannot be read")?;
    let port = match port {
        None => default,
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or("the port is not a number from 1 to 65535")?,
    };
    Ok(IceUrl { turn, tls, host: host.to_owned(), port, tcp })
}

/// Host without brackets, and the port if there is one; `None` for no host or characters that no host has.
pub fn split_host_port(place: &str) -> Option<(&str, Option<&str>)> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            match rest {
                "" => (host, None),
                rest => (host, Some(rest.strip_prefix(':')?)),
            }
        }
        None if place.parse::<std::net::Ipv6Addr>().is_ok() => (place, None),
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    let is_host = !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || "-._:".contains(c));
    is_host.then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(bool, bool, &str, u16, bool), &str>) {
        let found = parse_url(text);
        let found = found.as_ref().map(|url| (url.turn, url.tls, url.host.as_str(), url.port, url.tcp));
        assert_eq!(found.map_err(|why| *why), expected, "{text}");
    }

    #[test]
    fn urls_are_read_with_the_ports_of_their_schemes() {
        check("stun:stun.example.com", Ok((false, false, "stun.example.com", 3478, false)));
        check("stuns:s.example.com", Ok((false, true, "s.example.com", 5349, true)));
        check("turn:192.0.2.1:443?transport=tcp", Ok((true, false, "192.0.2.1", 443, true)));
        check("turns:[2001:db8::1]:99?transport=udp", Ok((true, true, "2001:db8::1", 99, false)));
        check("stun:s.example.com:3478?transport=udp", Ok((false, false, "s.example.com", 3478, false)));
        check("stun:s.example.com?transport=tcp", Ok((false, false, "s.example.com", 3478, true)));
        check("stun:[2001:db8::1]", Ok((false, false, "2001:db8::1", 3478, false)));
        check("http://a", Err("is neither STUN nor TURN"));
        check("stun", Err("has no scheme"));
        check("stun:", Err("the host cannot be read"));
        check("stun:a:0", Err("the port is not a number from 1 to 65535"));
        check("turn:a?transport=sctp", Err("the query is neither transport=udp nor transport=tcp"));
    }

    #[test]
    fn an_entry_may_not_mix_stun_and_turn() {
        let urls = vec!["stun:a".into(), "turn:b".into()];
        let raw = RawServer { urls, username: String::new(), credential: String::new(), plain: false };
        assert_eq!(validate(&raw), Err(vec!["mixes STUN and TURN, which must be entries of their own".into()]));
    }
}
