//! What a datagram is, by its first bytes (RFC 7983), and where it travels.
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// The kind of a datagram on the media port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// STUN, first byte 0..=3.
    Stun,
    /// DTLS, first byte 20..=63.
    Dtls,
    /// SRTP, first byte 128..=191 and a payload type outside of RTCP's range.
    Rtp,
    /// SRTCP, first byte 128..=191 and packet type 192..=223 (RFC 5761, section 4).
    Rtcp,
    /// Nothing that we speak.
    Other,
}

/// Classifies one datagram; looks at two bytes and the length.
#[inline]
pub fn kind(datagram: &[u8]) -> Kind {
    match datagram {
        [0..=3, ..] => Kind::Stun,
        [20..=63, ..] => Kind::Dtls,
        [128..=191, 192..=223, ..] if datagram.len() >= 8 => Kind::Rtcp,
        [128..=191, _, ..] if datagram.len() >= 12 => Kind::Rtp,
        _ => Kind::Other,
    }
}

/// The transport protocol below ICE.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Protocol {
    /// A datagram is a packet.
    Udp,
    /// RFC 4571 frames over a TCP connection that the peer opened (RFC 6544, passive).
    Tcp,
    /// Datagrams by way of a TURN server, where we have an address (RFC 8656).
    Relay,
}

/// One way between us and a peer: what ICE calls a candidate pair.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Path {
    /// Decides about framing, and about what may be dropped.
    pub protocol: Protocol,
    /// The local socket (UDP), connection (TCP) or allocation (relay), numbered by whoever owns the sockets.
    pub local: u32,
    /// The peer's address as we see it.
    pub remote: SocketAddr,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_protocol() {
        assert_eq!(kind(&[]), Kind::Other);
        assert_eq!(kind(&[0, 1]), Kind::Stun);
        assert_eq!(kind(&[22, 0xfe, 0xfd]), Kind::Dtls);
        assert_eq!(kind(&[0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Kind::Rtp);
        assert_eq!(kind(&[0x80, 96, 0]), Kind::Other, "shorter than an RTP header");
        assert_eq!(kind(&[0x81, 206, 0, 1, 0, 0, 0, 0]), Kind::Rtcp);
        assert_eq!(kind(&[64; 20]), Kind::Other, "TURN channel data is not for us");
    }
}
