//! The URL that goes into Mattermost's System Console.
use crate::check::target::{MediaTarget, Target};
use crate::config::servers::split_host_port;
use crate::config::{Config, ListenAddress, Secret};

/// `--host`; the port is 0 when none is given.
pub(super) fn host(text: &str) -> Result<MediaTarget, String> {
    let wrong = "expected a host name or an address, and a port where it is another than the API's";
    let (host, port) = split_host_port(text).ok_or(wrong)?;
    let port = port.map_or(Ok(0), str::parse).map_err(|_| wrong)?;
    if host.is_empty() || !host.chars().all(|c| c.is_ascii_alphanumeric() || ".-:_".contains(c)) {
        return Err(wrong.into());
    }
    Ok(MediaTarget { host: host.to_owned(), port })
}

/// `http://ID:KEY@host:8045`
pub(super) fn url(
    target: Option<&Target>,
    host: Option<&MediaTarget>,
    config: Option<&Config>,
    id: &str,
    key: &Secret,
) -> String {
    let reached = match (target, config) {
        (Some(target), _) => target.clone(),
        (None, Some(config)) => listens(config),
        (None, None) => listens(&Config::default()),
    };
    let reached = match host {
        Some(MediaTarget { host, port: 0 }) => Target { host: host.clone(), ..reached },
        Some(MediaTarget { host, port }) => Target { host: host.clone(), port: *port, ..reached },
        None => reached,
    };
    let scheme = if reached.tls { "https" } else { "http" };
    format!("{scheme}://{}:{}@{}{}", escape(id), escape(key.expose()), reached.authority(), reached.prefix)
}

fn listens(config: &Config) -> Target {
    let (host, port) = match &config.api.listen {
        ListenAddress::Address(address) if !address.ip().is_unspecified() => (address.ip().to_string(), address.port()),
        ListenAddress::Address(address) => (this_machine(), address.port()),
        ListenAddress::Any(port) => (this_machine(), *port),
        ListenAddress::Name(name, port) => (name.clone(), *port),
    };
    Target { tls: config.api.tls.is_some(), host, port, prefix: String::new() }
}

fn this_machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".into(),
        name => name.into(),
    }
}

/// Everything but what RFC 3986, section 2.3 calls unreserved.
fn escape(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_has_id_and_key_and_the_place_where_mattermost_finds_us() {
        let key = Secret::new("the-key");
        let mut config = Config::default();
        let by_config = |config: &Config, host: Option<&str>| {
            let host = host.map(|text| super::host(text).expect("a host"));
            url(None, host.as_ref(), Some(config), "a client", &key)
        };
        assert_eq!(by_config(&config, Some("calls.example")), "http://a%20client:the-key@calls.example:8045");
        assert_eq!(by_config(&config, Some("[2001:db8::1]:80")), "http://a%20client:the-key@[2001:db8::1]:80");
        assert_eq!(by_config(&config, None), format!("http://a%20client:the-key@{}:8045", this_machine()));
        config.api.listen = ListenAddress::Address(([192, 0, 2, 1], 9000).into());
        assert_eq!(by_config(&config, None), "http://a%20client:the-key@192.0.2.1:9000");
        let target: Target = "https://a.example/rtcd/".parse().expect("a URL");
        assert_eq!(url(Some(&target), None, None, "id", &key), "https://id:the-key@a.example:8045/rtcd");
        assert!(["", "a b", "u@h", "a:x", "a:99999"].iter().all(|text| host(text).is_err()));
    }
}
