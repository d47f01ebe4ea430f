//! Onto the machine: files below `/run/systemd/network`, and networkd and udev told of them. What is new is on trial: when
//! it reaches nothing for two minutes, that of before is back. The last one that held is kept on `/var`.
use super::reach::{self, Router};
use super::render::{self, Files, PREFIXES, REST};
use super::{Form, NETWORK_CONFIG, Read, Said, cards};
use crate::agent::Agent;
use crate::apply::disk::{Disk, Found, Owner};
use crate::apply::{ApplyError, user, write};
use crate::facts::Facts;
use crate::failure::Failure;
use crate::mistake::Mistakes;
use crate::status::Status;
use crate::system::Action;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How long a network that is new may take to reach something: switches with spanning tree take 30 s to let a port
/// talk, a bond with LACP as long again.
const TRIAL: Duration = Duration::from_secs(120);
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// A network as it is put onto the machine, and kept for the next boot when it holds.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// Who said so; empty when it is left to the image.
    pub origin: String,
    /// The files; none for DHCP on every card.
    pub files: Files,
    /// Who should answer.
    pub routers: Vec<Router>,
}

/// A setup that led to a running rtcd.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// The machine's DMI UUID, as for the last good answer.
    machine: Option<String>,
    setup: Setup,
}

/// How it went.
pub(crate) enum Outcome {
    /// This is on the machine, and shall be kept when rtcd has its configuration.
    Holds(Setup),
    /// It holds no longer than this boot.
    Passing,
}

impl Outcome {
    /// What is worth another boot.
    pub fn worth_keeping(self) -> Option<Setup> {
        match self {
            Self::Holds(setup) => Some(setup),
            Self::Passing => None,
        }
    }
}

impl Setup {
    fn new(said: &Said, network: &super::model::Network, attached: bool) -> Self {
        let mut files = render::render(network);
        // A service that answered over the network knows of some cards; the others ask by DHCP as before.
        if !attached {
            files.remove(REST);
        }
        Self { origin: said.origin.clone(), files, routers: reach::routers(network) }
    }
}

impl Agent<'_> {
    /// Reads what was said, puts it onto the machine and waits until it reaches something.
    pub(super) fn set_up_network(
        &self,
        said: &Said,
        attached: bool,
        facts: &Facts,
        status: &mut Status,
    ) -> Result<Outcome, Failure> {
        let Read { network, mistakes, notices } = super::read(&said.text, said.form);
        if !mistakes.is_empty() {
            let name = if said.form == Form::OpenStack { "network_data.json" } else { NETWORK_CONFIG };
            return Err(Failure::Mistakes(Mistakes { name: format!("{name} ({})", said.origin), all: mistakes }));
        }
        let missing = network.as_ref().map(|network| cards::missing(self.root, network)).unwrap_or_default();
        for notice in notices.iter().chain(&missing) {
            status.notice(format!("{NETWORK_CONFIG}, {notice}"));
        }
        let setup = network.map(|network| Setup::new(said, &network, attached)).unwrap_or_default();
        let kept = self.kept_network(facts);
        self.put(&setup, status)?;
        for other in foreign(self.disk, &self.paths().networkd()) {
            status.notice(format!(
                "{other} in /run/systemd/network, of the kernel command line or a credential, comes first where it fits"
            ));
        }
        if kept.as_ref().is_some_and(|kept| kept.files == setup.files) || setup.files.is_empty() {
            return Ok(Outcome::Holds(setup));
        }
        let Err(why) = self.try_out(&setup) else { return Ok(Outcome::Holds(setup)) };
        let what = format!("the network of {} reaches nothing after {} s: {why}", setup.origin, TRIAL.as_secs());
        match kept {
            Some(kept) => {
                self.put(&kept, status)?;
                let used = if kept.origin.is_empty() { "DHCP on every card" } else { "the one of before" };
                status.instead(format!("{what}; {used} is used until the next start"));
            }
            // It may come to life yet; and cards that it does not name may reach somebody.
            None => {
                let mut rest = setup;
                rest.files.remove(REST);
                self.put(&rest, status)?;
                status.instead(format!("{what}; it stays, and cards that it does not name ask by DHCP"));
            }
        }
        Ok(Outcome::Passing)
    }

    /// What held the last time, or DHCP.
    pub(super) fn network_of_before(&self, facts: &Facts, status: &mut Status) -> Result<(), Failure> {
        self.put(&self.kept_network(facts).unwrap_or_default(), status)
    }

    /// Nothing was said: every card asks by DHCP.
    pub(super) fn leave_network(&self, status: &mut Status) -> Result<Outcome, Failure> {
        let setup = Setup::default();
        self.put(&setup, status)?;
        Ok(Outcome::Holds(setup))
    }

    /// For a boot on which nobody says anything.
    pub(crate) fn keep_network(&self, setup: Setup, facts: &Facts, status: &mut Status) {
        let kept = Kept { machine: facts.machine().map(str::to_owned), setup };
        let content = serde_json::to_vec(&kept).unwrap_or_default();
        let path = self.paths().last_good_network();
        let saved = user(self.root, "root")
            .and_then(|owner| write::write(self.disk, &path, &Found { content, mode: 0o600, owner }));
        if let Err(error) = saved {
            status.notice(format!("the network is not kept for a boot without its source: {error}"));
        }
    }

    pub(super) fn kept_network(&self, facts: &Facts) -> Option<Setup> {
        let found = self.disk.read(&self.paths().last_good_network()).ok()??;
        let kept: Kept = serde_json::from_slice(&found.content).ok()?;
        (kept.machine.as_deref() == facts.machine()).then_some(kept.setup)
    }

    /// Writes the files and tells the system, when anything is different.
    fn put(&self, setup: &Setup, status: &mut Status) -> Result<(), Failure> {
        status.network =
            Some(if setup.files.is_empty() { "DHCP on every card".to_owned() } else { setup.origin.clone() });
        let directory = self.paths().networkd();
        let changed = put_files(self.disk, &directory, &setup.files, user(self.root, "root")?)?;
        let Some(gone) = changed else { return Ok(()) };
        tracing::info!(origin = setup.origin, files = setup.files.len(), "network configuration written");
        let list: String = gone.iter().map(|name| format!("{name}\n")).collect();
        let owner = user(self.root, "root")?;
        write::write(self.disk, &self.paths().netdevs_gone(), &Found { content: list.into(), mode: 0o644, owner })?;
        self.perform(&[Action::ApplyNetwork], status);
        Ok(())
    }

    /// Why nothing is reached in time. Below another root there is no network.
    fn try_out(&self, setup: &Setup) -> Result<(), String> {
        if self.root != Path::new("/") {
            return Ok(());
        }
        wait(Instant::now() + TRIAL, || {
            let links = reach::links().map_err(|error| format!("networkctl: {error}"))?;
            reach::judge(&links, &setup.routers, reach::answers)
        })
    }
}

/// Networks of others that networkd reads before ours.
fn foreign(disk: &dyn Disk, directory: &Path) -> Vec<String> {
    let is_foreign = |name: &String| name.ends_with(".network") && name.as_str() < PREFIXES[0];
    disk.list(directory).unwrap_or_default().into_iter().filter(is_foreign).collect()
}

/// Asks until it is so, or until the time is over: then why not.
fn wait(deadline: Instant, mut step: impl FnMut() -> Result<(), String>) -> Result<(), String> {
    loop {
        match step() {
            Ok(()) => return Ok(()),
            Err(why) if Instant::now() >= deadline => return Err(why),
            Err(_) => thread::sleep(LOOK_AGAIN),
        }
    }
}

/// Makes our files in a directory these. `None` when they are already; else the bonds, bridges and VLANs that are no more.
fn put_files(
    disk: &dyn Disk,
    directory: &Path,
    files: &Files,
    owner: Owner,
) -> Result<Option<Vec<String>>, ApplyError> {
    let because = |step| {
        let path = directory.to_owned();
        move |error| ApplyError::Write { path, step, error }
    };
    let mut changed = false;
    let mut gone = Vec::new();
    for name in disk.list(directory).map_err(because("looked at"))? {
        if !PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || files.contains_key(&name) {
            continue;
        }
        disk.remove_file(&directory.join(&name)).map_err(because("tidied up"))?;
        changed = true;
        let netdev = name.strip_prefix(PREFIXES[0]).and_then(|name| name.strip_suffix(".netdev"));
        gone.extend(netdev.map(str::to_owned));
    }
    for (name, text) in files {
        let wanted = Found { content: text.clone().into_bytes(), mode: 0o644, owner };
        changed |= write::write(disk, &directory.join(name), &wanted)?;
    }
    Ok(changed.then_some(gone))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::disk::RealDisk;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn files_of_others_stay_and_ours_are_replaced() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let me = std::fs::metadata(dir.path()).expect("there");
        let put = |files: &[(&str, &str)]| {
            let files = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
            put_files(&RealDisk, dir.path(), &files, Owner { uid: me.uid(), gid: me.gid() }).expect("written")
        };
        std::fs::write(dir.path().join("70-enp0s2.network"), "the kernel command line").expect("written");
        let before = [("75-provision-bond0.netdev", "b"), ("75-provision-bond0.network", "n")];
        assert_eq!(put(&before), Some(Vec::new()));
        assert_eq!(put(&before), None);
        assert_eq!(put(&[("75-provision-eth0.network", "e")]), Some(vec!["bond0".to_owned()]));
        let mut names = RealDisk.list(dir.path()).expect("readable");
        names.sort();
        assert_eq!(names, ["70-enp0s2.network", "75-provision-eth0.network"]);
        assert_eq!(put(&[]), Some(Vec::new()));
    }

    #[test]
    fn a_trial_ends_with_the_first_success_or_with_its_last_reason() {
        let mut tries = 0;
        let late = wait(Instant::now() + Duration::from_secs(60), || {
            tries += 1;
            if tries == 2 { Ok(()) } else { Err("not yet".into()) }
        });
        assert_eq!((late, tries), (Ok(()), 2));
        assert_eq!(wait(Instant::now(), || Err("no router".into())), Err("no router".into()));
    }
}
