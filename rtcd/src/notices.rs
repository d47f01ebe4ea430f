//! What waits for the admin: things that are odd now, each said for as long as it is so. The log says the same when it begins.
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
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

/// What other parts of the machine have left for the admin: each file is a notice, and its name what the notice is about.
pub const OF_THE_MACHINE: [&str; 2] = ["/run/rtcd/notices", "/run/rtcd-var"];

/// Files that are read, and bytes of each.
const MAX_FILES: usize = 16;
const MAX_BYTES: u64 = 2048;

/// Reads what is in a directory, if there is any.
pub fn of_directory(directory: &Path) -> Vec<(String, String)> {
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    let read = |name: String| {
        let mut text = String::new();
        File::open(directory.join(&name)).ok()?.take(MAX_BYTES).read_to_string(&mut text).ok()?;
        Some((name, text.trim().to_owned()))
    };
    names.into_iter().take(MAX_FILES).filter_map(read).filter(|(_, text)| !text.is_empty()).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::tests::TempDir;

    #[test]
    fn what_others_have_left_is_read_as_far_as_it_is_text_and_short() {
        let dir = TempDir::new();
        assert_eq!(of_directory(&dir.path().join("none")), []);
        let write = |name: &str, text: &[u8]| std::fs::write(dir.path().join(name), text).expect("written");
        write("update", b"a version waits\n");
        write(".update", b"half of it");
        write("empty", b"");
        write("rubbish", b"\xff\xfe");
        write("long", &[b'x'; 10_000]);
        std::fs::create_dir(dir.path().join("directory")).expect("made");
        let found = of_directory(dir.path());
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!((found[0].0.as_str(), found[0].1.len()), ("long", 2048));
        assert_eq!(found[1], ("update".to_owned(), "a version waits".to_owned()));
        (0..50).for_each(|number| write(&format!("many-{number}"), b"one"));
        assert!(of_directory(dir.path()).len() <= MAX_FILES);
    }
}
