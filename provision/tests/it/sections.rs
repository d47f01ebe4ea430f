//! Sections `rtcd:` as people write them: any keys with any values of their types, nested, dotted, in flow or block
//! style, with all kinds of quotes.
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};
use rtcd_config::keys::{self, Default, Key};
use rtcd_config::source::{RawServer, Value};
use std::collections::BTreeMap;
use std::fmt;

/// A text and what it says.
#[derive(Clone)]
pub struct Section {
    /// A `#cloud-config`.
    pub text: String,
    /// The values in it.
    pub values: BTreeMap<&'static str, Value>,
}

impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

pub fn section() -> impl Strategy<Value = Section> {
    let all: Vec<&'static Key> = keys::ALL.iter().collect();
    let count = all.len();
    let some = subsequence(all, 0..=count).prop_shuffle();
    let settings = some.prop_flat_map(|some| some.into_iter().map(setting).collect::<Vec<_>>());
    (settings, prop::collection::vec(any::<Index>(), 32)).prop_map(|(settings, choices)| {
        let mut writer = Writer { choices, next: 0 };
        let entries: Vec<_> = settings.iter().map(|Hidden((path, value))| (*path, value)).collect();
        let text = format!("#cloud-config\nrtcd:{}", writer.section(&entries, 2));
        Section { text, values: settings.into_iter().map(|Hidden(setting)| setting).collect() }
    })
}

/// The values of the configuration have no `Debug`, because of the secrets.
#[derive(Clone)]
struct Hidden<T>(T);

impl<T> fmt::Debug for Hidden<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
}

type Setting = Hidden<(&'static str, Value)>;

fn setting(key: &'static Key) -> BoxedStrategy<Setting> {
    let setting = |value| Hidden((key.path, value));
    let text = || "[ -~äß€漢😀]{0,30}";
    let texts = text().prop_map(move |value| setting(Value::Text(value)));
    let integers = any::<i64>().prop_map(move |value| setting(Value::Integer(value)));
    match key.default {
        Default::Bool(_) => any::<bool>().prop_map(move |value| setting(Value::Bool(value))).boxed(),
        Default::Integer(_) | Default::ByCpus => integers.boxed(),
        Default::Text(_) => texts.boxed(),
        Default::TextOrInteger(_) => prop_oneof![integers, texts].boxed(),
        Default::NoServers => {
            let plain = text().prop_map(|url| (vec![url], String::new(), String::new(), true));
            let table = (prop::collection::vec(text(), 0..3), text(), text(), Just(false));
            let servers = prop::collection::vec(prop_oneof![plain, table], 0..3);
            let server = |(urls, username, credential, plain)| RawServer { urls, username, credential, plain };
            servers.prop_map(move |all| setting(Value::Servers(all.into_iter().map(server).collect()))).boxed()
        }
    }
}

struct Writer {
    choices: Vec<Index>,
    next: usize,
}

impl Writer {
    fn choose(&mut self, count: usize) -> usize {
        self.next = (self.next + 1) % self.choices.len();
        self.choices[self.next].index(count)
    }

    /// What follows the colon of a section.
    fn section(&mut self, entries: &[(&str, &Value)], indent: usize) -> String {
        if entries.is_empty() {
            return "\n".into();
        }
        if self.choose(4) == 0 {
            return format!(" {}\n", self.flow(entries));
        }
        let mut out = "\n".to_owned();
        let mut done: Vec<&str> = Vec::new();
        for (path, value) in entries {
            let first = path.split('.').next().unwrap_or_default();
            if done.contains(&first) {
                continue;
            }
            done.push(first);
            let below: Vec<_> =
                entries.iter().filter(|(path, _)| path.split('.').next() == Some(first)).copied().collect();
            let spaces = " ".repeat(indent);
            if !path.contains('.') {
                let (key, value) = (self.key(path), self.block_value(value, indent + 2));
                out += &format!("{spaces}{key}:{value}");
            } else if self.choose(3) == 0 {
                for (path, value) in below {
                    let (key, value) = (self.key(path), self.block_value(value, indent + 2));
                    out += &format!("{spaces}{key}:{value}");
                }
            } else {
                let below: Vec<_> =
                    below.iter().filter_map(|(path, value)| Some((path.split_once('.')?.1, *value))).collect();
                let step = 1 + self.choose(4);
                let (key, section) = (self.key(first), self.section(&below, indent + step));
                out += &format!("{spaces}{key}:{section}");
            }
        }
        out
    }

    fn flow(&mut self, entries: &[(&str, &Value)]) -> String {
        let pairs: Vec<_> =
            entries.iter().map(|(path, value)| format!("{}: {}", self.key(path), self.flow_value(value))).collect();
        format!("{{{}}}", pairs.join(", "))
    }

    fn key(&mut self, key: &str) -> String {
        match self.choose(8) {
            0 => format!("'{key}'"),
            1 => format!("\"{key}\""),
            2 => key.to_ascii_uppercase(),
            _ => key.to_owned(),
        }
    }

    fn block_value(&mut self, value: &Value, indent: usize) -> String {
        let spaces = " ".repeat(indent);
        match value {
            Value::Text(text) if is_harmless(text) && self.choose(3) == 0 => {
                let sign = [">-", "|-"][self.choose(2)];
                format!(" {sign}\n{spaces}{text}\n")
            }
            Value::Servers(servers) if !servers.is_empty() && self.choose(2) == 0 => {
                let servers = servers.iter().map(|server| format!("{spaces}- {}\n", self.server(server)));
                format!("\n{}", servers.collect::<String>())
            }
            value => format!(" {}{}\n", self.flow_value(value), ["", " # why"][self.choose(2)]),
        }
    }

    fn flow_value(&mut self, value: &Value) -> String {
        match value {
            Value::Bool(true) => ["true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"][self.choose(9)].into(),
            Value::Bool(false) => {
                ["false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"][self.choose(9)].into()
            }
            Value::Integer(number) => number.to_string(),
            Value::Text(text) => self.text(text),
            Value::Servers(servers) => {
                let servers: Vec<_> = servers.iter().map(|server| self.server(server)).collect();
                format!("[{}]", servers.join(", "))
            }
        }
    }

    fn server(&mut self, server: &RawServer) -> String {
        if server.plain {
            return server.urls.iter().map(|url| self.text(url)).collect();
        }
        let urls: Vec<_> = server.urls.iter().map(|url| self.text(url)).collect();
        let urls =
            if urls.len() == 1 && self.choose(2) == 0 { urls.concat() } else { format!("[{}]", urls.join(", ")) };
        let (username, credential) = (self.text(&server.username), self.text(&server.credential));
        format!("{{urls: {urls}, username: {username}, credential: {credential}}}")
    }

    fn text(&mut self, text: &str) -> String {
        match self.choose(3) {
            0 => format!("'{}'", text.replace('\'', "''")),
            1 if is_harmless(text) => text.to_owned(),
            _ => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        }
    }
}

/// Whether a text is itself without quotes. Words of three letters may be booleans; those of more are none.
fn is_harmless(text: &str) -> bool {
    let word = text.len() > 5 && text.chars().all(|c| c.is_ascii_alphanumeric() || "/_-".contains(c));
    word && text.starts_with(|c: char| c.is_ascii_alphabetic())
}
