//! The relay, whose CPU time is the floor.
use super::{HEADER, NAP, SLOT, TAG, key, nonce};
use crate::clock;
use crate::link::{Room, Udp};
use crate::run::Plan;
use anyhow::{Context as _, Result};
use aws_lc_rs::aead::{Aad, LessSafeKey};
use mio::{Events, Poll, Token};
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, sendmmsg};
use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

/// Messages that one sendmmsg takes.
const BATCH: usize = 64;
/// Packets of a burst that go to a receiver at once.
const BURST: usize = 8;

/// Somebody that is sent to.
pub(super) struct Receiver {
    pub(super) address: SockaddrIn,
    pub(super) key: LessSafeKey,
}

/// What is measured.
pub(super) struct Relay {
    calls: u32,
    poll: Poll,
    socket: Udp,
    receivers: Vec<Receiver>,
    keys: Vec<LessSafeKey>,
    room: Room,
    /// Packets of one sender that came at once, opened: all of one length.
    burst: Vec<([u8; SLOT], usize)>,
    out: Vec<[u8; SLOT * BURST]>,
    headers: MultiHeaders<SockaddrIn>,
    forwarded: u64,
}

impl Relay {
    pub(super) fn new(plan: &Plan, at: SocketAddr, receivers: Vec<Receiver>) -> Result<Self> {
        let poll = Poll::new()?;
        let socket = Udp::bind_to(at, poll.registry(), Token(0))?;
        Ok(Self {
            calls: plan.calls,
            poll,
            socket,
            receivers,
            keys: (0..plan.total()).map(key).collect::<Result<_>>()?,
            room: Room::default(),
            burst: Vec::with_capacity(BURST),
            out: vec![[0; SLOT * BURST]; BATCH],
            headers: MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(u16))),
            forwarded: 0,
        })
    }

    /// Microseconds of CPU for each packet that it forwarded.
    pub(super) fn run(mut self, done: &AtomicBool) -> Result<f64> {
        let mut events = Events::with_capacity(8);
        let begun = clock::thread_cpu();
        while !done.load(Ordering::Relaxed) {
            self.poll.poll(&mut events, Some(NAP))?;
            let mut room = std::mem::take(&mut self.room);
            loop {
                let mut taken: Vec<([u8; SLOT], usize)> = Vec::new();
                let more = self.socket.receive(&mut room, |_, bytes| {
                    let mut slot = [0; SLOT];
                    if let Some(place) = slot.get_mut(..bytes.len()) {
                        place.copy_from_slice(bytes);
                        taken.push((slot, bytes.len()));
                    }
                })?;
                for (slot, len) in taken {
                    self.open(slot, len)?;
                }
                self.forward()?;
                if !more {
                    break;
                }
            }
            self.room = room;
        }
        let cpu = clock::thread_cpu() - begun;
        Ok(cpu.as_secs_f64() * 1e6 / self.forwarded.max(1) as f64)
    }

    fn open(&mut self, mut slot: [u8; SLOT], len: usize) -> Result<()> {
        if let Some((first, first_len)) = self.burst.first()
            && (first[..8] != slot[..8] || *first_len != len || self.burst.len() == BURST)
        {
            self.forward()?;
        }
        let (header, sealed) = slot[..len].split_at_mut(HEADER);
        let sender = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        let key = self.keys.get(sender as usize).context("a stranger's packet")?;
        key.open_in_place(nonce(header), Aad::from(&*header), sealed).ok().context("opening")?;
        self.burst.push((slot, len));
        Ok(())
    }

    /// Seals the burst for everybody else in its call, and sends it.
    fn forward(&mut self) -> Result<()> {
        let Some((first, len)) = self.burst.first() else { return Ok(()) };
        let [call, sender] = [0, 4].map(|at| first[at..].first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes)));
        let (len, count) = (*len, self.burst.len());
        let audience: Vec<usize> = (call..self.receivers.len() as u32)
            .step_by(self.calls as usize)
            .filter(|number| *number != sender)
            .map(|number| number as usize)
            .collect();
        for group in audience.chunks(BATCH) {
            for (out, to) in self.out.iter_mut().zip(group) {
                for (place, (packet, _)) in out.chunks_exact_mut(len).zip(&self.burst) {
                    place.copy_from_slice(&packet[..len]);
                    let (header, rest) = place.split_at_mut(HEADER);
                    let (payload, tag) = rest.split_at_mut(len - HEADER - TAG);
                    let sealed =
                        self.receivers[*to].key.seal_in_place_separate_tag(nonce(header), Aad::from(&*header), payload);
                    tag.copy_from_slice(sealed.ok().context("sealing")?.as_ref());
                }
            }
            self.send(group, len, count)?;
        }
        self.forwarded += (audience.len() * count) as u64;
        self.burst.clear();
        Ok(())
    }

    fn send(&mut self, group: &[usize], len: usize, count: usize) -> Result<()> {
        let slices: Vec<[IoSlice<'_>; 1]> =
            self.out[..group.len()].iter().map(|out| [IoSlice::new(&out[..len * count])]).collect();
        let addresses: Vec<Option<SockaddrIn>> = group.iter().map(|to| Some(self.receivers[*to].address)).collect();
        let segment = u16::try_from(len)?;
        let offload = [ControlMessage::UdpGsoSegments(&segment)];
        // Of one packet, too: the room for it is there in any case.
        sendmmsg(self.socket.fd(), &mut self.headers, &slices, &addresses, offload, MsgFlags::empty())
            .context("sendmmsg with segmentation offload")?;
        Ok(())
    }
}
