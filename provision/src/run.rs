//! `provision run`: the whole way, once a boot.
use crate::agent::Agent;
use crate::detect::{self, Choice, DetectError};
use crate::exit_code::ExitCode;
use crate::facts::Facts;
use crate::failure::Failure;
use crate::metadata::Metadata;
use crate::source::{self, Context, Outcome, Source};
use crate::state::LastGood;
use crate::status::{self, Status};

/// What a source said: now, or the last time.
struct Answer {
    source: String,
    metadata: Metadata,
    /// Why an earlier answer is used.
    instead: Option<String>,
}

impl Agent<'_> {
    /// Provisions the machine, and says how it went: in the journal, on the console, to the cloud, in the status.
    pub fn run(&self) -> ExitCode {
        let mut status = Status { at: status::seconds(self.now), ..Status::default() };
        let result = self.provision(&mut status);
        if let Err(failure) = &result {
            self.tell_console(failure);
        }
        self.finish(status, result)
    }

    fn provision(&self, status: &mut Status) -> Result<(), Failure> {
        let facts = self.settled_facts();
        for notice in &facts.notices {
            tracing::warn!(notice, "a fact is missing");
        }
        let (source, answer) = match self.ask(&facts, status) {
            Ok((source, metadata)) => {
                let answer = Answer { source: source.name().to_owned(), metadata, instead: None };
                (Some(source), answer)
            }
            Err(failure) => (None, self.last_good(&facts, failure)?),
        };
        let Answer { source: name, metadata, instead } = answer;
        status.source = Some(name.clone());
        status.instance_id.clone_from(&metadata.instance_id);
        let user_data_bytes = metadata.user_data.as_ref().map_or(0, Vec::len);
        tracing::info!(source = name, instance_id = metadata.instance_id, user_data_bytes, "metadata read");

        let configured = self.configure(&name, &metadata, facts.debug_image, status);
        if let Some(source) = source {
            self.report(&facts, source.as_ref(), configured.as_ref().err(), status);
        }
        self.perform(&configured?, status);
        match instead {
            Some(why) => status.using_last_good = Some(why),
            None => self.keep(&LastGood::new(&name, facts.machine(), &metadata), status),
        }
        Ok(())
    }

    /// Finds the source and asks it.
    fn ask(&self, facts: &Facts, status: &mut Status) -> Result<(Box<dyn Source>, Metadata), Failure> {
        let Choice { which, why } = detect::detect(facts)?;
        let source = source::of(&which);
        tracing::info!(source = source.name(), reason = why, "source found");
        status.source = Some(source.name().to_owned());
        status.reason = Some(why);
        let metadata = source.fetch(&self.context(facts))?.ok_or(Failure::Empty(source.name()))?;
        Ok((source, metadata))
    }

    /// What this machine was told the last time, when its source is gone: a seed that was unplugged, a service that fails.
    fn last_good(&self, facts: &Facts, failure: Failure) -> Result<Answer, Failure> {
        let gone = match &failure {
            Failure::NoSource(error) => *error == DetectError::Nothing,
            Failure::Source(_) | Failure::Empty(_) => true,
            Failure::Mistakes(_) | Failure::System(_) => false,
        };
        let kept = gone.then(|| LastGood::load(self.disk, &self.paths().last_good(), facts.machine())).flatten();
        let Some((source, metadata)) = kept.and_then(|kept| Some((kept.source.clone(), kept.metadata()?))) else {
            return Err(failure);
        };
        tracing::error!(error = failure.in_full(), source, "an earlier answer of the source is used");
        Ok(Answer { source, metadata, instead: Some(failure.in_full()) })
    }

    /// Some clouds want to know. What they make of it is theirs: rtcd runs all the same.
    fn report(&self, facts: &Facts, source: &dyn Source, failure: Option<&Failure>, status: &mut Status) {
        let why = failure.map(Failure::in_full);
        let outcome = why.as_deref().map_or(Outcome::Ready, Outcome::Failed);
        // The time of the client that fetched may be over.
        let http = self.http.for_report();
        match source.report(&Context { facts, http: &http }, &outcome) {
            Ok(true) => tracing::info!(source = source.name(), ready = failure.is_none(), "source told"),
            Ok(false) => {}
            Err(error) => status.notice(format!("not told how it went: {}", crate::chain::chain(&error))),
        }
    }
}
