//! Values of metadata: each is checked where it comes in, and a bad one is an error that names its field.
use super::SourceError;
use crate::metadata::Sourced;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest instance id: Azure's and Oracle's have some 100 characters.
const ID_LIMIT: usize = 256;
/// RFC 1035, 2.3.4.
const HOSTNAME_LIMIT: usize = 253;
/// A 16384-bit RSA key has 2.8 KiB.
const SSH_KEY_LIMIT: usize = 8 << 10;
/// More keys than an admin gives to a machine.
const SSH_KEYS_LIMIT: usize = 64;

/// The values of one source.
#[derive(Clone, Copy)]
pub(super) struct Checked(pub &'static str);

impl Checked {
    pub(super) fn ipv4(self, field: impl Into<String>, text: &str) -> Result<Sourced<Ipv4Addr>, SourceError> {
        let field = field.into();
        match without_prefix(text).parse() {
            Ok(address) => Ok(Sourced::new(address, field)),
            Err(_) => Err(SourceError::field(self.0, field, "is not an IPv4 address")),
        }
    }

    pub(super) fn ipv6(self, field: impl Into<String>, text: &str) -> Result<Sourced<Ipv6Addr>, SourceError> {
        let field = field.into();
        match without_prefix(text).parse() {
            Ok(address) => Ok(Sourced::new(address, field)),
            Err(_) => Err(SourceError::field(self.0, field, "is not an IPv6 address")),
        }
    }

    /// What the source says the machine is called, which need not be a host name: no machine is lost for its name, and
    /// what is made of it is decided where all names are known.
    pub(super) fn hostname(field: impl Into<String>, text: &str) -> Sourced<String> {
        let name = text.trim().trim_end_matches('.');
        let name = name.chars().take(HOSTNAME_LIMIT).map(|c| if c.is_control() { ' ' } else { c }).collect();
        Sourced::new(name, field)
    }

    pub(super) fn instance_id(self, field: impl Into<String>, text: &str) -> Result<String, SourceError> {
        let id = text.trim();
        if (1..=ID_LIMIT).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_graphic()) {
            return Ok(id.to_owned());
        }
        Err(SourceError::field(self.0, field, format!("is not an id: 1 to {ID_LIMIT} visible ASCII characters")))
    }

    pub(super) fn ssh_keys<'a>(
        self,
        field: &str,
        keys: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<String>, SourceError> {
        let mut checked = Vec::new();
        for key in keys.into_iter().map(str::trim).filter(|key| !key.is_empty()) {
            if key.len() > SSH_KEY_LIMIT || key.chars().any(char::is_control) {
                return Err(SourceError::field(self.0, field, "has a key that is not one line of at most 8 KiB"));
            }
            if checked.len() == SSH_KEYS_LIMIT {
                return Err(SourceError::field(self.0, field, format!("has more than {SSH_KEYS_LIMIT} keys")));
            }
            checked.push(key.to_owned());
        }
        Ok(checked)
    }

    pub(super) fn base64(self, field: &str, text: &[u8]) -> Result<Vec<u8>, SourceError> {
        // Panels wrap long lines.
        let packed: Vec<u8> = text.iter().copied().filter(|c| !c.is_ascii_whitespace()).collect();
        STANDARD.decode(packed).map_err(|_| SourceError::field(self.0, field, "is not base64"))
    }

    pub(super) fn utf8(self, field: &str, bytes: Vec<u8>) -> Result<String, SourceError> {
        String::from_utf8(bytes).map_err(|_| SourceError::field(self.0, field, "is not UTF-8"))
    }
}

/// Some clouds say which network an address is in: `192.0.2.1/24`.
fn without_prefix(address: &str) -> &str {
    address.trim().split('/').next().unwrap_or_default()
}

/// An address that the world can reach, unlike `fe80::` and `fd00::`.
pub(super) fn global(address: Option<Sourced<Ipv6Addr>>) -> Option<Sourced<Ipv6Addr>> {
    address.filter(|said| !said.value.is_unicast_link_local() && !said.value.is_unique_local())
}

/// A document of metadata.
pub(crate) struct Document {
    source: Checked,
    /// As it is called in field names: `meta_data.json`.
    name: &'static str,
    value: Value,
}

impl Document {
    pub(crate) fn json(source: &'static str, name: &'static str, body: &[u8]) -> Result<Self, SourceError> {
        match serde_json::from_slice(body) {
            Ok(value) => Ok(Self { source: Checked(source), name, value }),
            Err(error) => Err(SourceError::field(source, name, format!("is not JSON: {error}"))),
        }
    }

    pub(crate) fn yaml(source: &'static str, name: &'static str, body: Vec<u8>) -> Result<Self, SourceError> {
        let source = Checked(source);
        let text = source.utf8(name, body)?;
        match super::yaml::parse(&text) {
            Ok(value) => Ok(Self { source, name, value }),
            Err(why) => Err(SourceError::field(source.0, name, format!("is not YAML: {why}"))),
        }
    }

    /// A place in the document, `interfaces/0/ipv4`; absent, null and empty are the same.
    pub(super) fn get(&self, path: &str) -> Option<&Value> {
        let value = self.value.pointer(&format!("/{path}"))?;
        (!value.is_null() && value.as_str() != Some("")).then_some(value)
    }

    /// The elements of a list; none when it is no list.
    pub(super) fn list(&self, path: &str) -> &[Value] {
        self.get(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    pub(super) fn field(&self, path: &str) -> String {
        format!("{}/{path}", self.name)
    }

    /// A text; numbers count as one.
    pub(super) fn text(&self, path: &str) -> Result<Option<String>, SourceError> {
        match self.get(path) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(SourceError::field(self.source.0, self.field(path), "is not a text")),
        }
    }

    pub(super) fn ipv4(&self, path: &str) -> Result<Option<Sourced<Ipv4Addr>>, SourceError> {
        self.text(path)?.map(|text| self.source.ipv4(self.field(path), &text)).transpose()
    }

    pub(super) fn ipv6(&self, path: &str) -> Result<Option<Sourced<Ipv6Addr>>, SourceError> {
        self.text(path)?.map(|text| self.source.ipv6(self.field(path), &text)).transpose()
    }

    pub(super) fn hostname(&self, path: &str) -> Result<Option<Sourced<String>>, SourceError> {
        Ok(self.text(path)?.map(|text| Checked::hostname(self.field(path), &text)))
    }

    pub(super) fn instance_id(&self, path: &str) -> Result<Option<String>, SourceError> {
        self.text(path)?.map(|text| self.source.instance_id(self.field(path), &text)).transpose()
    }

    /// Keys as a list, as the values of a mapping, or as lines of one text.
    pub(super) fn ssh_keys(&self, path: &str) -> Result<Vec<String>, SourceError> {
        let keys: Vec<&str> = match self.get(path) {
            Some(Value::Array(keys)) => keys.iter().filter_map(Value::as_str).collect(),
            Some(Value::Object(keys)) => keys.values().filter_map(Value::as_str).collect(),
            Some(Value::String(keys)) => keys.lines().collect(),
            _ => Vec::new(),
        };
        self.source.ssh_keys(&self.field(path), keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Checked = Checked("Any");

    #[test]
    fn a_name_is_kept_as_it_is_said_and_bounded() {
        assert_eq!(Checked::hostname("f", " rtcd-1.example.org. ").value, "rtcd-1.example.org");
        assert_eq!(Checked::hostname("f", "a\nb_\u{e4}").value, "a b_\u{e4}");
        assert_eq!(Checked::hostname("f", &"a".repeat(1000)).value.len(), HOSTNAME_LIMIT);
    }

    #[test]
    fn a_bad_value_is_refused_by_field_and_not_shown() {
        let document = Document::json("Any", "v1.json", br#"{"ip": "1.2.3.400", "id": "a b", "list": []}"#).unwrap();
        let errors = [
            document.ipv4("ip").unwrap_err(),
            document.instance_id("id").unwrap_err(),
            document.text("list").unwrap_err(),
        ]
        .map(|error| error.to_string());
        assert_eq!(errors[0], "Any: v1.json/ip is not an IPv4 address");
        assert!(errors[1].starts_with("Any: v1.json/id is not an id"), "{}", errors[1]);
        assert_eq!(errors[2], "Any: v1.json/list is not a text");
    }

    #[test]
    fn keys_are_bounded_in_length_and_number() {
        let long = "k".repeat(SSH_KEY_LIMIT + 1);
        assert!(ANY.ssh_keys("keys", [long.as_str()]).is_err());
        assert!(ANY.ssh_keys("keys", ["ssh-ed25519 AAAA\nevil"]).is_err());
        assert!(ANY.ssh_keys("keys", vec!["k"; SSH_KEYS_LIMIT + 1]).is_err());
        assert_eq!(ANY.ssh_keys("keys", [" k ", ""]).unwrap(), ["k"]);
    }
}
