//! Networks of a test's own: the ports of the documentation are free there, and nobody else is disturbed. Needs root.
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::process::Command;

/// Where a machine of the network is reached that is not loopback.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// Runs `test` where there are loopback and an interface with [`ADDRESS`] that leads nowhere. What it starts is there too.
pub fn with_a_network_of_its_own<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    in_a_new_network(|| {
        for line in [
            "link set lo up",
            "link add inside type veth peer name outside",
            &format!("addr add {ADDRESS}/24 dev inside"),
            "link set inside up",
            "link set outside up",
            "route add default via 10.77.0.2",
        ] {
            ip(line);
        }
        test()
    })
}

/// Runs `test` in a network with loopback and one interface, `inside`, whose cable ends in another network as `outside`.
/// Neither has any address yet beside loopback and the link-local ones of IPv6.
pub fn with_a_cable_to_another_network<T: Send>(test: impl FnOnce(&Network) -> T + Send) -> T {
    in_a_new_network(|| {
        let far = Network::new();
        ip("link set lo up");
        ip("link add inside type veth peer name outside");
        ip(&format!("link set outside netns {}", far.path()));
        ip("link set inside up");
        far.run(|| {
            ip("link set lo up");
            ip("link set outside up");
        });
        test(&far)
    })
}

/// Another network than that of the thread that holds it.
pub struct Network(File);

impl Network {
    fn new() -> Self {
        let made = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
            File::open("/proc/thread-self/ns/net").expect("a thread has a network")
        };
        std::thread::scope(|scope| Self(scope.spawn(made).join().expect("a thread")))
    }

    /// By this path it is known to other processes.
    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Runs something there. What it starts is there too.
    pub fn run<T: Send>(&self, there: impl FnOnce() -> T + Send) -> T {
        let run = || {
            setns(&self.0, CloneFlags::CLONE_NEWNET).expect("the network is entered");
            there()
        };
        std::thread::scope(|scope| scope.spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    }
}

/// Namespaces belong to threads.
fn in_a_new_network<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    let run = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        test()
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}

/// `ip` with these words, in this thread's network.
pub fn ip(words: &str) {
    let done = Command::new("ip").args(words.split(' ')).status().expect("ip runs");
    assert!(done.success(), "ip {words}");
}

/// Sets `net.ipv6.conf.<name>` in this thread's network.
pub fn ipv6_setting(name: &str, value: &str) {
    // /proc/sys/net is that of the thread that looks.
    fs::write(format!("/proc/sys/net/ipv6/conf/{}", name.replace('.', "/")), value).expect(name);
}

/// Names that this thread, and what it starts, finds in a hosts file of its own.
pub struct Hosts(PathBuf);

impl Hosts {
    /// Puts an empty file in the place of the machine's, for this thread.
    pub fn new() -> Self {
        let file = crate::daemon::temp_dir("hosts").join("hosts");
        fs::write(&file, "").expect("the file can be made");
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
        for words in ["--make-rprivate /", &format!("--bind {} /etc/hosts", file.display())] {
            let done = Command::new("mount").args(words.split(' ')).status().expect("mount runs");
            assert!(done.success(), "mount {words}");
        }
        Self(file)
    }

    /// From now on `name` has these addresses, and there is no other.
    pub fn set(&self, name: &str, addresses: &[&str]) {
        let lines: String = addresses.iter().map(|address| format!("{address} {name}\n")).collect();
        // In place: the mount is of the file.
        fs::write(&self.0, lines).expect("the file can be written");
    }
}

impl Default for Hosts {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let _ = self.0.parent().map(fs::remove_dir_all);
    }
}
