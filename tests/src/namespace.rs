//! A network of a test's own: the ports of the documentation are free there, and nobody else is disturbed. Needs root.
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
    let in_namespace = || {
        // Namespaces belong to threads.
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
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
    };
    std::thread::scope(|scope| {
        scope.spawn(in_namespace).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs `test` in a network with loopback and one interface, `inside`, whose cable ends in another network as `outside`.
/// Neither has any address yet beside loopback and the link-local ones of IPv6.
pub fn with_a_cable_to_another_network<T: Send>(test: impl FnOnce(&Namespace) -> T + Send) -> T {
    let (here, far) = (Namespace::new(), Namespace::new());
    here.cable("inside", &far, "outside");
    here.run(|| test(&far))
}

/// One network among several. It lasts as long as this value, or as what runs in it.
pub struct Namespace(File);

impl Namespace {
    /// With loopback alone.
    pub fn new() -> Self {
        let made = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
            ip("link set lo up");
            File::open("/proc/thread-self/ns/net").expect("the namespace has a name")
        };
        Self(std::thread::scope(|scope| scope.spawn(made).join()).expect("a network namespace"))
    }

    /// Runs `what` there. What it starts, processes and threads, stays there.
    pub fn run<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            setns(&self.0, CloneFlags::CLONE_NEWNET).expect("the namespace is there");
            what()
        };
        std::thread::scope(|scope| scope.spawn(inside).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    }

    /// Runs `ip` there.
    pub fn ip(&self, line: &str) {
        self.run(|| ip(line));
    }

    /// Lays a cable from an interface here to one in another namespace; each end gets an address with its prefix length.
    pub fn connect(&self, (here, own): (&str, &str), other: &Namespace, (there, theirs): (&str, &str)) {
        self.cable(here, other, there);
        for (namespace, name, address) in [(self, here, own), (other, there, theirs)] {
            namespace.ip(&format!("addr add {address} dev {name}"));
        }
    }

    /// The same without addresses.
    fn cable(&self, here: &str, other: &Namespace, there: &str) {
        self.ip(&format!("link add {here} type veth peer name {there}"));
        let (pid, fd) = (std::process::id(), other.0.as_raw_fd());
        self.ip(&format!("link set {there} netns /proc/{pid}/fd/{fd}"));
        for (namespace, name) in [(self, here), (other, there)] {
            namespace.ip(&format!("link set {name} up"));
        }
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs `ip` in this thread's network.
pub fn ip(line: &str) {
    let done = Command::new("ip").args(line.split(' ')).status().expect("ip runs");
    assert!(done.success(), "ip {line}");
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
