//! Our side of a session description.
use super::{Direction, MediaKind, Mid, Rid, Setup};
use crate::demux::Protocol;
use crate::dtls::Fingerprint;
use crate::ice::Credentials;
use crate::rtp::Ssrc;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

/// A candidate of ours (RFC 8839, section 5.1): one of this host's, or a relayed one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Candidate {
    /// UDP, TCP that waits for the peer to connect, or a relay.
    pub protocol: Protocol,
    /// Where peers reach us.
    pub address: SocketAddr,
    /// Distinguishes addresses of ours, best first.
    pub rank: u16,
    /// Its base (RFC 8445, section 2.3) behind a NAT, where `address` is the public side.
    pub base: Option<IpAddr>,
}

impl Candidate {
    /// RFC 8445, section 5.1.2.1: UDP before TCP (RFC 6544, section 4.2), a relay last; then by rank.
    fn priority(&self) -> u32 {
        let (type_preference, direction) = match self.protocol {
            Protocol::Udp => (126, 7),
            Protocol::Tcp => (90, 4),
            Protocol::Relay => (0, 7),
        };
        let local = direction << 13 | (0x1fff - u32::from(self.rank).min(0x1fff));
        type_preference << 24 | local << 8 | 255
    }
}

impl std::fmt::Display for Candidate {
    /// The value of `a=candidate`, as it also travels in an ICE message.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (transport, base) = match self.protocol {
            Protocol::Udp => ("udp", 1),
            Protocol::Tcp => ("tcp", 1001),
            Protocol::Relay => ("udp", 2001),
        };
        let (ip, port) = (self.address.ip(), self.address.port());
        write!(f, "candidate:{} 1 {transport} {} {ip} {port} typ ", base + self.rank, self.priority())?;
        match self.protocol {
            Protocol::Udp => f.write_str("host"),
            Protocol::Tcp => f.write_str("host tcptype passive"),
            // Where the server sees us is nobody's business, but the attribute must be there (RFC 8839, section 5.1).
            Protocol::Relay => {
                f.write_str(if ip.is_ipv4() { "relay raddr 0.0.0.0 rport 0" } else { "relay raddr :: rport 0" })
            }
        }
    }
}

/// A payload type as we announce it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalFormat {
    /// 0..=127.
    pub payload_type: u8,
    /// Encoding name, clock and channels: `opus/48000/2`.
    pub rtpmap: &'static str,
    /// `a=fmtp`, possibly empty.
    pub parameters: String,
    /// `a=rtcp-fb` values.
    pub feedback: Vec<String>,
    /// The payload type of its retransmissions (RFC 4588).
    pub rtx: Option<u8>,
}

/// A stream that we send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalStream {
    /// The SSRC of its media packets.
    pub ssrc: Ssrc,
    /// Of its retransmissions (RFC 4588, section 4: a stream of their own in the same session).
    pub rtx_ssrc: Option<Ssrc>,
    /// CNAME and msid stream id: the sender's session id.
    pub stream_id: String,
    /// The second word of `a=msid`; apps parse it.
    pub track_id: String,
}

/// A media section as we announce it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalMedia {
    /// Sound, pictures or data.
    pub kind: MediaKind,
    /// `a=mid`, the peer's where it made the section.
    pub mid: Mid,
    /// `sendonly`: we send and do not receive.
    pub direction: Direction,
    /// Port 0: refused.
    pub rejected: bool,
    /// As in the peer's description.
    pub protocol: String,
    /// In order of preference.
    pub formats: Vec<LocalFormat>,
    /// `a=extmap`: id, 1 to 14 or up to 255 where the peer has chosen it, and URI.
    pub extensions: Vec<(u8, &'static str)>,
    /// What we send here.
    pub stream: Option<LocalStream>,
    /// Layers that we receive here.
    pub receive_rids: Vec<Rid>,
}

/// All of one description.
#[derive(Debug)]
pub struct LocalDescription<'a> {
    /// Constant for the session (`o=`).
    pub session_id: u64,
    /// Grows with each description.
    pub version: u64,
    /// Our ufrag and password, the same in all sections.
    pub ice: &'a Credentials,
    /// SHA-256 of our certificate, at session level.
    pub fingerprint: Fingerprint,
    /// `actpass` in offers, the chosen role in answers (RFC 8842).
    pub setup: Setup,
    /// Where we are reached.
    pub candidates: &'a [Candidate],
    /// In the agreed order.
    pub media: &'a [LocalMedia],
}

impl std::fmt::Display for LocalDescription<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "v=0\r\no=- {} {} IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-lite\r\n", self.session_id, self.version)?;
        write!(
            f,
            "a=fingerprint:{}\r\na=msid-semantic:WMS *\r\na=extmap-allow-mixed\r\na=group:BUNDLE",
            self.fingerprint
        )?;
        for media in self.media.iter().filter(|media| !media.rejected) {
            write!(f, " {}", media.mid)?;
        }
        f.write_str("\r\n")?;
        let first_live = self.media.iter().position(|media| !media.rejected);
        for (index, media) in self.media.iter().enumerate() {
            self.write_media(f, media, Some(index) == first_live)?;
        }
        Ok(())
    }
}

impl LocalDescription<'_> {
    fn write_media(&self, f: &mut std::fmt::Formatter<'_>, media: &LocalMedia, first: bool) -> std::fmt::Result {
        let kind = match media.kind {
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
            MediaKind::Application => "application",
        };
        write!(f, "m={kind} {} {}", if media.rejected { 0 } else { 9 }, media.protocol)?;
        match media.kind {
            MediaKind::Application => f.write_str(" webrtc-datachannel")?,
            // A refused section must still name a format.
            _ if media.formats.is_empty() => f.write_str(" 0")?,
            _ => {
                let numbers = media.formats.iter().flat_map(|format| [Some(format.payload_type), format.rtx]);
                numbers.flatten().try_for_each(|number| write!(f, " {number}"))?;
            }
        }
        write!(f, "\r\nc=IN IP4 0.0.0.0\r\na=mid:{}\r\n", media.mid)?;
        if media.rejected {
            return f.write_str("a=inactive\r\n");
        }
        self.write_transport(f, first)?;
        if media.kind == MediaKind::Application {
            return write!(f, "a=sctp-port:5000\r\na=max-message-size:{}\r\n", crate::sctp::MAX_MESSAGE);
        }
        write!(f, "a=rtcp-mux\r\na=rtcp-rsize\r\na={}\r\n", media.direction.as_str())?;
        for format in &media.formats {
            write!(f, "a=rtpmap:{} {}\r\n", format.payload_type, format.rtpmap)?;
            if !format.parameters.is_empty() {
                write!(f, "a=fmtp:{} {}\r\n", format.payload_type, format.parameters)?;
            }
            for feedback in &format.feedback {
                write!(f, "a=rtcp-fb:{} {feedback}\r\n", format.payload_type)?;
            }
            if let Some(rtx) = format.rtx {
                write!(f, "a=rtpmap:{rtx} rtx/90000\r\na=fmtp:{rtx} apt={}\r\n", format.payload_type)?;
            }
        }
        for (id, uri) in &media.extensions {
            write!(f, "a=extmap:{id} {uri}\r\n")?;
        }
        write_rids(f, &media.receive_rids)?;
        media.stream.as_ref().map_or(Ok(()), |stream| write_stream(f, stream))
    }

    fn write_transport(&self, f: &mut std::fmt::Formatter<'_>, first: bool) -> std::fmt::Result {
        let setup = match self.setup {
            Setup::ActPass => "actpass",
            Setup::Active => "active",
            Setup::Passive => "passive",
        };
        write!(f, "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=setup:{setup}\r\n", self.ice.ufrag, self.ice.password)?;
        if first {
            self.candidates.iter().try_for_each(|candidate| write!(f, "a={candidate}\r\n"))?;
            f.write_str("a=end-of-candidates\r\n")?;
        }
        Ok(())
    }
}

fn write_rids(f: &mut std::fmt::Formatter<'_>, rids: &[Rid]) -> std::fmt::Result {
    let mut simulcast = String::new();
    for rid in rids {
        write!(f, "a=rid:{} recv\r\n", rid.0)?;
        write!(simulcast, "{}{}", if simulcast.is_empty() { "" } else { ";" }, rid.0)?;
    }
    if rids.is_empty() { Ok(()) } else { write!(f, "a=simulcast:recv {simulcast}\r\n") }
}

fn write_stream(f: &mut std::fmt::Formatter<'_>, stream: &LocalStream) -> std::fmt::Result {
    let LocalStream { ssrc, rtx_ssrc, stream_id, track_id } = stream;
    write!(f, "a=msid:{stream_id} {track_id}\r\n")?;
    if let Some(rtx_ssrc) = rtx_ssrc {
        write!(f, "a=ssrc-group:FID {ssrc} {rtx_ssrc}\r\n")?;
    }
    for ssrc in [Some(*ssrc), *rtx_ssrc].into_iter().flatten() {
        write!(f, "a=ssrc:{ssrc} cname:{stream_id}\r\na=ssrc:{ssrc} msid:{stream_id} {track_id}\r\n")?;
    }
    Ok(())
}
