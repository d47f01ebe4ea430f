//! Which consoles the machine has.
use super::terminal::Kind;
use std::path::{Path, PathBuf};

/// The kernel's list of them.
const ACTIVE: &str = "sys/class/tty/console/active";

/// What the kernel uses. Its screen is the terminal that is in front, and the first one is, as there are no others. A console of a
/// hypervisor is never anything else than that.
pub fn of_kernel(root: &Path) -> Vec<(PathBuf, Kind)> {
    let active = std::fs::read_to_string(root.join(ACTIVE)).unwrap_or_default();
    let hypervisor = root.join("sys/class/tty/hvc0").exists().then_some("hvc0");
    let mut all: Vec<(PathBuf, Kind)> = Vec::new();
    for name in
        active.split_whitespace().chain(hypervisor).filter(|name| name.bytes().all(|c| c.is_ascii_alphanumeric()))
    {
        let name = if name == "tty0" { "tty1" } else { name };
        let is_screen = name.strip_prefix("tty").is_some_and(|number| number.bytes().all(|c| c.is_ascii_digit()));
        let path = root.join("dev").join(name);
        if all.iter().all(|(other, _)| *other != path) {
            all.push((path, if is_screen { Kind::Screen } else { Kind::Line }));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_console_of_the_kernel_has_the_panel_once() {
        let root = tempfile::TempDir::new().expect("a directory");
        let list = |active: &str| {
            let path = root.path().join(ACTIVE);
            std::fs::create_dir_all(path.parent().expect("below the root")).expect("made");
            std::fs::write(path, active).expect("written");
            let named = |(path, kind): (PathBuf, Kind)| {
                (path.strip_prefix(root.path()).expect("below").display().to_string(), kind)
            };
            of_kernel(root.path()).into_iter().map(named).collect::<Vec<_>>()
        };
        let (screen, line) = (|name: &str| (name.to_owned(), Kind::Screen), |name: &str| (name.to_owned(), Kind::Line));
        assert_eq!(list("tty0 ttyS0\n"), [screen("dev/tty1"), line("dev/ttyS0")]);
        assert_eq!(list("tty0\n"), [screen("dev/tty1")]);
        assert_eq!(list("tty1 tty0 ../x"), [screen("dev/tty1")]);
        assert_eq!(list(""), []);
        std::fs::create_dir_all(root.path().join("sys/class/tty/hvc0")).expect("made");
        assert_eq!(list("hvc0 ttyS1"), [line("dev/hvc0"), line("dev/ttyS1")]);
        assert_eq!(list("ttyS0"), [line("dev/ttyS0"), line("dev/hvc0")]);
    }
}
