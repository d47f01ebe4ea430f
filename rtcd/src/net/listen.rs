//! The listener of the API.
use crate::config::ListenAddress;
use crate::plane::owner::PortOwner;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, SockaddrIn6, SockaddrLike, bind as bind_socket,
    listen as listen_on, setsockopt, socket, sockopt,
};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV6, TcpListener, ToSocketAddrs};
use std::os::fd::AsRawFd;

/// Connections that the kernel holds until we take them: a burst of Mattermost nodes that come back, or of strangers.
const BACKLOG: i32 = 1024;

/// The API's address is taken, or not ours, or we may not bind it: the operator's to fix.
#[derive(Debug, thiserror::Error)]
#[error("api.http.listen_address: cannot bind {address}{owner}")]
pub struct CannotBind {
    address: ListenAddress,
    owner: Owner,
    source: io::Error,
}

/// Who has the port, when somebody has.
#[derive(Debug)]
struct Owner(Option<(u16, PortOwner)>);

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some((port, owner)) => write!(f, ": port {port} is in use by {owner}"),
            None => Ok(()),
        }
    }
}

impl Owner {
    fn of(address: &ListenAddress, error: &io::Error) -> Self {
        let taken = error.kind() == io::ErrorKind::AddrInUse;
        let address = match address {
            ListenAddress::Address(address) => *address,
            ListenAddress::Any(port) | ListenAddress::Name(_, port) => (Ipv4Addr::UNSPECIFIED, *port).into(),
        };
        Self(taken.then(|| (address.port(), PortOwner::of("TCP", address))))
    }
}

/// Binds an address, ready for tokio. `:port` and `[::]:port` take IPv6 and IPv4 where there are both, as they do in Go,
/// whatever `net.ipv6.bindv6only` says. Of a name's addresses the first IPv4 one is bound, as Go does it. Blocks while a
/// name is resolved.
pub fn bind(address: &ListenAddress) -> Result<TcpListener, CannotBind> {
    try_bind(address).map_err(|source| CannotBind {
        address: address.clone(),
        owner: Owner::of(address, &source),
        source,
    })
}

fn try_bind(address: &ListenAddress) -> io::Result<TcpListener> {
    let address = match address {
        ListenAddress::Any(port) => return every_address(*port),
        ListenAddress::Address(SocketAddr::V6(address)) if address.ip().is_unspecified() => {
            return every_address(address.port());
        }
        ListenAddress::Address(address) => *address,
        ListenAddress::Name(host, port) => {
            let found: Vec<_> = (host.as_str(), *port).to_socket_addrs()?.collect();
            let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
            *first.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))?
        }
    };
    Ok(match address {
        SocketAddr::V4(address) => listen(AddressFamily::Inet, &SockaddrIn::from(address))?,
        SocketAddr::V6(address) => listen(AddressFamily::Inet6, &SockaddrIn6::from(address))?,
    })
}

/// An IPv6 socket takes IPv4 too; a machine that knows no IPv6 has only that.
fn every_address(port: u16) -> io::Result<TcpListener> {
    let every = SocketAddrV6::new(std::net::Ipv6Addr::UNSPECIFIED, port, 0, 0);
    match listen(AddressFamily::Inet6, &SockaddrIn6::from(every)) {
        Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL | Errno::EINVAL | Errno::EPERM) => {
            let every = std::net::SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
            Ok(listen(AddressFamily::Inet, &SockaddrIn::from(every))?)
        }
        bound => Ok(bound?),
    }
}

fn listen(family: AddressFamily, address: &dyn SockaddrLike) -> Result<TcpListener, Errno> {
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    // Connections of the last process may linger.
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    if family == AddressFamily::Inet6 {
        setsockopt(&socket, sockopt::Ipv6V6Only, &false)?;
    }
    bind_socket(socket.as_raw_fd(), address)?;
    listen_on(&socket, Backlog::new(BACKLOG).unwrap_or(Backlog::MAXCONN))?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv6Addr, TcpStream};

    #[test]
    fn every_address_means_both_families() {
        for address in [ListenAddress::Any(0), ListenAddress::Address("[::]:0".parse().expect("an address"))] {
            let listener = bind(&address).expect("any port is free");
            let port = listener.local_addr().expect("bound").port();
            assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok(), "{address}");
            if listener.local_addr().expect("bound").is_ipv6() {
                assert!(TcpStream::connect((Ipv6Addr::LOCALHOST, port)).is_ok(), "{address}");
            }
            assert_eq!(
                bind(&ListenAddress::Any(port)).map_err(|error| error.source.kind()).err(),
                Some(io::ErrorKind::AddrInUse)
            );
        }
    }

    #[test]
    fn a_name_means_its_ipv4_address_if_it_has_one() {
        let listener = bind(&ListenAddress::Name("localhost".into(), 0)).expect("any port is free");
        assert_eq!(listener.local_addr().expect("bound").ip(), Ipv4Addr::LOCALHOST);
    }
}
