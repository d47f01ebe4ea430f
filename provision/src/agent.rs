//! The agent on one machine: what `run` and `refresh` share.
use crate::apply::disk::Disk;
use crate::apply::{self, ApplyError, Changed, Paths, write};
use crate::detect::{self, DetectError};
use crate::draft::{Draft, Request};
use crate::exit_code::ExitCode;
use crate::facts::Facts;
use crate::failure::Failure;
use crate::http::Client;
use crate::metadata::Metadata;
use crate::plan;
use crate::source::Context;
use crate::state::LastGood;
use crate::status::Status;
use crate::system::Action;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// The agent, with everything that it touches.
pub struct Agent<'a> {
    /// All facts and all files are below it.
    pub root: &'a Path,
    /// `$CREDENTIALS_DIRECTORY`
    pub credentials: Option<PathBuf>,
    /// The way to the metadata services.
    pub http: &'a Client,
    /// The way to the files.
    pub disk: &'a dyn Disk,
    /// Wall clock at the start, for the time in the status.
    pub now: SystemTime,
    /// How long a source may take to appear: discs and their drivers come up while we run already.
    pub patience: Duration,
}

/// Between two looks for a source that has not appeared.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

impl Agent<'_> {
    pub(crate) fn paths(&self) -> Paths {
        Paths::below(self.root)
    }

    pub(crate) fn facts(&self) -> Facts {
        Facts::gather(self.root, self.credentials.as_deref())
    }

    /// The facts as soon as there is a source among them, or when there has been none for long enough.
    pub(crate) fn settled_facts(&self) -> Facts {
        let deadline = Instant::now() + self.patience;
        loop {
            let facts = self.facts();
            if detect::detect(&facts) != Err(DetectError::Nothing) || Instant::now() >= deadline {
                return facts;
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    pub(crate) fn context<'a>(&'a self, facts: &'a Facts) -> Context<'a> {
        Context { facts, http: self.http }
    }

    /// Checks everything, then writes everything. Returns what is to be done then.
    pub(crate) fn configure(
        &self,
        source: &str,
        metadata: &Metadata,
        debug_image: bool,
        status: &mut Status,
    ) -> Result<Vec<Action>, Failure> {
        let draft = Draft::new(&Request { source, metadata, root: Some(self.root), debug_image })?;
        status.settled(&draft.settled);
        for notice in &draft.settled.notices {
            tracing::warn!("{notice}");
        }
        let files = plan::files(self.root, &draft)?;
        tracing::info!(keys = draft.settled.settings.len(), files = files.len(), "configuration rendered");
        let changed = apply::apply(self.disk, &self.paths(), &files)?;
        for (file, link) in [(plan::TIMESYNCD, self.paths().timesyncd()), (plan::UPLOAD, self.paths().journal_upload())]
        {
            if files.contains_key(file) {
                write::link(self.disk, &plan::run_path(file), &link)?;
            }
        }
        tracing::info!(changed = ?changed, "configuration written");
        Ok(self.actions(&draft, &changed))
    }

    fn actions(&self, draft: &Draft, changed: &Changed) -> Vec<Action> {
        let mut actions = Vec::new();
        let name_now = fs::read_to_string(self.root.join("proc/sys/kernel/hostname")).unwrap_or_default();
        if let Some(name) = &draft.settled.hostname
            && name.value != name_now.trim()
        {
            actions.push(Action::SetHostname(name.value.clone()));
        }
        match &draft.wanted.ntp {
            Some(ntp) if !ntp.enabled => actions.push(Action::StopTimesyncd),
            _ if changed.contains(plan::TIMESYNCD) => actions.push(Action::RestartTimesyncd),
            _ => {}
        }
        let log_files = [plan::SYSLOG, plan::UPLOAD, plan::UPLOAD_CA, plan::UPLOAD_CLIENT];
        let logs = &draft.wanted.logs;
        let trusts_others = changed.contains(plan::TRUSTED) && (logs.syslog.is_some() || logs.upload.is_some());
        if trusts_others || log_files.iter().any(|file| changed.contains(*file)) {
            actions.push(Action::RestartLogs);
        }
        if !changed.is_empty() {
            actions.push(Action::ReloadRtcd);
        }
        actions
    }

    /// Tells the running system; below another root there is none.
    pub(crate) fn perform(&self, actions: &[Action], status: &mut Status) {
        for action in actions.iter().filter(|_| self.root == Path::new("/")) {
            match action.perform() {
                Ok(()) => tracing::info!(%action, "system told"),
                Err(error) => status.notice(format!("not done: {action}: {error}")),
            }
        }
    }

    /// Whether there is an answer that led to a running rtcd.
    pub(crate) fn has_served(&self, facts: &Facts) -> bool {
        LastGood::load(self.disk, &self.paths().last_good(), facts.machine()).is_some()
    }

    /// Keeps the answer for a boot without a source. rtcd runs without it too.
    pub(crate) fn keep(&self, answer: &LastGood, status: &mut Status) {
        if let Err(error) = self.save(|owner| answer.save(self.disk, &self.paths().last_good(), owner)) {
            status.notice(format!("a later boot without the source will fail: {error}"));
        }
    }

    /// Leaves the status, logs the outcome.
    pub(crate) fn finish(&self, mut status: Status, result: Result<(), Failure>) -> ExitCode {
        let code = match &result {
            Ok(()) => {
                tracing::info!(source = status.source, instance_id = status.instance_id, "provisioned");
                ExitCode::Success
            }
            Err(failure) => {
                log(failure);
                tracing::error!("not provisioned");
                failure.exit_code()
            }
        };
        status.ready = result.is_ok();
        status.error = result.err().map(|failure| failure.in_full());
        if let Err(error) = self.save(|owner| status.save(self.disk, &self.paths().status(), owner)) {
            tracing::error!(%error, "provision status will not tell of this run");
        }
        code
    }

    fn save(&self, save: impl FnOnce(apply::disk::Owner) -> Result<(), ApplyError>) -> Result<(), ApplyError> {
        save(apply::user(self.root, "root")?)
    }
}

/// One line for each mistake: a search by its key finds it.
pub(crate) fn log(failure: &Failure) {
    if let Failure::Both(one, other) = failure {
        log(one);
        log(other);
    } else if let Failure::Mistakes(mistakes) = failure {
        for mistake in &mistakes.all {
            let (line, column) = mistake.mark.map_or((0, 0), |mark| (mark.line, mark.column));
            tracing::error!(key = mistake.key, line, column, "{mistake}");
        }
        tracing::error!(mistakes = mistakes.all.len(), "not used: {} has mistakes", mistakes.name);
    } else {
        tracing::error!(exit_code = failure.exit_code() as u8, "{}", failure.in_full());
    }
}
