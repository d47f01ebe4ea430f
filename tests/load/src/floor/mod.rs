//! The raw floor: what it costs to open, seal and send the packets of a case, in their rhythm, with nothing else around it.
//!
//! Three threads: one sends what participants would send; one, the relay, opens each packet, seals it for everybody else in the
//! call and sends that; one reads what arrives. The relay's CPU time is the floor. It takes and gives as much at a time as the
//! kernel lets it: recvmmsg, sendmmsg, and segmentation offload for what came in one burst.
mod relay;

use crate::link::{Room, Udp};
use crate::run::Plan;
use crate::traffic::Shape;
use anyhow::{Context as _, Result, anyhow};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use mio::{Events, Poll, Token};
use relay::{Receiver, Relay};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Header of RTP with nothing more: call, sender and number in place of its fields.
const HEADER: usize = 12;
/// What AES-GCM adds.
const TAG: usize = 16;
/// A packet, sealed.
const SLOT: usize = 1280;
/// How long a nap of the relay lasts at most.
const NAP: Duration = Duration::from_millis(100);

/// Microseconds of CPU for each packet that is forwarded as this plan has it.
pub fn floor(plan: &Plan, lasting: Duration) -> Result<f64> {
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = Vec::new();
    let mut receivers = Vec::new();
    let poll = Poll::new()?;
    for number in 0..plan.total() {
        let udp = Udp::bind(Ipv4Addr::LOCALHOST.into(), poll.registry(), Token(number as usize))?;
        let SocketAddr::V4(address) = udp.local else { continue };
        receivers.push(Receiver { address: address.into(), key: key(number)? });
        readers.push(udp);
    }
    let input = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let to = input.local_addr()?;
    drop(input);
    std::thread::scope(|scope| {
        let reading = scope.spawn({
            let done = done.clone();
            move || read(poll, readers, &done)
        });
        let relaying = scope.spawn({
            let done = done.clone();
            move || Relay::new(plan, to, receivers)?.run(&done)
        });
        let sent = send(plan, to, lasting);
        done.store(true, Ordering::Relaxed);
        let relayed = relaying.join().map_err(|_| anyhow!("the relay panicked"))?;
        reading.join().map_err(|_| anyhow!("the reader panicked"))??;
        sent?;
        relayed
    })
}

fn key(number: u32) -> Result<LessSafeKey> {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes).ok().context("no key")?))
}

fn nonce(header: &[u8]) -> Nonce {
    let mut bytes = [0; 12];
    bytes.copy_from_slice(&header[..HEADER]);
    Nonce::assume_unique_for_key(bytes)
}

/// Reads all that arrives.
fn read(mut poll: Poll, mut sockets: Vec<Udp>, done: &AtomicBool) -> Result<()> {
    let (mut events, mut room) = (Events::with_capacity(1024), Room::default());
    while !done.load(Ordering::Relaxed) {
        poll.poll(&mut events, Some(NAP))?;
        for event in &events {
            while sockets[event.token().0].receive(&mut room, |_, _| {})? {}
        }
    }
    Ok(())
}

/// A stream that somebody sends.
struct Stream {
    call: u32,
    sender: u32,
    packets: usize,
    bytes: usize,
    every: Duration,
    left: usize,
    next_at: Instant,
    picture_at: Instant,
    sequence: u32,
}

fn streams(plan: &Plan, now: Instant) -> Vec<Stream> {
    let mut streams = Vec::new();
    for sender in 0..plan.total() {
        let (call, place) = (sender % plan.calls, sender / plan.calls);
        for shape in plan.sections(place).concat() {
            let (packets, bytes) = shape.packets();
            let next_at = now + Duration::from_micros(1370) * (sender % 36);
            streams.push(Stream {
                call,
                sender,
                packets,
                bytes,
                every: shape.every(),
                left: 0,
                next_at,
                picture_at: next_at,
                sequence: 0,
            });
        }
    }
    streams
}

/// Sends what participants send, sealed, in their rhythm.
fn send(plan: &Plan, to: SocketAddr, lasting: Duration) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let begun = Instant::now();
    let mut streams = streams(plan, begun);
    let keys = (0..plan.total()).map(key).collect::<Result<Vec<_>>>()?;
    let mut packet = [0x5a; SLOT];
    while begun.elapsed() < lasting {
        let now = Instant::now();
        let mut wake = now + NAP;
        for stream in &mut streams {
            if stream.next_at <= now {
                if stream.left == 0 {
                    stream.left = stream.packets;
                }
                for _ in 0..Shape::BURST.min(stream.left) {
                    packet[..4].copy_from_slice(&stream.call.to_be_bytes());
                    packet[4..8].copy_from_slice(&stream.sender.to_be_bytes());
                    packet[8..HEADER].copy_from_slice(&stream.sequence.to_be_bytes());
                    let (header, payload) = packet[..HEADER + stream.bytes].split_at_mut(HEADER);
                    let sealed = keys[stream.sender as usize].seal_in_place_separate_tag(
                        nonce(header),
                        Aad::from(&*header),
                        payload,
                    );
                    let tag = sealed.ok().context("sealing")?;
                    packet[HEADER + stream.bytes..][..TAG].copy_from_slice(tag.as_ref());
                    // The first ones come before the relay listens.
                    let _ = socket.send_to(&packet[..HEADER + stream.bytes + TAG], to);
                    stream.sequence += 1;
                    stream.left -= 1;
                }
                if stream.left > 0 {
                    stream.next_at = now + Shape::BURST_EVERY;
                } else {
                    stream.picture_at += stream.every;
                    stream.next_at = stream.picture_at;
                }
            }
            wake = wake.min(stream.next_at);
        }
        std::thread::sleep(wake.saturating_duration_since(Instant::now()));
    }
    Ok(())
}
