//! What can be seen of an association from outside, which is enough to go on with it when the process that had it has died.
//!
//! Few stacks take a restart (RFC 9260, section 5.2.2): some end the association, some do not answer. So there is none. What
//! may have been sent since the last writing is passed over by a FORWARD TSN (RFC 3758), which the peer answers by a SACK, and
//! what it may have sent, and heard our process before say that it has come, by one in its name, when it next says something.
//! Either way what was under way is lost, as with a restart.
use super::guard::{Chunk, Chunks, DATA, FORWARD_TSN, INIT, INIT_ACK, RE_CONFIG, SACK, STREAMS, be16, be32};
use super::{Channel, MAX_STREAMS};
use bytes::Bytes;
use dcsctp::api::handover::{
    HandoverCapabilities, HandoverOrderedStream, HandoverOutgoingStream, HandoverReceive, HandoverSocketState,
    HandoverTransmission, SocketHandoverState,
};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// TSNs that may be used between two writings: 2 MB of messages. Some stacks end an association that is forwarded by more than
/// their receive buffer counts.
const TSN_LEAP: u32 = 2048;
/// SSNs, five hundred messages of a stream. A receiver that heard of none of sixty leaps would take the next for one back.
const SSN_LEAP: u16 = 512;
/// How often a FORWARD TSN is repeated, at first and later.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// Both ends of all data channels (RFC 8841, section 5 leaves the number free; it is what the crate says).
const PORT: u16 = 5000;
/// Bytes that may be under way before the peer has said how much it takes.
const WINDOW: u32 = 12 * 1200;
/// Where the slow start ends.
const THRESHOLD: u32 = 256 * 1024;

/// One end, as it introduced itself.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct End {
    tag: u32,
    initial_tsn: u32,
}

/// The next numbers of a stream, of what we send and of what the peer sends.
#[derive(Clone, Copy, Default, Debug, Serialize, Deserialize)]
struct Stream {
    ours: u16,
    theirs: u16,
}

/// How far an association is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct SctpNumbers {
    next_tsn: u32,
    cumulative: u32,
    /// The stream that was used last.
    stream: u16,
    next: Stream,
}

/// An association, as it can be seen from outside.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Trail {
    ours: Option<End>,
    theirs: Option<End>,
    /// Streams have been reset, and count anew: nobody could tell from where.
    is_lost: bool,
    next_tsn: u32,
    /// Of the peer's TSNs.
    cumulative: u32,
    streams: [Stream; STREAMS],
    used: u16,
    /// It is not known how much of what the peer has sent was acknowledged.
    is_adrift: bool,
    /// A fragment that was seen before the beginning of its message.
    rest: Option<u32>,
    /// The message that is under way cannot be had any more.
    is_skipping: bool,
    /// The peer is to hear that everything up to here is passed over.
    forward: Option<u32>,
}

fn is_after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

/// TSN, stream and SSN of a DATA chunk, and whether a message begins in it; no SSN for one that is out of order.
fn data(chunk: &Chunk<'_>) -> Option<(u32, u16, Option<u16>, bool)> {
    let (tsn, stream, ssn) = (be32(chunk.value, 0)?, be16(chunk.value, 4)?, be16(chunk.value, 6)?);
    let (begins, unordered) = (chunk.flags & 0x02 != 0, chunk.flags & 0x04 != 0);
    Some((tsn, stream, (!unordered).then_some(ssn), begins))
}

fn end(chunk: &Chunk<'_>) -> Option<End> {
    Some(End { tag: be32(chunk.value, 0)?, initial_tsn: be32(chunk.value, 12)? })
}

impl Trail {
    /// Everything counts anew.
    fn begin(&mut self) {
        let Self { ours, theirs, next_tsn, cumulative, .. } = *self;
        *self = Self { ours, theirs, next_tsn, cumulative, ..Self::default() };
    }

    /// We are sending this.
    pub(super) fn sent(&mut self, packet: &[u8]) {
        for chunk in Chunks::of(packet).map_while(Result::ok) {
            match chunk.kind {
                INIT | INIT_ACK => {
                    self.begin();
                    self.ours = end(&chunk);
                    self.next_tsn = self.ours.map_or(0, |ours| ours.initial_tsn);
                }
                DATA => {
                    let Some((tsn, stream, ssn, _)) = data(&chunk) else { continue };
                    if !is_after(self.next_tsn, tsn) {
                        self.next_tsn = tsn.wrapping_add(1);
                        self.used = stream;
                        if let (Some(known), Some(ssn)) = (self.streams.get_mut(usize::from(stream)), ssn) {
                            known.ours = ssn.wrapping_add(1);
                        }
                    }
                }
                SACK => self.cumulative = be32(chunk.value, 0).unwrap_or(self.cumulative),
                RE_CONFIG => self.is_lost = true,
                _ => {}
            }
        }
    }

    /// The peer has said this.
    pub(super) fn heard(&mut self, packet: &[u8]) {
        for chunk in Chunks::of(packet).map_while(Result::ok) {
            match chunk.kind {
                INIT | INIT_ACK => {
                    self.begin();
                    self.theirs = end(&chunk);
                    self.cumulative = self.theirs.map_or(0, |theirs| theirs.initial_tsn.wrapping_sub(1));
                }
                SACK => {
                    if let (Some(forward), Some(cumulative)) = (self.forward, be32(chunk.value, 0))
                        && !is_after(forward, cumulative)
                    {
                        self.forward = None;
                    }
                }
                RE_CONFIG => self.is_lost = true,
                _ => {}
            }
        }
    }

    /// A message of a stream has been read.
    pub(super) fn delivered(&mut self, stream: u16, ordered: bool) {
        if let Some(known) = self.streams.get_mut(usize::from(stream)).filter(|_| ordered) {
            known.theirs = known.theirs.wrapping_add(1);
        }
    }

    /// How far it is.
    pub(super) fn numbers(&self) -> SctpNumbers {
        let next = self.streams.get(usize::from(self.used)).copied().unwrap_or_default();
        SctpNumbers { next_tsn: self.next_tsn, cumulative: self.cumulative, stream: self.used, next }
    }

    /// Goes on behind whoever died, of whom this was written down last.
    pub(super) fn leap(&mut self, numbers: Option<SctpNumbers>) {
        if let Some(SctpNumbers { next_tsn, cumulative, stream, next }) = numbers {
            (self.next_tsn, self.cumulative, self.used) = (next_tsn, cumulative, stream);
            if let Some(known) = self.streams.get_mut(usize::from(stream)) {
                *known = next;
            }
        }
        self.next_tsn = self.next_tsn.wrapping_add(TSN_LEAP);
        for stream in &mut self.streams {
            stream.ours = stream.ours.wrapping_add(SSN_LEAP);
        }
        (self.rest, self.is_skipping) = (None, false);
        (self.is_adrift, self.forward) = (true, Some(self.next_tsn.wrapping_sub(1)));
    }

    /// The association as the crate goes on with it; `None`: there is none that could.
    pub(super) fn revive(&self, channels: &[Channel]) -> Option<SocketHandoverState> {
        let (Some(ours), Some(theirs), false) = (self.ours, self.theirs, self.is_lost) else { return None };
        let ids = || channels.iter().map(|channel| channel.id);
        let stream = |id: u16| self.streams.get(usize::from(id)).copied().unwrap_or_default();
        let sent = |id| HandoverOutgoingStream { id, next_ssn: stream(id).ours, ..HandoverOutgoingStream::default() };
        let received = |id| HandoverOrderedStream { id, next_ssn: stream(id).theirs.into() };
        Some(SocketHandoverState {
            socket_state: HandoverSocketState::Connected,
            my_verification_tag: ours.tag,
            my_initial_tsn: ours.initial_tsn,
            peer_verification_tag: theirs.tag,
            peer_initial_tsn: theirs.initial_tsn,
            tie_tag: u64::from(crate::random_u32()),
            capabilities: HandoverCapabilities {
                partial_reliability: true,
                message_interleaving: false,
                reconfig: true,
                zero_checksum: false,
                negotiated_maximum_incoming_streams: MAX_STREAMS,
                negotiated_maximum_outgoing_streams: MAX_STREAMS,
            },
            tx: HandoverTransmission {
                next_tsn: self.next_tsn,
                next_outgoing_message_id: 0,
                next_reset_req_sn: ours.initial_tsn,
                cwnd: WINDOW,
                rwnd: WINDOW,
                ssthresh: THRESHOLD,
                partial_bytes_acked: 0,
                streams: ids().map(sent).collect(),
                queued_messages: Vec::new(),
                outstanding_data: Vec::new(),
                last_cumulative_tsn_ack: self.next_tsn.wrapping_sub(1),
            },
            rx: HandoverReceive {
                seen_packet: true,
                // One less than is known, so that the peer's place is always ahead.
                last_cumulative_acked_tsn: self.cumulative.wrapping_sub(1),
                last_assembled_tsn: self.cumulative.wrapping_sub(1),
                last_completed_deferred_reset_req_sn: 0,
                last_completed_reset_req_sn: theirs.initial_tsn.wrapping_sub(1),
                ordered_streams: ids().map(received).collect(),
                unordered_streams: Vec::new(),
            },
        })
    }

    /// Says to the peer that everything before what comes next is passed over.
    pub(super) fn forward(&self, channels: &[Channel]) -> Option<Bytes> {
        let (tag, cumulative) = (self.theirs?.tag, self.forward?);
        let last = |channel: &Channel| {
            let stream = self.streams.get(usize::from(channel.id))?;
            Some((channel.id, stream.ours.wrapping_sub(1)))
        };
        let streams: Vec<(u16, u16)> = channels.iter().filter(|channel| !channel.unordered).filter_map(last).collect();
        Some(forward_tsn(tag, cumulative, &streams))
    }

    /// Where the peer is, by what it sends, if that is not known.
    pub(super) fn look(&mut self, packet: &[u8]) -> Sight {
        if !self.is_adrift {
            return Sight::Nothing;
        }
        let chunks = Chunks::of(packet).map_while(Result::ok).filter(|chunk| chunk.kind == DATA);
        let mut sight = Sight::Nothing;
        for (tsn, stream, ssn, begins) in chunks.filter_map(|chunk| data(&chunk)) {
            if !is_after(tsn, self.cumulative) || usize::from(stream) >= STREAMS {
                continue;
            }
            if begins {
                let last = ssn.map(|ssn| ssn.wrapping_sub(1));
                return Sight::Step(Step { cumulative: tsn.wrapping_sub(1), stream, ssn: last, is_found: true });
            }
            // The rest of a message. Its beginning has got lost, and comes again first; if this does, it was acknowledged, and
            // cannot be had any more.
            self.is_skipping |= self.rest == Some(tsn);
            if !self.is_skipping {
                self.rest = Some(self.rest.filter(|rest| is_after(tsn, *rest)).unwrap_or(tsn));
                return Sight::Rest;
            }
            sight = Sight::Step(Step { cumulative: tsn, stream, ssn, is_found: false });
        }
        sight
    }

    /// Takes a step; what the crate is to be told in the peer's name.
    pub(super) fn take(&mut self, step: Step) -> Option<Bytes> {
        if step.is_found {
            (self.is_adrift, self.is_skipping, self.rest) = (false, false, None);
        }
        self.cumulative = step.cumulative;
        if let (Some(known), Some(ssn)) = (self.streams.get_mut(usize::from(step.stream)), step.ssn) {
            known.theirs = ssn.wrapping_add(1);
        }
        let skipped = step.ssn.map(|ssn| (step.stream, ssn));
        Some(forward_tsn(self.ours?.tag, step.cumulative, skipped.as_slice()))
    }
}

/// What a packet says of the peer's place.
pub(super) enum Sight {
    /// Nothing new.
    Nothing,
    /// It is to be seen once more.
    Rest,
    /// There it is.
    Step(Step),
}

/// A place in what a peer sends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Everything up to this TSN is passed over.
    pub(super) cumulative: u32,
    /// And in this stream everything up to this SSN.
    pub(super) stream: u16,
    pub(super) ssn: Option<u16>,
    /// A message begins behind it.
    is_found: bool,
}

/// RFC 3758, section 3.2, in a packet of its own.
fn forward_tsn(tag: u32, cumulative: u32, streams: &[(u16, u16)]) -> Bytes {
    let mut packet = Vec::with_capacity(20 + 4 * streams.len());
    packet.extend(PORT.to_be_bytes());
    packet.extend(PORT.to_be_bytes());
    packet.extend(tag.to_be_bytes());
    packet.extend([0; 4]);
    packet.extend([FORWARD_TSN, 0]);
    packet.extend(((8 + 4 * streams.len()) as u16).to_be_bytes());
    packet.extend(cumulative.to_be_bytes());
    for (stream, ssn) in streams {
        packet.extend(stream.to_be_bytes());
        packet.extend(ssn.to_be_bytes());
    }
    super::fill_in_checksum(&mut packet);
    packet.into()
}

/// When a FORWARD TSN goes out again.
#[derive(Default)]
pub(super) struct Repetition {
    next: Option<Instant>,
    wait: Duration,
}

impl Repetition {
    /// Now, and from now on.
    pub(super) fn begin(now: Instant) -> Self {
        Self { next: Some(now), wait: FIRST_WAIT }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Whether it is to go out now.
    pub(super) fn poll(&mut self, now: Instant, is_needed: bool) -> bool {
        if !is_needed {
            self.next = None;
        }
        let is_due = self.next.is_some_and(|next| next <= now);
        if is_due {
            self.next = Some(now + self.wait);
            self.wait = LONGEST_WAIT.min(self.wait * 2);
        }
        is_due
    }
}
