//! A transport as plain data, for another process that goes on with it.
use super::{Transport, TransportEvent};
use crate::demux::Path;
use crate::dtls::{Dtls, DtlsState, Fingerprint, Role, SavedDtls};
use crate::handover::{Age, moment};
use crate::ice::IceLite;
use crate::rtp::{SeqNo, Ssrc};
use crate::sctp::{ChannelId, Sctp, SctpNumbers, SctpState, SendError};
use crate::srtp::{SavedSrtp, Srtp, Unprotector};
use serde::{Deserialize, Serialize, Serializer};
use serde_with::{Bytes, serde_as};
use std::collections::VecDeque;
use std::time::Instant;

/// What may wait for an association that is on its way to another process.
const MAX_QUEUED: usize = 512 * 1024;
/// What a message costs besides its payload.
const OVERHEAD: usize = 64;

/// The data channels of a transport.
pub(super) enum Channels {
    /// DTLS is not through yet.
    None,
    /// An association.
    Live(Box<Sctp>),
    /// One that goes on in another process.
    Suspended(Box<Suspended>),
}

impl Channels {
    pub(super) fn live(&self) -> Option<&Sctp> {
        match self {
            Self::Live(sctp) => Some(sctp),
            Self::None | Self::Suspended(_) => None,
        }
    }
}

/// An association that goes on in another process, and what is to be sent there.
#[serde_as]
#[derive(Serialize, Deserialize)]
pub(super) struct Suspended {
    state: SctpState,
    #[serde_as(as = "Vec<(_, Bytes)>")]
    queue: Vec<(bool, Vec<u8>)>,
}

impl Suspended {
    pub(super) fn queue(&mut self, text: bool, data: &[u8]) -> Result<(), SendError> {
        let waiting: usize = self.queue.iter().map(|(_, data)| data.len() + OVERHEAD).sum();
        if waiting + data.len() + OVERHEAD > MAX_QUEUED {
            return Err(SendError::Stalled);
        }
        self.queue.push((text, data.to_vec()));
        Ok(())
    }
}

impl Transport {
    /// Whether [`suspend`](Self::suspend) loses nothing now: no handshake is under way, and the association is in order.
    pub fn is_ready(&self) -> bool {
        let is_quiet = self.dtls.as_ref().is_none_or(|dtls| dtls.state().is_some());
        is_quiet && self.sctp.live().is_none_or(Sctp::is_ready)
    }

    /// Stops the data channels, which go on where the transport is [written](Serialize) to; messages for them are kept. Media
    /// goes on until then.
    pub fn suspend(&mut self, now: Instant) {
        if let Some(dtls) = &mut self.dtls {
            // Whether its last flight has come the peer has had time to ask.
            dtls.confirm();
        }
        self.sctp = match std::mem::replace(&mut self.sctp, Channels::None) {
            Channels::Live(sctp) => {
                let state = sctp.suspend(now);
                Channels::Suspended(Box::new(Suspended { state, queue: Vec::new() }))
            }
            other => other,
        };
    }

    /// Goes on with what was suspended or read. What the peer is to hear is ready to be polled.
    pub fn resume(&mut self, now: Instant) {
        self.sctp = match std::mem::replace(&mut self.sctp, Channels::None) {
            Channels::Suspended(suspended) => {
                let Suspended { state, queue } = *suspended;
                self.sctp = Channels::Live(Box::new(Sctp::resume(state, now)));
                for (text, data) in queue {
                    // One that finds no room ends the session by an event of its own.
                    let _ = self.send(now, text, &data);
                }
                return self.after_sctp();
            }
            other => other,
        };
    }

    /// How far the keys have been used, and what has been heard; `None` until the handshake is behind both sides.
    pub(crate) fn numbers(&self) -> Option<(TransportNumbers, &Unprotector)> {
        let (written, read) = self.dtls.as_ref()?.numbers()?;
        let srtp = self.srtp.as_ref()?;
        let sctp = match &self.sctp {
            Channels::None => None,
            Channels::Live(sctp) => Some(sctp.numbers()),
            Channels::Suspended(suspended) => Some(suspended.state.numbers()),
        };
        let rtcp_index = srtp.protector.rtcp_index();
        Some((TransportNumbers { written, read, rtcp_index, sctp }, &srtp.unprotector))
    }

    /// Feeds what a record must be written anew for when it changes.
    pub(crate) fn shape(&self, hasher: &mut impl std::hash::Hasher) {
        use std::hash::Hash as _;
        (self.ice.selected(), self.ice.paths(), self.channel).hash(hasher);
        self.ice.ufrags().for_each(|ufrag| ufrag.hash(hasher));
    }

    /// Whether the data channel was opened.
    pub(crate) fn has_channel(&self) -> bool {
        self.channel.is_some()
    }

    /// What [`numbers`](Self::numbers) gives is written down.
    pub(crate) fn reserve(&mut self) {
        if let (Some(dtls), Some(srtp)) = (&mut self.dtls, &mut self.srtp) {
            dtls.reserve();
            srtp.protector.reserve();
        }
    }

    /// Goes on behind whoever died, of whom this was written down last. Nothing can be sent until it is
    /// [reserved](Self::reserve).
    pub(crate) fn leap(
        &mut self,
        now: Instant,
        numbers: TransportNumbers,
        heard: &[(Ssrc, SeqNo)],
        heard_rtcp: &[(Ssrc, SeqNo)],
    ) {
        self.ice.excuse(now);
        if let Channels::Suspended(suspended) = &mut self.sctp {
            suspended.state.leap(numbers.sctp);
        }
        if let Some(dtls) = &mut self.dtls {
            dtls.leap((numbers.written, numbers.read));
        }
        if let Some(srtp) = &mut self.srtp {
            srtp.protector.leap(numbers.rtcp_index);
            srtp.unprotector.leap(heard, heard_rtcp);
        }
    }

    /// In another process sockets and connections have other numbers; see [`IceLite::renumber_paths`].
    pub(crate) fn renumber_paths(&mut self, place: impl FnMut(Path) -> Option<Path>) {
        self.ice.renumber_paths(place);
    }
}

/// How far the keys of a transport have been used.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct TransportNumbers {
    /// Newest DTLS records.
    written: u64,
    read: u64,
    /// The next SRTCP index.
    rtcp_index: u32,
    sctp: Option<SctpNumbers>,
}

/// A transport as it is written down.
#[serde_as]
#[derive(Serialize)]
struct Written<'a> {
    ice: &'a IceLite,
    fingerprint: Fingerprint,
    role: Role,
    #[serde_as(as = "Age")]
    created: Instant,
    /// A handshake is under way, which nobody but us can end.
    handshaking: bool,
    dtls: Option<DtlsState<'a>>,
    srtp: Option<&'a Srtp>,
    channel: Option<ChannelId>,
    disconnected: bool,
    sctp: Sending<'a>,
}

/// The association, suspended or as far as it can be seen.
#[derive(Serialize)]
#[serde(untagged)]
enum Sending<'a> {
    None(()),
    Suspended(&'a Suspended),
    Outline(Box<Suspended>),
}

impl Serialize for Transport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let dtls = self.dtls.as_ref().and_then(Dtls::state);
        let sctp = match &self.sctp {
            Channels::None => Sending::None(()),
            Channels::Suspended(suspended) => Sending::Suspended(suspended),
            Channels::Live(sctp) => Sending::Outline(Box::new(Suspended { state: sctp.outline(), queue: Vec::new() })),
        };
        let written = Written {
            ice: &self.ice,
            fingerprint: self.fingerprint,
            role: self.role,
            created: self.created,
            handshaking: self.dtls.is_some() && dtls.is_none(),
            srtp: self.srtp.as_ref().filter(|_| dtls.is_some()),
            dtls,
            channel: self.channel,
            disconnected: self.disconnected,
            sctp,
        };
        written.serialize(serializer)
    }
}

/// A transport as it was read.
#[serde_as]
#[derive(Deserialize)]
pub(super) struct Saved {
    ice: IceLite,
    fingerprint: Fingerprint,
    role: Role,
    #[serde_as(as = "Age")]
    created: Instant,
    handshaking: bool,
    dtls: Option<SavedDtls>,
    srtp: Option<SavedSrtp>,
    channel: Option<ChannelId>,
    disconnected: bool,
    sctp: Option<Box<Suspended>>,
}

/// Nobody can end a handshake that another process has begun.
#[derive(Debug, thiserror::Error)]
#[error("a handshake was under way")]
pub(super) struct Handshaking;

impl TryFrom<Saved> for Transport {
    type Error = Handshaking;
    fn try_from(saved: Saved) -> Result<Self, Handshaking> {
        if saved.handshaking {
            return Err(Handshaking);
        }
        let role = saved.role;
        Ok(Self {
            ice: saved.ice,
            fingerprint: saved.fingerprint,
            role,
            created: saved.created,
            dtls: saved.dtls.map(|dtls| Dtls::resume(dtls, role, moment())),
            sctp: saved.sctp.map_or(Channels::None, Channels::Suspended),
            srtp: saved.srtp.map(|srtp| srtp.resume(role)),
            channel: saved.channel,
            disconnected: saved.disconnected,
            closed: false,
            events: VecDeque::<TransportEvent>::new(),
        })
    }
}
