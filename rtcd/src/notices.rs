//! What waits for the admin: things that are odd now, each said for as long as it is so. The log says the same when it begins.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What a notice is about; each part of the daemon has its own and says all of it at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Topic {
    /// What the configuration has that is odd.
    Configuration,
    /// What a reload could not take over.
    Reload,
    /// The certificate of the API.
    Certificate,
    /// Addresses that participants are told.
    Addresses,
    /// Buffers and queues of the kernel.
    Kernel,
    /// Servers that relay for us.
    Turn,
}

impl Topic {
    /// In a word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Reload => "reload",
            Self::Certificate => "certificate",
            Self::Addresses => "addresses",
            Self::Kernel => "kernel",
            Self::Turn => "turn",
        }
    }
}

/// A cheap handle on all notices.
#[derive(Clone, Debug, Default)]
pub struct Notices(Arc<Mutex<BTreeMap<Topic, Vec<String>>>>);

impl Notices {
    /// All that there is to say of this.
    pub fn set(&self, topic: Topic, notices: Vec<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(topic, notices);
    }

    /// One more.
    pub fn add(&self, topic: Topic, notice: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(topic).or_default().push(notice);
    }

    /// All of them.
    pub fn all(&self) -> Vec<(Topic, String)> {
        let notices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_topic = |(topic, said): (&Topic, &Vec<String>)| -> Vec<_> {
            said.iter().map(|notice| (*topic, notice.clone())).collect()
        };
        notices.iter().flat_map(of_topic).collect()
    }
}
