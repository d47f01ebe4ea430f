//! A value with its place and what it is to somebody who expects a certain kind. Other than in user data numbers and
//! booleans may be in quotes and texts without: those who write network configurations by program do not agree on it.
use super::model::{Address, MAX_ENTRIES, MAX_NAME, Mac};
use super::report::Report;
use crate::mistake::Mark;
use crate::yaml::{Entry, Node, Value, join};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

/// Longer than any name, address or driver.
const MAX_WORD: usize = 255;
/// RFC 791 and RFC 8200 want at least 68 and 1280; 9000 is a jumbo frame, 65535 the most that IPv4 can say.
const MTU: RangeInclusive<u32> = 68..=65535;

/// A value, with its path and place.
#[derive(Clone)]
pub(super) struct Field<'a> {
    /// `ethernets.eth0.dhcp4`
    pub path: String,
    /// Where it stands: the key of what is empty.
    pub mark: Mark,
    /// The value.
    pub node: &'a Node,
}

impl<'a> Field<'a> {
    /// The whole text.
    pub fn root(node: &'a Node) -> Self {
        Self { path: String::new(), mark: node.mark, node }
    }

    /// A key below it.
    pub fn key(&self, entry: &'a Entry) -> Self {
        let mark = if entry.value.is_empty() { entry.mark } else { entry.value.mark };
        Self { path: join(&self.path, &entry.key), mark, node: &entry.value }
    }

    /// The entries of a list below it.
    pub fn items(&self, items: &'a [Node]) -> Vec<Self> {
        let item =
            |(index, node): (usize, &'a Node)| Self { path: format!("{}[{index}]", self.path), mark: node.mark, node };
        items.iter().enumerate().map(item).collect()
    }

    /// The value of a key of a mapping, `None` when it is none or has no such key.
    pub fn get(&self, key: &str) -> Option<Self> {
        let entries = self.node.entries().ok()?;
        entries.iter().find(|entry| entry.key == key).map(|entry| self.key(entry))
    }
}

impl Report {
    /// One word without white space.
    pub fn word<'a>(&mut self, field: &Field<'a>) -> Option<&'a str> {
        let text = match &field.node.value {
            Value::Scalar(text, _) if !field.node.is_empty() => text.trim(),
            _ => {
                self.take(field, Err::<(), _>(field.node.not("one word")));
                return None;
            }
        };
        if text.is_empty()
            || text.len() > MAX_WORD
            || text.chars().any(|c| c.is_control() || c.is_whitespace() || !c.is_ascii())
        {
            self.wrong(field, "is not one word", format!("allowed: 1 to {MAX_WORD} visible ASCII characters"));
            return None;
        }
        Some(text)
    }

    /// Words in a list, or in one text with spaces or commas between them, each as a field of its own.
    pub fn words<'a>(&mut self, field: &Field<'a>) -> Vec<(&'a str, Field<'a>)> {
        let mut found = Vec::new();
        match &field.node.value {
            Value::Scalar(text, _) if !field.node.is_empty() => {
                let plain = |c: char| c.is_ascii_graphic() || c.is_ascii_whitespace();
                if text.len() > MAX_WORD * 4 || !text.chars().all(plain) {
                    self.wrong(field, "is not a list of words", "write each in a line of its own after \"- \"");
                    return found;
                }
                found.extend(
                    text.split([' ', ',', '\n', '\t'])
                        .filter(|word| !word.is_empty())
                        .map(|word| (word, field.clone())),
                );
            }
            Value::Scalar(..) => {}
            _ => {
                for item in self.list(field) {
                    found.extend(self.word(&item).map(|word| (word, item)));
                }
            }
        }
        self.bounded(field, found)
    }

    /// At most [`MAX_ENTRIES`].
    pub fn bounded<T>(&mut self, field: &Field<'_>, mut entries: Vec<T>) -> Vec<T> {
        if entries.len() > MAX_ENTRIES {
            self.wrong(field, format!("has more than {MAX_ENTRIES} entries"), "nothing needs so many");
            entries.truncate(MAX_ENTRIES);
        }
        entries
    }

    /// `true`, `yes`, `on`, in quotes or not, and their opposites.
    pub fn flag(&mut self, field: &Field<'_>) -> Option<bool> {
        if let Value::Scalar(text, _) = &field.node.value {
            match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => return Some(true),
                "false" | "no" | "off" | "0" => return Some(false),
                _ => {}
            }
        }
        self.take(field, field.node.boolean())
    }

    /// A whole number, in quotes or not.
    pub fn number(&mut self, field: &Field<'_>, range: RangeInclusive<u32>) -> Option<u32> {
        let word = self.word(field)?;
        let number =
            Some(word).filter(|word| word.bytes().all(|byte| byte.is_ascii_digit())).and_then(|word| word.parse().ok());
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let (first, last) = range.into_inner();
            self.wrong(field, "is no number that is allowed here", format!("allowed: {first} to {last}"));
        }
        number
    }

    pub fn mtu(&mut self, field: &Field<'_>) -> Option<u32> {
        self.number(field, MTU)
    }

    pub fn mac(&mut self, field: &Field<'_>) -> Option<Mac> {
        let word = self.word(field)?;
        let mac = mac(word);
        if mac.is_none() {
            self.wrong(field, "is no MAC address", "write it like 52:54:00:12:34:56");
        }
        mac
    }

    /// The name of an interface, as the kernel allows it and as it can stand in a file's name.
    pub fn interface_name(&mut self, field: &Field<'_>) -> Option<String> {
        let word = self.word(field)?;
        if let Err((what, hint)) = check_name(word) {
            self.wrong(field, what, hint);
            return None;
        }
        Some(word.to_owned())
    }

    pub fn ip(&mut self, field: &Field<'_>) -> Option<IpAddr> {
        let word = self.word(field)?;
        self.parse_ip(field, word)
    }

    pub fn ips(&mut self, field: &Field<'_>) -> Vec<IpAddr> {
        self.words(field).into_iter().filter_map(|(word, field)| self.parse_ip(&field, word)).collect()
    }

    fn parse_ip(&mut self, field: &Field<'_>, word: &str) -> Option<IpAddr> {
        match word.parse() {
            Ok(ip) => Some(ip),
            Err(_) => {
                self.wrong(field, "is no IP address", "write it like 192.0.2.1 or 2001:db8::1");
                None
            }
        }
    }

    /// `192.0.2.7/24`, or an address whose network `netmask` says.
    pub fn address(&mut self, field: &Field<'_>, word: &str, netmask: Option<&Field<'_>>) -> Option<Address> {
        let (ip, prefix) = word.split_once('/').map_or((word, None), |(ip, prefix)| (ip, Some(prefix)));
        let ip = self.parse_ip(field, ip)?;
        let prefix = match (prefix, netmask) {
            (Some(prefix), _) => prefix_length(prefix, ip),
            (None, Some(netmask)) => {
                let word = self.word(netmask)?;
                let Some(prefix) = prefix_length(word, ip) else {
                    self.wrong(netmask, "is no netmask", "write it like 255.255.255.0, or as a number of bits");
                    return None;
                };
                Some(prefix)
            }
            (None, None) => None,
        };
        let Some(prefix) = prefix else {
            let longest = Address::longest(ip);
            self.wrong(
                field,
                "does not say how long the prefix of its network is",
                format!("write it like {ip}/{}; 0 to {longest} bits", if longest == 32 { 24 } else { 64 }),
            );
            return None;
        };
        Some(Address { ip, prefix })
    }

    /// Where a route leads: `default`, `10.0.0.0/8`, or an address with a netmask; one address alone without.
    pub fn destination(&mut self, field: &Field<'_>, netmask: Option<&Field<'_>>) -> Option<Option<Address>> {
        let word = self.word(field)?;
        if word == "default" {
            return Some(None);
        }
        if !word.contains('/') && netmask.is_none() {
            let ip = self.parse_ip(field, word)?;
            let prefix = if ip.is_unspecified() { 0 } else { Address::longest(ip) };
            return Some(Some(Address { ip, prefix }));
        }
        self.address(field, word, netmask).map(Some)
    }

    /// Domains to search in.
    pub fn domains(&mut self, field: &Field<'_>) -> Vec<String> {
        let mut domains = Vec::new();
        for (word, field) in self.words(field) {
            let name = word.trim_end_matches('.').trim_start_matches('~');
            let label = |label: &str| {
                (1..=63).contains(&label.len())
                    && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
            };
            if word == "." || word == "~." || (name.len() <= 253 && name.split('.').all(label)) {
                domains.push(word.to_owned());
            } else {
                self.wrong(&field, "is no domain", "write it like example.com");
            }
        }
        domains
    }
}

/// Six pairs of hexadecimal digits, with colons or hyphens between them.
pub(super) fn mac(word: &str) -> Option<Mac> {
    let mut bytes = [0; 6];
    let mut pairs = word.split([':', '-']);
    for byte in &mut bytes {
        let pair = pairs.next().filter(|pair| pair.len() == 2 && pair.bytes().all(|c| c.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    pairs.next().is_none().then_some(Mac(bytes))
}

/// What keeps a word from being an interface's name (`dev_valid_name` in the kernel), and what to do.
pub(super) fn check_name(word: &str) -> Result<(), (&'static str, String)> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if word.len() > MAX_NAME {
        return Err((
            "is too long for an interface's name",
            format!("it has {} characters, allowed are {MAX_NAME}", word.len()),
        ));
    }
    if word.is_empty() || !word.chars().all(plain) || [".", "..", "lo", "all", "default"].contains(&word) {
        return Err(("is no name of an interface", "allowed: letters, digits, dot, hyphen and underscore".into()));
    }
    Ok(())
}

/// `24` or `255.255.255.0`
fn prefix_length(word: &str, ip: IpAddr) -> Option<u8> {
    if let (IpAddr::V4(_), Ok(mask)) = (ip, word.parse::<Ipv4Addr>()) {
        let bits = u32::from(mask);
        return (bits.leading_ones() + bits.trailing_zeros() >= 32 || bits == u32::MAX)
            .then_some(bits.leading_ones() as u8);
    }
    if let (IpAddr::V6(_), Ok(IpAddr::V6(mask))) = (ip, word.parse::<IpAddr>()) {
        let bits = u128::from(mask);
        return (bits.leading_ones() + bits.trailing_zeros() >= 128).then_some(bits.leading_ones() as u8);
    }
    let all_digits = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    word.parse().ok().filter(|prefix| all_digits && *prefix <= Address::longest(ip))
}
