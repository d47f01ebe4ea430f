//! Who has a port that we want: for the message to the operator, as far as /proc tells.
use nix::unistd::{Uid, User};
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

/// Who it is, as far as we may see.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum PortOwner {
    /// Nothing is known.
    #[default]
    Unknown,
    /// A process of this user: whoever has given up its capabilities sees no more of others.
    OfUser(String),
    /// This process, and its name.
    Process(u32, String),
}

impl fmt::Display for PortOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(pid, name) => write!(f, "{name} (pid {pid})"),
            Self::OfUser(user) => write!(f, "a process of {user}, which `ss -lptun` names to root"),
            Self::Unknown => f.write_str("another process"),
        }
    }
}

impl PortOwner {
    /// Looks for whoever has a socket of `protocol` (`UDP`, `TCP`) on the port of `address`.
    pub fn of(protocol: &str, address: SocketAddr) -> Self {
        Self::find(Path::new("/proc"), protocol, address).unwrap_or_default()
    }

    fn find(proc: &Path, protocol: &str, address: SocketAddr) -> Option<Self> {
        let protocol = protocol.to_ascii_lowercase();
        let tables = [proc.join("net").join(&protocol), proc.join("net").join(format!("{protocol}6"))];
        let tables: Vec<String> = tables.iter().filter_map(|table| std::fs::read_to_string(table).ok()).collect();
        let found: Vec<_> = tables.iter().flat_map(|table| sockets(table, address)).collect();
        let inodes: Vec<String> = found.iter().map(|(inode, _)| format!("socket:[{inode}]")).collect();
        let (_, uid) = found.first()?;
        let process = std::fs::read_dir(proc).ok()?.find_map(|entry| {
            let process = entry.ok()?.path();
            let pid = process.file_name()?.to_str()?.parse().ok()?;
            let mut descriptors = std::fs::read_dir(process.join("fd")).ok()?;
            let is_owner = descriptors.any(|descriptor| {
                let target = descriptor.ok().and_then(|descriptor| std::fs::read_link(descriptor.path()).ok());
                target.is_some_and(|target| inodes.iter().any(|inode| target.as_os_str() == inode.as_str()))
            });
            let name = || std::fs::read_to_string(process.join("comm")).map(|name| name.trim().to_owned());
            is_owner.then(|| Self::Process(pid, name().unwrap_or_else(|_| "a process".into())))
        });
        process.or_else(|| Some(Self::OfUser(name_of(uid.parse().ok()?))))
    }
}

/// A user's name, or its number.
fn name_of(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => format!("the user {uid}"),
    }
}

/// Inode and user of the sockets in a table of /proc/net that are in the way of `address`: on its port, connected to nobody.
fn sockets(table: &str, address: SocketAddr) -> impl Iterator<Item = (&str, &str)> {
    table.lines().skip(1).filter_map(move |line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, remote, uid, inode) = (fields.get(1)?, fields.get(2)?, fields.get(7)?, fields.get(9)?);
        let (ip, port) = local.split_once(':')?;
        let is_ours = u16::from_str_radix(port, 16) == Ok(address.port()) && remote.ends_with(":0000");
        // Little-endian words for IPv4; a wildcard is in the way of everything, and all of a wildcard. Of IPv6 the
        // port must do.
        let wildcard = ip.bytes().all(|digit| digit == b'0') || address.ip().is_unspecified();
        let same = match address {
            SocketAddr::V4(v4) if ip.len() == 8 => {
                u32::from_str_radix(ip, 16).is_ok_and(|word| word.to_le_bytes() == v4.ip().octets())
            }
            _ => ip.len() == 32,
        };
        (is_ours && (wildcard || same)).then_some((*inode, *uid))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_of_ours_is_found_to_be_ours() {
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").expect("bound");
        let address = udp.local_addr().expect("bound");
        let owner = PortOwner::of("UDP", address).to_string();
        assert!(owner.ends_with(&format!("(pid {})", std::process::id())), "{owner}");
        let any = SocketAddr::from(([0, 0, 0, 0], address.port()));
        assert_eq!(PortOwner::of("UDP", any).to_string(), owner, "it is in the way of a wildcard");
        let tcp = std::net::TcpListener::bind("[::1]:0").expect("bound");
        assert_ne!(PortOwner::of("TCP", tcp.local_addr().expect("bound")), PortOwner::default());
    }

    #[test]
    fn a_port_of_nobody_has_no_owner() {
        let free = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("was bound");
        assert_eq!(PortOwner::of("UDP", free).to_string(), "another process");
        let table = "  sl  local_address rem_address\n 1: nonsense\n 2: 0100007F:ZZZZ 0:0 7 0 0 0 0 0 5\n";
        assert_eq!(sockets(table, free).count(), 0);
        assert_eq!(PortOwner::find(Path::new("/nowhere"), "UDP", free), None);
    }
}
