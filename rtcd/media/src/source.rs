//! Where somebody comes from, as far as shares go.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Who gets one share: an IPv4 address, or the /64 that is the least a network gives one subscriber of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source(IpAddr);

impl Source {
    /// The address, or the first one of the network.
    pub fn ip(self) -> IpAddr {
        self.0
    }
}

impl Default for Source {
    fn default() -> Self {
        Self(Ipv4Addr::LOCALHOST.into())
    }
}

impl From<IpAddr> for Source {
    fn from(ip: IpAddr) -> Self {
        // A socket for both families sees IPv4 addresses inside of IPv6 ones.
        match ip.to_canonical() {
            IpAddr::V6(ip) => Self(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into()),
            ip => Self(ip),
        }
    }
}

impl From<SocketAddr> for Source {
    fn from(address: SocketAddr) -> Self {
        address.ip().into()
    }
}
