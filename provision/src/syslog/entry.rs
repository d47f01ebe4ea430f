//! From an entry of the journal, as `journalctl --output=json` has it, to a message of syslog (RFC 5424).
use crate::cloud_config::Framing;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt::Write as _;

/// Bytes of a message. RFC 5425, 4.3.1: every receiver should take that many.
pub const LONGEST: usize = 8192;
/// What the fields of an entry may take of them.
const LONGEST_DATA: usize = 2048;
/// A value of a field.
const LONGEST_VALUE: usize = 256;
/// RFC 5424, 6.2.1: what comes from the kernel, and what comes from a daemon.
const KERNEL: u64 = 0;
const DAEMON: u64 = 3;
const INFORMATIONAL: u64 = 6;
/// RFC 5424, 7.3.1.
const LARGEST_SEQUENCE_ID: u64 = 2_147_483_647;
/// Names of our own in STRUCTURED-DATA end with a number that IANA gives out. This one is for everybody (RFC 5612).
const OWN: &str = "journal@32473";
/// rtcd's fields and the agent's: ids, addresses as far as they are shown, keys of the configuration.
const PREFIXES: [&str; 2] = ["RTCD_", "PROVISION_"];

/// One entry.
pub struct Entry(Map<String, Value>);

impl Entry {
    /// Reads a line of journalctl.
    pub fn read(line: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(line).map(Self)
    }

    /// Where the next entry is looked for.
    pub fn cursor(&self) -> Option<&str> {
        self.0.get("__CURSOR")?.as_str()
    }

    /// The message with what tells it from the next one; `None` for what has no text.
    pub fn message(&self, framing: Framing) -> Option<Vec<u8>> {
        let said = self.text("MESSAGE")?;
        let mut message = format!(
            "<{}>1 {} {} {} {} - {} ",
            self.priority(),
            self.time(),
            self.word("_HOSTNAME", 255),
            self.first_word(&["SYSLOG_IDENTIFIER", "_COMM"], 48),
            self.first_word(&["_PID", "SYSLOG_PID"], 128),
            self.data(),
        );
        // Nobody shall make a second line out of one: not every server looks at the length.
        message.extend(said.trim_end().chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }));
        cut(&mut message, LONGEST);
        Some(match framing {
            Framing::OctetCounting => format!("{} {message}", message.len()).into_bytes(),
            Framing::Newline => (message + "\n").into_bytes(),
        })
    }

    fn priority(&self) -> u64 {
        let number =
            |name, most: u64| self.text(name).and_then(|text| text.parse().ok()).filter(|number| *number <= most);
        let other = if self.text("_TRANSPORT").as_deref() == Some("kernel") { KERNEL } else { DAEMON };
        number("SYSLOG_FACILITY", 23).unwrap_or(other) * 8 + number("PRIORITY", 7).unwrap_or(INFORMATIONAL)
    }

    fn time(&self) -> String {
        let time = self.text("__REALTIME_TIMESTAMP").and_then(|text| text.parse().ok());
        let time = time.and_then(|microseconds| Timestamp::from_microsecond(microseconds).ok());
        time.map_or_else(|| "-".to_owned(), |time| time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
    }

    /// The number of the entry, so that a server can tell what it has already, and the fields that searches are for.
    fn data(&self) -> String {
        let mut data = String::new();
        if let Some(number) = self.text("__SEQNUM").and_then(|text| text.parse::<u64>().ok()) {
            let _ = write!(data, "[meta sequenceId=\"{}\"]", number.saturating_sub(1) % LARGEST_SEQUENCE_ID + 1);
        }
        let mut own = String::new();
        let unit = self.text("UNIT").or_else(|| self.text("_SYSTEMD_UNIT"));
        let fields = self.0.keys().filter_map(|name| {
            let short = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix))?;
            Some((short.to_ascii_lowercase(), self.text(name)?))
        });
        for (name, value) in unit.map(|unit| ("unit".to_owned(), unit)).into_iter().chain(fields) {
            let plain = name.len() <= 32 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let param = format!(" {name}=\"{}\"", escaped(&value));
            if plain && own.len() + param.len() <= LONGEST_DATA {
                own += &param;
            }
        }
        if !own.is_empty() {
            let _ = write!(data, "[{OWN}{own}]");
        }
        if data.is_empty() { "-".to_owned() } else { data }
    }

    fn first_word(&self, names: &[&str], most: usize) -> String {
        let words = names.iter().map(|name| self.word(name, most));
        words.into_iter().find(|word| word != "-").unwrap_or_else(|| "-".to_owned())
    }

    /// What stands in the header: printable ASCII without spaces, or a hyphen.
    fn word(&self, name: &str, most: usize) -> String {
        let text = self.text(name).unwrap_or_default();
        let word: String = text.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).take(most).collect();
        if word.is_empty() { "-".to_owned() } else { word }
    }

    /// A field as text. What is no UTF-8 comes as a list of bytes, and a field that is there twice as a list of both.
    fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        let of = |value: &Value| value.as_str().map(str::to_owned);
        match self.0.get(name)? {
            Value::String(text) => Some(text.into()),
            Value::Array(all) if all.first().is_some_and(Value::is_u64) => {
                let bytes: Vec<u8> = all
                    .iter()
                    .map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok()).unwrap_or(b'?'))
                    .collect();
                Some(String::from_utf8_lossy(&bytes).into_owned().into())
            }
            Value::Array(all) => all.first().and_then(of).map(Cow::from),
            _ => None,
        }
    }
}

/// A value of STRUCTURED-DATA (RFC 5424, 6.3.3), on one line.
fn escaped(value: &str) -> String {
    let mut escaped = String::new();
    for c in value.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if escaped.len() >= LONGEST_VALUE {
            break;
        }
        if matches!(c, '"' | '\\' | ']') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// Cuts a text to so many bytes, between two characters.
fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn message(entry: Value, framing: Framing) -> String {
        let entry = Entry::read(entry.to_string().as_bytes()).expect("an object");
        String::from_utf8(entry.message(framing).expect("a message")).expect("UTF-8")
    }

    #[test]
    fn a_line_of_rtcd_keeps_its_ids() {
        let entry = json!({
            "__CURSOR": "s=1", "__REALTIME_TIMESTAMP": "1700000000123456", "__SEQNUM": "77", "PRIORITY": "4",
            "MESSAGE": "session closed", "SYSLOG_IDENTIFIER": "rtcd", "_PID": "42", "_HOSTNAME": "calls-1",
            "_SYSTEMD_UNIT": "rtcd.service", "RTCD_CALL_ID": "c1", "RTCD_REASON": "a \"quoted\" ] \\ one\n",
            "CODE_FILE": "src/session.rs",
        });
        let text = "<28>1 2023-11-14T22:13:20.123456Z calls-1 rtcd 42 - [meta sequenceId=\"77\"]\
                    [journal@32473 unit=\"rtcd.service\" call_id=\"c1\" reason=\"a \\\"quoted\\\" \\] \\\\ one \"] session closed";
        assert_eq!(message(entry.clone(), Framing::Newline), format!("{text}\n"));
        assert_eq!(message(entry, Framing::OctetCounting), format!("{} {text}", text.len()));
    }

    #[test]
    fn whatever_an_entry_lacks_or_holds_it_is_one_message() {
        assert_eq!(message(json!({"MESSAGE": "a"}), Framing::Newline), "<30>1 - - - - - - a\n");
        let kernel = json!({"MESSAGE": [104, 105, 255], "_TRANSPORT": "kernel", "PRIORITY": "9", "_HOSTNAME": "a b"});
        assert_eq!(message(kernel, Framing::Newline), "<6>1 - a_b - - - - hi\u{fffd}\n");
        let twice = json!({"MESSAGE": ["one\ntwo\u{1b}[1m", "other"], "SYSLOG_FACILITY": "24"});
        assert_eq!(message(twice, Framing::Newline), "<30>1 - - - - - - one two [1m\n");
        let entry = |entry: Value| Entry::read(entry.to_string().as_bytes()).expect("an object");
        assert!(entry(json!({"MESSAGE": null, "__CURSOR": "s"})).message(Framing::Newline).is_none());
        assert!(Entry::read(b"[]").is_err() && Entry::read(b"").is_err());
    }

    #[test]
    fn a_message_is_never_longer_than_servers_take() {
        let fields: Map<String, Value> =
            (0..100).map(|number| (format!("RTCD_FIELD_{number}"), Value::from("]".repeat(1000)))).collect();
        let mut long = Value::Object(fields);
        long["MESSAGE"] = "ä".repeat(LONGEST).into();
        let text = message(long, Framing::Newline);
        assert!(text.len() <= LONGEST + 1 && text.len() > LONGEST - 4, "{}", text.len());
    }
}
