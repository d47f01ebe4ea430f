//! Whose word about the network counts: what is attached to the machine, then the source that was asked, else that of before.
use super::apply::Outcome;
use super::{Form, Said};
use crate::agent::Agent;
use crate::facts::Facts;
use crate::failure::Failure;
use crate::metadata::Metadata;
use crate::source::attached::{Attached, attached};
use crate::status::Status;

impl Agent<'_> {
    /// The network that something attached to the machine asks for; `None` when nothing is attached, and somebody else may
    /// tell: until then it is that of before.
    pub(crate) fn attached_network(&self, facts: &Facts, status: &mut Status) -> Result<Option<Outcome>, Failure> {
        if Self::is_left_to_image(facts) {
            return self.leave_network(status).map(Some);
        }
        match attached(facts) {
            Ok(Attached::Said(said)) => match self.set_up_network(&said, true, facts, status) {
                Err(failure @ Failure::Mistakes(_)) => self.refused(&said, failure, facts, status).map(Some),
                outcome => outcome.map(Some),
            },
            // Somebody else may tell more.
            Ok(Attached::Silent) => self.leave_network(status).map(|_| None),
            Ok(Attached::Nothing) => self.network_of_before(facts, status).map(|()| None),
            Err(error) => {
                self.network_of_before(facts, status)?;
                status.instead(format!("{}; the network of before is used", crate::chain::chain(&error)));
                Ok(Some(Outcome::Passing))
            }
        }
    }

    /// The network that a source over the network tells. Mistakes in it are mostly a cloud's, and the machine is online.
    pub(crate) fn told_network(
        &self,
        facts: &Facts,
        metadata: &Metadata,
        is_earlier: bool,
        status: &mut Status,
    ) -> Result<Option<Outcome>, Failure> {
        match &metadata.network {
            _ if is_earlier => Ok(None),
            None => self.leave_network(status).map(Some),
            Some(said) => match self.set_up_network(said, false, facts, status) {
                Err(failure @ Failure::Mistakes(_)) => {
                    status.instead(format!("{}\nthe network stays as it is", failure.in_full()));
                    Ok(Some(Outcome::Passing))
                }
                outcome => outcome.map(Some),
            },
        }
    }

    /// Mistakes in what was said: that of before serves where there is one. What a program has written is no admin's fault.
    fn refused(&self, said: &Said, failure: Failure, facts: &Facts, status: &mut Status) -> Result<Outcome, Failure> {
        let known = self.kept_network(facts).is_some() || self.has_served(facts);
        if !known && said.form != Form::OpenStack {
            return Err(failure);
        }
        self.network_of_before(facts, status)?;
        let used = if known { "the network of before is used" } else { "every card asks by DHCP" };
        crate::agent::log(&failure);
        status.instead(format!("{}\n{used}", failure.in_full()));
        Ok(Outcome::Passing)
    }
}
