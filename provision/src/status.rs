//! How provisioning went, for `provision status`: a file of this boot. Holds no secrets.
use crate::apply::disk::{Disk, Found, Owner};
use crate::apply::{ApplyError, write};
use crate::merge::Settled;
use rtcd_config::keys;
use rtcd_config::source::Layer;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The outcome of the last run.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Whether rtcd has a configuration of this boot.
    pub ready: bool,
    /// Seconds since 1970 by the machine's clock, which may be wrong so early.
    pub at: i64,
    /// The name of the source.
    pub source: Option<String>,
    /// What gave the source away: a firmware field, a label, a parameter.
    pub reason: Option<String>,
    /// The instance id that it told.
    pub instance_id: Option<String>,
    /// Why the source could not be read, when an earlier answer of it is used.
    pub using_last_good: Option<String>,
    /// The machine's name and who said it.
    pub hostname: Option<(String, String)>,
    /// Who said how the network is to be.
    #[serde(default)]
    pub network: Option<String>,
    /// Why another network is used than was said.
    #[serde(default)]
    pub network_instead: Option<String>,
    /// Keys of rtcd that were set, with origins; secrets without values.
    pub keys: Vec<AppliedKey>,
    /// What was read and has no effect, and what went wrong without ending the run.
    pub notices: Vec<String>,
    /// The last error, with all its mistakes.
    pub error: Option<String>,
}

/// A key of `rtcd.toml`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AppliedKey {
    /// `section.key` of `rtcd.toml`.
    pub key: String,
    /// Where its value came from.
    pub origin: String,
}

impl Status {
    /// Notes what was settled.
    pub fn settled(&mut self, settled: &Settled) {
        self.keys = applied(&settled.settings);
        self.hostname = settled.hostname.as_ref().map(|said| (said.value.clone(), said.field.clone()));
        self.notices.extend(settled.notices.iter().map(ToString::to_string));
    }

    /// Notes and logs something that did not work and that rtcd can do without.
    pub fn notice(&mut self, what: String) {
        tracing::warn!("{what}");
        self.notices.push(what);
    }

    /// Notes why the network is another one than was said.
    pub fn instead(&mut self, why: String) {
        tracing::error!("{why}");
        self.network_instead = Some(why);
    }

    /// The last run's, if there was one.
    pub fn load(disk: &dyn Disk, path: &Path) -> Option<Self> {
        let found = disk.read(path).ok()??;
        serde_json::from_slice(&found.content).ok()
    }

    /// Leaves it for `provision status`. An error may name what an admin wrote, hence not for everybody's eyes.
    pub fn save(&self, disk: &dyn Disk, path: &Path, owner: Owner) -> Result<(), ApplyError> {
        let content = serde_json::to_vec_pretty(self).unwrap_or_default();
        write::write(disk, path, &Found { content, mode: 0o600, owner }).map(drop)
    }
}

/// In the order of the manual.
fn applied(settings: &Layer) -> Vec<AppliedKey> {
    let set = keys::ALL.iter().filter_map(|key| Some((key, settings.get(key.path)?)));
    set.map(|(key, setting)| AppliedKey { key: key.path.to_owned(), origin: setting.origin.to_string() }).collect()
}

/// Seconds since 1970; negative before, as a machine without a battery may have it.
pub fn seconds(now: SystemTime) -> i64 {
    let signed = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    now.duration_since(UNIX_EPOCH).map_or_else(|before| -signed(before.duration()), signed)
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match (self.ready, &self.using_last_good) {
            (true, None) => "ready",
            (true, Some(_)) => "ready, with an earlier answer of the source",
            (false, _) => "FAILED, rtcd is not configured",
        };
        writeln!(f, "State:       {state}")?;
        let mut line = |name: &str, value: &Option<String>| match value {
            Some(value) => writeln!(f, "{:<13}{}", format!("{name}:"), value.replace('\n', "\n             ")),
            None => Ok(()),
        };
        let source = self.source.as_ref().map(|source| match &self.reason {
            Some(reason) => format!("{source} ({reason})"),
            None => source.clone(),
        });
        line("Source", &source)?;
        line("Instance id", &self.instance_id)?;
        line("Host name", &self.hostname.as_ref().map(|(name, origin)| format!("{name} ({origin})")))?;
        line("Network", &self.network)?;
        line("Not used", &self.network_instead)?;
        line("Not reached", &self.using_last_good)?;
        line("Error", &self.error)?;
        for notice in &self.notices {
            line("Notice", &Some(notice.clone()))?;
        }
        if !self.keys.is_empty() {
            writeln!(f, "Keys:")?;
        }
        let width = self.keys.iter().map(|key| key.key.len()).max().unwrap_or(0);
        self.keys.iter().try_for_each(|AppliedKey { key, origin }| writeln!(f, "  {key:<width$}  {origin}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_before_1980_or_1970_is_only_a_number() {
        let year = Duration::from_secs(365 * 24 * 3600);
        assert_eq!(seconds(UNIX_EPOCH + 5 * year), 5 * 365 * 24 * 3600);
        assert_eq!(seconds(UNIX_EPOCH - 3 * year), -3 * 365 * 24 * 3600);
    }

    #[test]
    fn a_person_reads_what_happened() {
        let status = Status {
            source: Some("EC2".into()),
            reason: Some("sys_vendor is Amazon EC2".into()),
            error: Some("user-data has 2 mistakes:\n  line 1: a\n  line 2: b".into()),
            keys: vec![AppliedKey { key: "rtc.ice_port_udp".into(), origin: "user data, line 3".into() }],
            ..Status::default()
        };
        let expected = "State:       FAILED, rtcd is not configured
Source:      EC2 (sys_vendor is Amazon EC2)
Error:       user-data has 2 mistakes:
               line 1: a
               line 2: b
Keys:
  rtc.ice_port_udp  user data, line 3
";
        assert_eq!(status.to_string(), expected);
    }
}
