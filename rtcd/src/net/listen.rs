//! The listener of the API.
use crate::config::ListenAddress;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

/// The API's address is taken, or not ours, or we may not bind it: the operator's to fix.
#[derive(Debug, thiserror::Error)]
#[error("cannot bind {address}")]
pub struct CannotBind {
    address: ListenAddress,
    source: io::Error,
}

/// Binds an address, ready for tokio. `:port` takes IPv6 and IPv4 where there are both.
pub fn bind(address: &ListenAddress) -> Result<TcpListener, CannotBind> {
    try_bind(address).map_err(|source| CannotBind { address: address.clone(), source })
}

fn try_bind(address: &ListenAddress) -> io::Result<TcpListener> {
    let listener = match address {
        // An IPv6 socket takes IPv4 too, unless the machine says otherwise or knows no IPv6.
        ListenAddress::Any(port) => match TcpListener::bind((Ipv6Addr::UNSPECIFIED, *port)) {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)),
            bound => bound,
        },
        ListenAddress::Address(address) => TcpListener::bind(address),
        ListenAddress::Name(host, port) => TcpListener::bind((host.as_str(), *port)),
    }?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn a_bare_port_is_reached_over_ipv4() {
        let listener = bind(&ListenAddress::Any(0)).expect("any port is free");
        let port = listener.local_addr().expect("bound").port();
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        assert_eq!(
            bind(&ListenAddress::Any(port)).map_err(|error| error.source.kind()).err(),
            Some(io::ErrorKind::AddrInUse)
        );
    }
}
