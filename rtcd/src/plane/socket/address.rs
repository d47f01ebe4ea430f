//! Addresses as the kernel takes and gives them.
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Room for an address of either family: a quarter of `sockaddr_storage`, of which batches have one for each packet.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) union Address {
    family: libc::sa_family_t,
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl Default for Address {
    fn default() -> Self {
        // SAFETY: zero is a valid value of each of the plain C structures: of no family.
        unsafe { zeroed() }
    }
}

impl Address {
    /// Bytes that the kernel may write.
    pub(super) const ROOM: libc::socklen_t = size_of::<Self>() as libc::socklen_t;

    /// Holds `address` from now on; gives its length.
    #[inline]
    pub(super) fn set(&mut self, address: SocketAddr) -> libc::socklen_t {
        match address {
            SocketAddr::V4(v4) => {
                self.v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                    sin_zero: [0; 8],
                };
                size_of::<libc::sockaddr_in>() as libc::socklen_t
            }
            SocketAddr::V6(v6) => {
                self.v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                    sin6_scope_id: v6.scope_id(),
                };
                size_of::<libc::sockaddr_in6>() as libc::socklen_t
            }
        }
    }

    /// The address that it holds; `None` when that is of another family.
    #[inline]
    pub(super) fn get(&self) -> Option<SocketAddr> {
        // SAFETY: every variant begins with the family, and any bytes are a valid value of each of them; the family says
        // which one was written.
        unsafe {
            match libc::c_int::from(self.family) {
                libc::AF_INET => {
                    let ip = Ipv4Addr::from(self.v4.sin_addr.s_addr.to_ne_bytes());
                    Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be(self.v4.sin_port)))
                }
                libc::AF_INET6 => {
                    let (ip, port) = (Ipv6Addr::from(self.v6.sin6_addr.s6_addr), u16::from_be(self.v6.sin6_port));
                    Some(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, self.v6.sin6_scope_id)))
                }
                _ => None,
            }
        }
    }
}
