//! `provision update`: takes a newer version of the image and restarts into it, at night and without ending a call.
//!
//! systemd-sysupdate(8) fetches, checks signature and sums, and writes the other slot; the boot loader counts attempts; the
//! health check blesses. What is left for us: where from, when, and rtcd's callers.
mod entries;
mod esp;
mod window;

pub use window::Window;

use crate::cloud_config::Update;
use crate::exit_code::ExitCode;
use crate::notice;
use crate::plan;
use crate::system::{Rtcd, systemctl};
use entries::BootEntry;
use jiff::Zoned;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

/// Not on PATH: it is no command for people.
const SYSUPDATE: &str = "/usr/lib/systemd/systemd-sysupdate";
/// What the image ships for it, each file a part of a version.
const TRANSFERS: &str = "/usr/lib/sysupdate.d";
/// Drop-ins of this boot.
const OVERRIDES: &str = "/run/sysupdate.d";
/// Where the boot loader's partition may be mounted, and its entries there.
const ENTRIES: [&str; 2] = ["/boot/EFI/Linux", "/efi/EFI/Linux"];
/// What notices of it are about.
const TOPIC: &str = "update";
/// How often rtcd is asked whether the last call has ended.
const POLL: Duration = Duration::from_secs(1);

/// Why a night passed without the new version. The next timer tries again.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// The agent's own file of this boot.
    #[error("/run/rtcd/{} cannot be read", plan::UPDATE)]
    Wish(#[source] io::Error),
    /// A file of systemd-sysupdate.
    #[error("{path} cannot be {step}")]
    File {
        /// The path of the file.
        path: String,
        /// What was being done to it, as a participle.
        step: &'static str,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// A program that did not run at all.
    #[error("{0} cannot be run")]
    Program(&'static str, #[source] io::Error),
    /// Whoever publishes: a wrong signature, a wrong sum, an unreachable server. Its own lines are in the journal.
    #[error("systemd-sysupdate refused or could not fetch the version: exit status {0:?}")]
    Refused(Option<i32>),
    /// systemd did not take the request for a restart.
    #[error("the machine cannot be restarted")]
    Restart(#[source] io::Error),
}

/// What the timer starts.
pub fn run() -> ExitCode {
    let asked_to_end = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        if let Err(error) = signal_hook::flag::register(signal, asked_to_end.clone()) {
            tracing::error!(%error, "not updated: the agent cannot listen for signals");
            return ExitCode::System;
        }
    }
    match update(&asked_to_end) {
        Ok(()) => ExitCode::Success,
        Err(error) => {
            let why = crate::chain::chain(&error);
            tracing::error!("not updated: {why}");
            notice::say(TOPIC, Some(&format!("not updated: {why}")));
            ExitCode::System
        }
    }
}

fn update(asked_to_end: &AtomicBool) -> Result<(), UpdateError> {
    let Some(Update { url, window }) = wish()? else { return Ok(()) };
    let Some(left) = window.left(&Zoned::now()) else {
        tracing::debug!(%window, "not the time for updates");
        take_new_calls_again();
        return Ok(());
    };
    let closes = Instant::now() + left;
    point_transfers_at(&url)?;
    tracing::info!(url, %window, "looking for a newer version");
    let ended = {
        let _writable = esp::Writable::begin();
        sysupdate(&["update"])?
    };
    if !ended.success() {
        return Err(UpdateError::Refused(ended.code()));
    }
    notice::say(TOPIC, None);
    let Some(version) = on_trial()? else { return Ok(()) };
    notice::say(
        TOPIC,
        Some(&format!("version {version} is installed: the machine restarts into it when the last call has ended")),
    );
    tracing::info!(version, "a newer version is installed: waiting for the last call to end");
    if !drained(closes, asked_to_end) {
        tracing::warn!(version, %window, "calls still run: the restart waits for the next time");
        return Ok(());
    }
    tracing::info!(version, "restarting into the newer version");
    systemctl(&["reboot"]).map_err(UpdateError::Restart)
}

/// What user data said, as `provision run` wrote it.
fn wish() -> Result<Option<Update>, UpdateError> {
    match fs::read(plan::run_path(plan::UPDATE)) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| UpdateError::Wish(error.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(UpdateError::Wish(error)),
    }
}

/// The image's transfers name no server; a drop-in of each does.
fn point_transfers_at(url: &str) -> Result<(), UpdateError> {
    let failed = |path: &Path, step| {
        let path = path.display().to_string();
        move |error| UpdateError::File { path, step, error }
    };
    let directory = Path::new(TRANSFERS);
    for entry in fs::read_dir(directory).map_err(failed(directory, "read"))? {
        let name = entry.map_err(failed(directory, "read"))?.file_name();
        let drop_ins = Path::new(OVERRIDES).join(format!("{}.d", name.to_string_lossy()));
        let path = drop_ins.join("50-url.conf");
        fs::create_dir_all(&drop_ins).map_err(failed(&drop_ins, "made"))?;
        // Of this boot, for nobody but the program that is started next: no need of an atomic write.
        fs::write(&path, format!("[Source]\nPath={url}\n")).map_err(failed(&path, "written"))?;
    }
    Ok(())
}

fn sysupdate(arguments: &[&str]) -> Result<std::process::ExitStatus, UpdateError> {
    let mut command = Command::new(SYSUPDATE);
    command.args(arguments).stdin(Stdio::null());
    command.status().map_err(|error| UpdateError::Program(SYSUPDATE, error))
}

/// The version that a restart would try. One that has failed as often as it may is not worth a restart every night.
fn on_trial() -> Result<Option<String>, UpdateError> {
    // Its answer is the exit status: something newer than what runs is installed.
    if !sysupdate(&["pending"])?.success() {
        return Ok(None);
    }
    let directory = ENTRIES.iter().map(Path::new).find(|path| path.is_dir()).unwrap_or(Path::new(ENTRIES[0]));
    let entries = BootEntry::list(directory).map_err(|error| {
        let path = directory.display().to_string();
        UpdateError::File { path, step: "read", error }
    })?;
    for BootEntry { version, .. } in entries.iter().filter(|entry| entry.is_given_up()) {
        tracing::warn!(version, "this version has been tried and did not serve: waiting for a newer one");
        notice::say(
            TOPIC,
            Some(&format!("version {version} has been tried and did not serve: waiting for a newer one")),
        );
    }
    Ok(entries.into_iter().find(BootEntry::is_on_trial).map(|entry| entry.version))
}

/// A run of us that was killed may have left rtcd sending new calls elsewhere.
fn take_new_calls_again() {
    match Rtcd::running() {
        Ok(Some(rtcd)) if rtcd.sends_new_calls_elsewhere() => match rtcd.take_new_calls() {
            Ok(()) => tracing::warn!("an earlier run ended early: rtcd takes new calls again"),
            Err(error) => tracing::error!(%error, "rtcd goes on sending new calls elsewhere"),
        },
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "rtcd cannot be asked"),
    }
}

/// Sends new calls elsewhere and waits for a moment without a call. When there is none, rtcd takes new calls again. A call
/// that begins behind that moment, for want of another host, is not cut: the restart waits for it as `systemctl stop` does.
fn drained(closes: Instant, asked_to_end: &AtomicBool) -> bool {
    let rtcd = match Rtcd::running() {
        Ok(Some(rtcd)) => rtcd,
        Ok(None) => return true,
        Err(error) => {
            tracing::warn!(%error, "rtcd cannot be asked");
            return false;
        }
    };
    if let Err(error) = rtcd.send_new_calls_elsewhere() {
        tracing::warn!(%error, "rtcd cannot be told");
        return false;
    }
    while Instant::now() < closes && !asked_to_end.load(Ordering::Relaxed) {
        match Rtcd::running() {
            Ok(Some(rtcd)) if !rtcd.is_drained() => thread::sleep(POLL),
            Ok(_) => return true,
            Err(error) => {
                tracing::warn!(%error, "rtcd cannot be asked");
                break;
            }
        }
    }
    if let Err(error) = rtcd.take_new_calls() {
        tracing::error!(%error, "rtcd goes on sending new calls elsewhere");
    }
    false
}
