//! `provision run`: the whole way, once a boot, and once more for each attempt after one that failed.
use crate::agent::Agent;
use crate::detect::{self, Choice, Datasource};
use crate::draft::{Draft, Request};
use crate::exit_code::ExitCode;
use crate::facts::Facts;
use crate::failure::Failure;
use crate::metadata::Metadata;
use crate::source::{self, Context, Outcome, Source};
use crate::state::LastGood;
use crate::status::{self, Status};

/// What a source said: now, or the last time.
struct Answer {
    /// Whom to tell how it went; nobody when this is an earlier answer.
    source: Option<Box<dyn Source>>,
    name: String,
    metadata: Metadata,
    /// Why an earlier answer is used.
    instead: Option<String>,
}

impl Agent<'_> {
    /// Provisions the machine, and says how it went: in the journal, to the cloud, in the status, which the panel on the
    /// consoles shows.
    pub fn run(&self) -> ExitCode {
        let mut status = Status { at: status::seconds(self.now), ..Status::default() };
        let result = self.provision(&mut status);
        self.finish(status, result)
    }

    fn provision(&self, status: &mut Status) -> Result<(), Failure> {
        let facts = self.settled_facts();
        for notice in &facts.notices {
            tracing::warn!(notice, "a fact is missing");
        }
        // Whoever is asked next may be reached through it alone.
        let attached = self.attached_network(&facts, status);
        let answer = match self.ask(&facts, status) {
            Ok(answer) => Ok(answer),
            Err(failure) => self.last_good(&facts, failure),
        };
        let answer = match (&attached, answer) {
            (Err(_), Ok(answer)) => self.also_wrong(&answer).map_or(Ok(answer), Err),
            (_, answer) => answer,
        };
        let (attached, mut answer) = both(attached, answer)?;
        self.tell_of(&answer, status);

        let configured = self.configure(&answer.name, &answer.metadata, facts.debug_image, status);
        if let Some(source) = &answer.source {
            self.report(&facts, source.as_ref(), configured.as_ref().err(), status);
        }
        let actions = match configured {
            Err(failure @ Failure::Mistakes(_)) if answer.instead.is_none() => {
                answer = self.last_good(&facts, failure)?;
                self.tell_of(&answer, status);
                self.configure(&answer.name, &answer.metadata, facts.debug_image, status)?
            }
            other => other?,
        };
        let network = match attached {
            Some(network) => Some(network),
            None => self.told_network(&facts, &answer.metadata, answer.instead.is_some(), status)?,
        };
        self.perform(&actions, status);
        match answer.instead {
            Some(why) => status.using_last_good = Some(why),
            None => self.keep(&LastGood::new(&answer.name, facts.machine(), &answer.metadata), status),
        }
        if let Some(setup) = network.and_then(|network| network.worth_keeping()) {
            self.keep_network(setup, &facts, status);
        }
        Ok(())
    }

    /// Finds the source and asks it.
    fn ask(&self, facts: &Facts, status: &mut Status) -> Result<Answer, Failure> {
        let Choice { which, why } = detect::detect(facts)?;
        let source = source::of(&which);
        tracing::info!(source = source.name(), reason = why, "source found");
        status.source = Some(source.name().to_owned());
        status.reason = Some(why);
        let metadata = source.fetch(&self.context(facts))?.ok_or(Failure::Empty(source.name()))?;
        Ok(Answer { name: source.name().to_owned(), source: Some(source), metadata, instead: None })
    }

    fn tell_of(&self, answer: &Answer, status: &mut Status) {
        let Answer { name, metadata, .. } = answer;
        status.source = Some(name.clone());
        status.instance_id.clone_from(&metadata.instance_id);
        let user_data_bytes = metadata.user_data.as_ref().map_or(0, Vec::len);
        tracing::info!(source = name, instance_id = metadata.instance_id, user_data_bytes, "metadata read");
        for ignored in &metadata.ignored {
            status.notice(format!("{name}: {ignored}"));
        }
    }

    /// What this machine was told the last time, when its source is gone or makes no sense any more: a seed that was
    /// unplugged, a service that fails, two volumes, user data with mistakes. A machine that served goes on serving.
    fn last_good(&self, facts: &Facts, failure: Failure) -> Result<Answer, Failure> {
        let may_help = !matches!(failure, Failure::System(_));
        let kept = may_help.then(|| LastGood::load(self.disk, &self.paths().last_good(), facts.machine())).flatten();
        let Some((name, metadata)) = kept.and_then(|kept| Some((kept.source.clone(), kept.metadata()?))) else {
            return Err(failure);
        };
        crate::agent::log(&failure);
        tracing::error!(source = name, "an earlier answer of the source is used");
        Ok(Answer { source: None, name, metadata, instead: Some(failure.in_full()) })
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

    /// Whether `ds=none` says that the image alone counts.
    pub(crate) fn is_left_to_image(facts: &Facts) -> bool {
        detect::detect(facts).is_ok_and(|choice| choice.which == Datasource::Nothing)
    }

    /// Everything that is wrong with the user data, when the network is wrong already: one report names it all.
    fn also_wrong(&self, answer: &Answer) -> Option<Failure> {
        let request =
            Request { source: &answer.name, metadata: &answer.metadata, root: Some(self.root), debug_image: false };
        Draft::new(&request).err()
    }
}

type Network = Option<crate::network::apply::Outcome>;

/// Both, or everything that is wrong with either.
fn both(network: Result<Network, Failure>, answer: Result<Answer, Failure>) -> Result<(Network, Answer), Failure> {
    match (network, answer) {
        (Ok(network), Ok(answer)) => Ok((network, answer)),
        (Err(one), Err(other)) => Err(Failure::Both(Box::new(one), Box::new(other))),
        (Err(failure), Ok(_)) | (Ok(_), Err(failure)) => Err(failure),
    }
}
