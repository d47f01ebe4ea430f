//! `provision refresh`: the public address may change while the machine runs; user data count at the next boot only.
use crate::agent::Agent;
use crate::detect;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::metadata::Metadata;
use crate::source;
use crate::state::LastGood;
use crate::status::Status;

impl Agent<'_> {
    /// Looks at the addresses again. When they have changed, rtcd is told new ones; when they cannot be read, nothing changes.
    pub fn refresh(&self) -> ExitCode {
        let Some(mut status) = Status::load(self.disk, &self.paths().status()).filter(|status| status.ready) else {
            tracing::info!("nothing to refresh: this boot has not been provisioned");
            return ExitCode::Success;
        };
        match self.look_again(&mut status) {
            Ok(true) => self.finish(status, Ok(())),
            Ok(false) => ExitCode::Success,
            Err(failure) => {
                tracing::warn!(error = failure.in_full(), "not refreshed: the configuration stays as it is");
                failure.exit_code()
            }
        }
    }

    /// Whether anything was different.
    fn look_again(&self, status: &mut Status) -> Result<bool, Failure> {
        let facts = self.facts();
        let Some(kept) = LastGood::load(self.disk, &self.paths().last_good(), facts.machine()) else {
            return Ok(false);
        };
        let Some(before) = kept.metadata() else { return Ok(false) };
        let source = source::of(&detect::detect(&facts)?.which);
        if source.name() != kept.source {
            return Ok(false);
        }
        let now = source.fetch(&self.context(&facts))?.ok_or(Failure::Empty(source.name()))?;
        let metadata = with_addresses_of(before.clone(), now);
        if metadata == before {
            return Ok(false);
        }
        tracing::info!(source = source.name(), "the addresses of the machine have changed");
        let actions = self.configure(&kept.source, &metadata, facts.debug_image, status)?;
        self.perform(&actions, status);
        self.keep(&LastGood::new(&kept.source, facts.machine(), &metadata), status);
        Ok(true)
    }
}

/// An address that the source does not tell any more stays: no participant is helped by none at all.
fn with_addresses_of(before: Metadata, now: Metadata) -> Metadata {
    Metadata {
        public_ipv4: now.public_ipv4.or(before.public_ipv4),
        private_ipv4: now.private_ipv4.or(before.private_ipv4),
        public_ipv6: now.public_ipv6.or(before.public_ipv6),
        ..before
    }
}
