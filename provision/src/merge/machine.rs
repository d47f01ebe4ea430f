//! What the machine itself has to say of the settings: its name, what it lets rtcd write to, what the world sees of it.
use super::Merger;
use crate::cloud_config::usable_name;
use crate::metadata::Sourced;
use crate::mistake::Mistake;
use rtcd_config::keys;
use rtcd_config::source::{Layer, Setting, Value};
use std::path::{Component, Path};

/// What rtcd may write to, and what outlives a start (`StateDirectory=` of its unit).
const STATE_DIRECTORY: &str = "/var/lib/rtcd";
/// What is rtcd's own and new at each start (`PrivateTmp=`, and memory).
const FLEETING: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

impl Merger<'_> {
    /// The source's name for the machine, or the one that is most like it.
    pub(super) fn metadata_name(&mut self) -> Option<Sourced<String>> {
        let said = self.layers.metadata.hostname.as_ref()?;
        let name = usable_name(&said.value);
        if name.as_ref() != Some(&said.value) {
            let shown: String = said.value.chars().filter(|c| c.is_ascii_graphic()).take(64).collect();
            let used = name.as_deref().unwrap_or("rtcd");
            let what = format!(
                "{} of {} is no host name ({shown:?}): the machine is called {used}",
                said.field, self.layers.source
            );
            self.notices.push(Mistake::whole(what, "set hostname in the user data for another"));
        }
        Some(Sourced::new(name?, said.field.clone()))
    }

    /// The root of the machine is read-only, and rtcd may write to one place.
    pub(super) fn look_at_paths(&mut self, settings: &Layer) {
        for key in [&keys::DATA_SOURCE, &keys::FILE_LOCATION] {
            let Some(Setting { value: Value::Text(path), origin }) = settings.get(key.path) else { continue };
            let used = key.path != keys::FILE_LOCATION.path
                || matches!(settings.get(keys::ENABLE_FILE.path), Some(Setting { value: Value::Bool(true), .. }));
            let outside = || Path::new(path).components().any(|part| part == Component::ParentDir);
            let is_kept = Path::new(path).starts_with(STATE_DIRECTORY) && !outside();
            if path.is_empty() || !used || is_kept {
                continue;
            }
            let name = if key.path == keys::DATA_SOURCE.path { "db" } else { "rtcd.log" };
            let what = if FLEETING.iter().any(|start| Path::new(path).starts_with(start)) {
                "is lost with each start of rtcd: the directory is its own and new each time"
            } else {
                "is on a part of the machine that is read-only"
            };
            let found = self.placed(origin, key.path, what, &format!("write {STATE_DIRECTORY}/{name}"));
            self.mistakes.push(found);
        }
    }

    /// The commonest reason for calls without sound: nobody said which address the world sees.
    pub(super) fn look_at_addresses(&mut self, settings: &Layer) {
        let told = [&keys::ICE_HOST_OVERRIDE, &keys::ICE_SERVERS].iter().any(|key| settings.contains_key(key.path));
        if !told {
            let what =
                format!("{} tells no public address: participants are given the machine's own", self.layers.source);
            let hint = "behind NAT set rtcd.rtc.ice_host_override, or a stun: URL in rtcd.rtc.ice_servers";
            self.notices.push(Mistake::whole(what, hint));
        }
    }
}
