//! A network of a test's own: the ports of the documentation are free there, and nobody else is disturbed. Needs root.
use nix::sched::{CloneFlags, unshare};
use std::net::Ipv4Addr;
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
            let done = Command::new("ip").args(line.split(' ')).status().expect("ip runs");
            assert!(done.success(), "ip {line}");
        }
        test()
    };
    std::thread::scope(|scope| {
        scope.spawn(in_namespace).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
