//! The boot loader's entries of our image: `rtcd_VERSION+LEFT-DONE.efi` (boot counting, systemd-boot(7)).
use std::io;
use std::path::Path;
use std::{fs, str};

/// A unified kernel image in the boot partition, as the Boot Loader Specification names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BootEntry {
    /// The version of the image.
    pub version: String,
    /// How many more boots it may try; `None` when it has proved itself.
    pub tries_left: Option<u32>,
}

impl BootEntry {
    /// All entries below the directory of the boot loader's partition.
    pub fn list(directory: &Path) -> io::Result<Vec<Self>> {
        let names = fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.file_name()));
        let names: Vec<_> = names.collect::<io::Result<_>>()?;
        Ok(names.iter().filter_map(|name| Self::parse(name.to_str()?)).collect())
    }

    fn parse(name: &str) -> Option<Self> {
        let rest = name.strip_prefix("rtcd_")?.strip_suffix(".efi")?;
        let (version, tries) = match rest.rsplit_once('+') {
            Some((version, tries)) => (version, Some(tries)),
            None => (rest, None),
        };
        let tries_left = match tries {
            Some(tries) => Some(tries.split('-').next()?.parse().ok()?),
            None => None,
        };
        Some(Self { version: version.to_owned(), tries_left })
    }

    /// Whether a restart would try it.
    pub fn is_on_trial(&self) -> bool {
        self.tries_left.is_some_and(|left| left > 0)
    }

    /// Whether it was tried as often as it may be and never served.
    pub fn is_given_up(&self) -> bool {
        self.tries_left == Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_version_and_trials() {
        let check = |name, expected: Option<(&str, Option<u32>)>| {
            let found = BootEntry::parse(name);
            let found = found.as_ref().map(|entry| (entry.version.as_str(), entry.tries_left));
            assert_eq!(found, expected, "{name}");
        };
        check("rtcd_0.1.0.efi", Some(("0.1.0", None)));
        check("rtcd_0.2.0+3-0.efi", Some(("0.2.0", Some(3))));
        check("rtcd_0.2.0+1.efi", Some(("0.2.0", Some(1))));
        check("rtcd_0.2.0+0-3.efi", Some(("0.2.0", Some(0))));
        check("rtcd_0.2.0+x.efi", None);
        check("other_0.1.0.efi", None);
        check("rtcd_0.1.0.conf", None);
    }

    #[test]
    fn only_a_version_that_has_tries_left_is_worth_a_restart() {
        let entry = |tries_left| BootEntry { version: "1".into(), tries_left };
        assert!(entry(Some(1)).is_on_trial() && !entry(Some(0)).is_on_trial() && !entry(None).is_on_trial());
        assert!(entry(Some(0)).is_given_up() && !entry(None).is_given_up());
    }
}
