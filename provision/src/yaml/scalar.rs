//! What a value is to somebody who expects a certain type. Plain scalars are what cloud-init's reader (YAML 1.1) takes
//! them for, where that is harmless; what is ambiguous is refused with the way to write it.
use super::{Entry, Node, Style, Value, syntax};

/// Why a value is not of the expected type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// It has been reported.
    Known,
    /// What it is and what would be right.
    Type(&'static str, String),
}

/// What a plain scalar is.
#[derive(PartialEq)]
enum Plain {
    Null,
    Bool(bool),
    Integer(i64),
    /// Octal, hexadecimal, with underscores or too big.
    OddInteger,
    Fraction,
    Text,
}

impl Node {
    /// A boolean: `true`, `yes`, `on` and their opposites.
    pub fn boolean(&self) -> Result<bool, Wrong> {
        const EXPECTED: &str = "a boolean (true or false)";
        match self.scalar(EXPECTED)? {
            (text, Style::Plain) => match plain(text) {
                Plain::Bool(value) => Ok(value),
                found => Err(wrong(found, EXPECTED, "")),
            },
            (text, _) if matches!(plain(text), Plain::Bool(_)) => Err(quoted(EXPECTED)),
            _ => Err(wrong(Plain::Text, EXPECTED, "")),
        }
    }

    /// A whole number in plain decimal digits.
    pub fn integer(&self) -> Result<i64, Wrong> {
        const EXPECTED: &str = "an integer";
        match self.scalar(EXPECTED)? {
            (text, Style::Plain) => match plain(text) {
                Plain::Integer(value) => Ok(value),
                Plain::OddInteger => {
                    let hint = "write it in decimal digits, without a leading zero and without underscores";
                    Err(Wrong::Type("is an integer that can be read in more than one way", hint.into()))
                }
                found => Err(wrong(found, EXPECTED, "")),
            },
            (text, _) if matches!(plain(text), Plain::Integer(_)) => Err(quoted(EXPECTED)),
            _ => Err(wrong(Plain::Text, EXPECTED, "")),
        }
    }

    /// A text of any length.
    pub fn text(&self) -> Result<&str, Wrong> {
        const EXPECTED: &str = "a string";
        match self.scalar(EXPECTED)? {
            (text, Style::Plain) => match plain(text) {
                Plain::Text if text.starts_with(['“', '”', '„', '‘', '’', '«', '»']) => {
                    let hint = "use \" or ' at both ends";
                    Err(Wrong::Type("starts with a quote of a word processor, which is none to YAML", hint.into()))
                }
                Plain::Text => Ok(text),
                Plain::Null => Err(wrong(Plain::Null, EXPECTED, "")),
                found => Err(wrong(found, EXPECTED, ", so put it in quotes")),
            },
            (text, _) => Ok(text),
        }
    }

    /// A text of one line without anything that cannot be seen.
    pub fn line(&self) -> Result<&str, Wrong> {
        let text = self.text()?;
        if text.chars().any(|c| c == '\n' || c == '\r') {
            return Err(Wrong::Type("has a line break", "write it on one line, without | or >".into()));
        }
        if text.chars().any(|c| c.is_control() || syntax::is_invisible(c)) {
            return Err(Wrong::Type("holds a character that cannot be seen", "delete it and type it again".into()));
        }
        Ok(text)
    }

    /// The entries of a list.
    pub fn list(&self) -> Result<&[Node], Wrong> {
        match &self.value {
            Value::List(items) => Ok(items),
            _ => Err(self.not("a list, each entry on a line of its own after \"- \"")),
        }
    }

    /// The keys and values of a section.
    pub fn entries(&self) -> Result<&[Entry], Wrong> {
        match &self.value {
            Value::Mapping(entries) => Ok(entries),
            Value::Scalar(text, Style::Plain) if looks_like_key(text) => Err(Wrong::Type(
                "is a string, where keys and values are expected",
                "put a space after the colon".into(),
            )),
            _ => Err(self.not("keys and values below it, indented")),
        }
    }

    /// Whether there is nothing: no value, `~` or `null`.
    pub fn is_empty(&self) -> bool {
        matches!(&self.value, Value::Scalar(text, Style::Plain) if plain(text) == Plain::Null)
    }

    /// The message that this is something else than expected.
    pub fn not(&self, expected: &str) -> Wrong {
        match &self.value {
            Value::Scalar(text, Style::Plain) => wrong(plain(text), expected, ""),
            Value::Scalar(..) => wrong(Plain::Text, expected, ""),
            Value::List(_) => Wrong::Type("is a list", format!("allowed: {expected}")),
            Value::Mapping(_) => Wrong::Type("has keys of its own", format!("allowed: {expected}")),
            Value::Broken => Wrong::Known,
        }
    }

    fn scalar(&self, expected: &str) -> Result<(&str, Style), Wrong> {
        match &self.value {
            Value::Scalar(text, style) => Ok((text, *style)),
            _ => Err(self.not(expected)),
        }
    }
}

fn wrong(found: Plain, expected: &str, advice: &str) -> Wrong {
    let what = match found {
        Plain::Null => return Wrong::Type("is empty", format!("write {expected}, or remove the key")),
        Plain::Bool(_) => "is a boolean",
        Plain::Integer(_) | Plain::OddInteger => "is an integer",
        Plain::Fraction => "is a fractional number",
        Plain::Text => "is a string",
    };
    Wrong::Type(what, format!("allowed: {expected}{advice}"))
}

fn quoted(expected: &str) -> Wrong {
    Wrong::Type("is in quotes", format!("allowed: {expected}, so remove the quotes"))
}

/// `key:value` without the space, which makes it one text.
fn looks_like_key(text: &str) -> bool {
    let word = |key: &str| !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    text.split_once(':').is_some_and(|(key, _)| word(key))
}

/// <https://yaml.org/type/> as PyYAML has it.
fn plain(text: &str) -> Plain {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Plain::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Plain::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return Plain::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let all = |text: &str, allowed: fn(u8) -> bool| {
        text.bytes().any(|byte| byte != b'_') && text.bytes().all(|byte| allowed(byte) || byte == b'_')
    };
    if digits.starts_with(|c: char| c.is_ascii_digit()) && all(digits, |byte| byte.is_ascii_digit()) {
        return match text.parse() {
            Ok(value) if digits == "0" || !digits.starts_with('0') => Plain::Integer(value),
            _ => Plain::OddInteger,
        };
    }
    let based = match digits.get(..2) {
        Some("0x") => all(&digits[2..], |byte| byte.is_ascii_hexdigit()),
        Some("0o") => all(&digits[2..], |byte| matches!(byte, b'0'..=b'7')),
        Some("0b") => all(&digits[2..], |byte| matches!(byte, b'0' | b'1')),
        _ => false,
    };
    if based {
        return Plain::OddInteger;
    }
    let special = [".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"].contains(&digits);
    // Only with a point: `1e5` is a text to PyYAML.
    let number = digits.contains('.') && digits.bytes().all(|byte| byte.is_ascii_digit() || b"._eE+-".contains(&byte));
    match special || number && digits.replace('_', "").parse::<f64>().is_ok() {
        true => Plain::Fraction,
        false => Plain::Text,
    }
}
