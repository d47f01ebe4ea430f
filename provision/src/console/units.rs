//! What systemd says of the units that the panel looks at.
use super::bounded;
use std::collections::HashMap;
use std::io;
use std::time::Duration;

/// The daemon.
pub const RTCD: &str = "rtcd.service";
/// What finds its configuration.
pub const PROVISION: &str = "provision.service";
/// What tries again.
pub const RETRY: &str = "provision-retry.service";
/// What looks for newer versions.
pub const UPDATE: &str = "rtcd-update.service";
/// What looks whether this version serves.
pub const CHECK: &str = "rtcd-healthcheck.service";
/// What restarts the machine when it does not.
pub const ROLLBACK: &str = "rtcd-rollback.service";

const PROPERTIES: &str = "--property=Id,ActiveState,SubState,Result,ExecMainStatus,NRestarts,StatusText,InvocationID";

/// One unit.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Unit {
    /// `active`, `activating`, `failed`, ...
    pub active: String,
    /// `running`, `auto-restart`, ...
    pub sub: String,
    /// `success`, or what went wrong.
    pub result: String,
    /// The last exit status.
    pub exit: i32,
    /// How often systemd has started it again.
    pub restarts: u32,
    /// What it says of itself.
    pub status: String,
    /// Which run of it this is.
    pub run: String,
}

impl Unit {
    /// It does what it is for, whatever it is told meanwhile.
    pub fn runs(&self) -> bool {
        matches!(self.active.as_str(), "active" | "reloading" | "refreshing" | "deactivating")
    }

    /// It has ended badly, and is maybe started again.
    pub fn fails(&self) -> bool {
        self.active == "failed"
            || self.sub.starts_with("auto-restart")
            || (self.active == "activating" && self.restarts > 0)
    }
}

/// The units by name; an error when systemd does not answer.
pub fn look(patience: Duration) -> io::Result<HashMap<String, Unit>> {
    let names = [RTCD, PROVISION, UPDATE, CHECK, ROLLBACK];
    bounded::output("systemctl", &[&["show", PROPERTIES][..], &names].concat(), patience).map(|said| parse(&said))
}

fn parse(said: &str) -> HashMap<String, Unit> {
    let mut all = HashMap::new();
    for block in said.split("\n\n") {
        let property = |name: &str| {
            block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default().to_owned()
        };
        let unit = Unit {
            active: property("ActiveState"),
            sub: property("SubState"),
            result: property("Result"),
            exit: property("ExecMainStatus").parse().unwrap_or_default(),
            restarts: property("NRestarts").parse().unwrap_or_default(),
            status: property("StatusText"),
            run: property("InvocationID"),
        };
        all.insert(property("Id"), unit);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemctl_shows_is_read_unit_by_unit() {
        let said = "Id=rtcd.service\nActiveState=active\nSubState=running\nResult=success\nNRestarts=2\nExecMainStatus=0\n\
            StatusText=1 calls, 2 sessions\nInvocationID=ab\n\nId=provision.service\nActiveState=failed\nSubState=failed\n\
            Result=exit-code\nExecMainStatus=1\nNRestarts=0\nInvocationID=\n";
        let all = parse(said);
        assert_eq!((all[RTCD].restarts, all[RTCD].status.as_str()), (2, "1 calls, 2 sessions"));
        assert!(all[RTCD].runs() && !all[RTCD].fails() && all[PROVISION].fails());
        assert_eq!(all[PROVISION].exit, 1);
        assert!(parse("").values().all(|unit| !unit.runs()));
    }

    #[test]
    fn who_is_started_again_and_again_fails() {
        let unit = |active: &str, sub: &str, restarts| Unit {
            active: active.into(),
            sub: sub.into(),
            restarts,
            ..Unit::default()
        };
        assert!(unit("activating", "auto-restart", 0).fails() && unit("activating", "start", 3).fails());
        assert!(!unit("activating", "start", 0).fails() && !unit("active", "running", 9).fails());
    }
}
