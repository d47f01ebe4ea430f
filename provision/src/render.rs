//! The text of `rtcd.toml`: what was set, each value with where it came from.
use rtcd_config::source::Layer;
use rtcd_config::{keys, print};
use toml_edit::{DocumentMut, Item, Table};

/// Whether secrets are written or hidden.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Secrets {
    /// For the file that rtcd reads.
    Write,
    /// For people: `<redacted>` stands in their place.
    Hide,
}

/// Renders `settings`. The header's lines become comments on top.
pub fn render(header: &[String], settings: &Layer, secrets: Secrets) -> String {
    let mut document = DocumentMut::new();
    for key in keys::ALL {
        let Some(setting) = settings.get(key.path) else { continue };
        let mut table = document.as_table_mut();
        for name in key.section().split('.') {
            table = sub_table(table, name);
        }
        let mut value = print::toml(key, &setting.value, (secrets == Secrets::Hide).then_some(print::REDACTED));
        value.decor_mut().set_suffix(format!(" # {}", one_line(&setting.origin.to_string())));
        table.insert(key.name(), Item::Value(value));
    }
    let header: String = header.iter().map(|line| format!("# {}\n", one_line(line))).collect();
    format!("{header}\n{document}")
}

/// The table of that name, made when it is not there. Its header is written only when it holds values itself.
fn sub_table<'a>(table: &'a mut Table, name: &str) -> &'a mut Table {
    let item = table.entry(name).or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    // The list of keys has no value where another key has a table; a test goes through all of them.
    item.as_table_mut().expect("sections are tables")
}

/// A comment ends with its line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtcd_config::source::{Origin, RawServer, Setting, Value};
    use rtcd_config::{Environment, from_text};
    use std::path::Path;

    fn said(value: Value, origin: &str) -> Setting {
        Setting { value, origin: Origin::Stated(origin.into()) }
    }

    #[test]
    fn each_value_says_where_it_came_from() {
        let turn = RawServer {
            urls: vec!["turn:a:1".into(), "turn:b:1".into()],
            username: "u\"".into(),
            credential: "c'".into(),
            plain: false,
        };
        let stun =
            RawServer { urls: vec!["stun:c".into()], username: String::new(), credential: String::new(), plain: true };
        let settings = Layer::from([
            ("rtc.ice_servers", said(Value::Servers(vec![turn, stun]), "user data, line 3")),
            ("rtc.ice_port_udp", said(Value::Integer(443), "image\nevil = 1")),
            ("api.security.admin_secret_key", said(Value::Text("hush".into()), "user data, line 9")),
        ]);
        let text = render(&["made at boot\nevil = 2".into()], &settings, Secrets::Hide);
        let expected = r#"# made at boot evil = 2

[api.security]
admin_secret_key = "<redacted>" # user data, line 9

[rtc]
ice_port_udp = 443 # image evil = 1
ice_servers = [{ urls = ["turn:a:1", "turn:b:1"], username = 'u"', credential = "<redacted>" }, "stun:c"] # user data, line 3
"#;
        assert_eq!(text, expected);
        let shown = render(&[], &settings, Secrets::Write);
        assert!(shown.contains(r#"admin_secret_key = "hush""#) && shown.contains(r#"credential = "c'""#), "{shown}");
    }

    #[test]
    fn every_key_can_be_rendered_and_is_read_back() {
        let settings: Layer = keys::ALL
            .iter()
            .map(|key| (key.path, said(key.default.value(), "a test")))
            // rtcd chooses it by the number of CPUs unless it is said.
            .filter(|(path, _)| *path != "rtc.udp_sockets_count")
            .collect();
        let text = render(&[], &settings, Secrets::Write);
        let loaded =
            from_text(Path::new("rtcd.toml"), &text, &Environment::default()).map_err(|error| error.to_string());
        let loaded = loaded.expect("defaults are valid");
        assert_eq!(loaded.warnings, []);
        assert_eq!(loaded.print().matches("rtcd.toml:").count(), settings.len());
    }
}
