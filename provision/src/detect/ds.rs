//! `ds=NAME;FIELD=VALUE;...` on the kernel command line and in the serial number.
use super::{Datasource, DetectError};

/// What a `ds=nocloud` says; the weakest of all that NoCloud says.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct DsParameters {
    /// `s`, `seedfrom`: the URL that the files are below. May hold a password.
    pub seed_from: Option<String>,
    /// `h`, `local-hostname`
    pub hostname: Option<String>,
    /// `i`, `instance-id`
    pub instance_id: Option<String>,
}

impl DsParameters {
    /// A `ds=nocloud` without parameters.
    pub const EMPTY: Self = Self { seed_from: None, hostname: None, instance_id: None };
}

impl std::fmt::Debug for DsParameters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seed_from = self.seed_from.as_ref().map(|_| "...");
        f.debug_struct("DsParameters")
            .field("seed_from", &seed_from)
            .field("hostname", &self.hostname)
            .field("instance_id", &self.instance_id)
            .finish()
    }
}

/// The last `ds=` in a text; a later word on a command line wins.
pub(super) fn find(place: &'static str, text: &str) -> Result<Option<Datasource>, DetectError> {
    words(text).iter().rev().find_map(|word| word.strip_prefix("ds=")).map(|said| parse(place, said)).transpose()
}

/// Words as the kernel separates them: a double quote keeps white space, wherever it begins.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => words.push(String::new()),
            c => words.last_mut().into_iter().for_each(|word| word.push(c)),
        }
    }
    words
}

fn parse(place: &'static str, said: &str) -> Result<Datasource, DetectError> {
    let mut parts = said.split(';');
    let name = parts.next().unwrap_or_default();
    let Some(which) = Datasource::named(name) else {
        return Err(DetectError::UnknownName { place, name: name.chars().take(40).collect() });
    };
    let Datasource::NoCloud(mut line) = which else { return Ok(which) };
    for part in parts.filter(|part| !part.is_empty()) {
        let (field, value) = part.split_once('=').unwrap_or((part, ""));
        let slot = match field {
            "s" | "seedfrom" => &mut line.seed_from,
            "h" | "local-hostname" => &mut line.hostname,
            "i" | "instance-id" => &mut line.instance_id,
            _ => return Err(DetectError::UnknownField { place, field: field.chars().take(40).collect() }),
        };
        *slot = Some(value.to_owned()).filter(|value| !value.is_empty());
    }
    Ok(Datasource::NoCloud(line))
}
