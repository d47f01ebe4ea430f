//! SRTP with valid, changed and replayed packets; DTLS with its guard in each phase of a handshake.
use super::{Operation, operations};
use crate::dtls::{Dtls, DtlsEvent, Identity, Role};
use crate::rtp::SeqNo;
use crate::srtp::{KeyingMaterial, MAX_OVERHEAD, Profile, Protector, SrtpError, Unprotector};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Answers to one datagram: a flight in fragments, and its repetition.
const MAX_ANSWERS: usize = 32;

/// Steps, modulo 6: 0 the next RTP packet with this payload (its first two bytes skip numbers), 1 the same with bytes
/// changed in pairs of place and mask, 2 the last packet again, 3 raw bytes, 4 the next RTCP packet, 5 that changed.
/// The first byte of all picks the profile.
pub fn srtp(input: &[u8]) {
    let Some((first, rest)) = input.split_first() else { return };
    let profiles = [Profile::AeadAes128Gcm, Profile::AeadAes256Gcm, Profile::AesCm128HmacSha1_80];
    let profile = profiles[usize::from(*first) % profiles.len()];
    let Some(keys) = KeyingMaterial::new(profile, &(0..=255).collect::<Vec<u8>>()) else { unreachable!("enough") };
    let (protector, _) = keys.split(true);
    let (_, unprotector) = keys.split(false);
    let mut pair = Pair { protector, unprotector, seq: 0, last: Vec::new() };
    for step in operations(rest) {
        pair.step(step);
        let (rtp, rtcp) = pair.unprotector.stream_count();
        assert!(rtp <= 64 && rtcp <= 64);
    }
}

struct Pair {
    protector: Protector,
    unprotector: Unprotector,
    seq: u64,
    /// The last packet that was opened, protected.
    last: Vec<u8>,
}

impl Pair {
    fn step(&mut self, step: Operation<'_>) {
        match step.what % 6 {
            0 => {
                let (plain, mut packet) = self.next_rtp(step.bytes);
                self.last.clone_from(&packet);
                let opened = self.unprotector.unprotect_rtp(&mut packet);
                let Ok((len, seq)) = opened else { panic!("a valid packet is refused: {opened:?}") };
                assert_eq!((&packet[..len], seq), (&plain[..], SeqNo(self.seq)));
            }
            1 => {
                let (_, packet) = self.next_rtp(&[]);
                let mut changed = tampered(&packet, step.bytes);
                let opened = self.unprotector.unprotect_rtp(&mut changed.clone());
                assert_eq!(opened.is_ok(), changed == packet, "a changed packet is refused: {opened:?}");
                std::mem::swap(&mut changed, &mut self.last);
                if opened.is_err() {
                    self.last.clear();
                }
            }
            2 if !self.last.is_empty() => {
                let again = self.unprotector.unprotect_rtp(&mut self.last.clone());
                assert_eq!(again, Err(SrtpError::Replayed));
            }
            4 | 5 => {
                let mut packet = vec![0x80, 201, 0, 1, 0, 0, 0, 1];
                packet.extend(if step.what % 6 == 4 { step.bytes } else { &[] });
                let plain = packet.clone();
                packet.resize(plain.len() + MAX_OVERHEAD, 0);
                let Some(len) = self.protector.protect_rtcp(&mut packet, plain.len()) else { return };
                packet.truncate(len);
                let mut changed = if step.what % 6 == 5 { tampered(&packet, step.bytes) } else { packet.clone() };
                let same = changed == packet;
                let opened = self.unprotector.unprotect_rtcp(&mut changed);
                assert_eq!(opened.is_ok(), same, "{opened:?}");
                assert!(opened.is_err() || changed[..plain.len()] == plain);
            }
            _ => {
                assert!(self.unprotector.unprotect_rtp(&mut step.bytes.to_vec()).is_err());
                assert!(self.unprotector.unprotect_rtcp(&mut step.bytes.to_vec()).is_err());
            }
        }
    }

    /// A packet ahead of all before, plain and protected.
    fn next_rtp(&mut self, bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let skipped = bytes.first_chunk().map_or(0, |two| u64::from(u16::from_be_bytes(*two) & 0x3fff));
        self.seq += 1 + skipped;
        let mut plain = vec![0x80, 111, 0, 0, 0, 0, 3, 192, 1, 2, 3, 4];
        plain[2..4].copy_from_slice(&SeqNo(self.seq).wire().to_be_bytes());
        plain.extend(bytes);
        let mut packet = plain.clone();
        packet.resize(plain.len() + MAX_OVERHEAD, 0);
        let len = self.protector.protect_rtp(&mut packet, plain.len(), SeqNo(self.seq)).unwrap_or(0);
        packet.truncate(len);
        (plain, packet)
    }
}

/// Pairs of place and mask, XORed in; an odd byte at the end cuts the packet.
fn tampered(packet: &[u8], how: &[u8]) -> Vec<u8> {
    let mut out = packet.to_vec();
    let pairs = how.chunks_exact(2);
    if let [cut] = pairs.remainder() {
        out.truncate(usize::from(*cut));
    }
    for pair in pairs {
        let place = usize::from(pair[0]) % packet.len();
        if let Some(byte) = out.get_mut(place) {
            *byte ^= pair[1];
        }
    }
    out
}

fn identities() -> &'static (Identity, Identity) {
    static BOTH: OnceLock<(Identity, Identity)> = OnceLock::new();
    BOTH.get_or_init(|| match (Identity::generate(), Identity::generate()) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (Err(error), _) | (_, Err(error)) => panic!("{error}"),
    })
}

fn pair(now: Instant) -> (Dtls, Dtls) {
    let (ours, theirs) = identities();
    let server = Dtls::new(ours, Role::Server, theirs.fingerprint(), now);
    let client = Dtls::new(theirs, Role::Client, ours.fingerprint(), now);
    let (Ok(server), Ok(client)) = (server, client) else { unreachable!("nothing was said yet") };
    (server, client)
}

/// Steps, modulo 4: 0 and 1 a raw datagram, 2 the client's next datagram with bytes changed as in [`srtp`], 3 time
/// passes. The first byte of all says how far the handshake has come: nothing, begun, complete, behind both sides.
pub fn dtls(input: &[u8]) {
    let Some((phase, rest)) = input.split_first() else { return };
    let mut now = Instant::now();
    let (mut server, mut client) = pair(now);
    for _ in 0..[0, 1, 8, 8][usize::from(*phase % 4)] {
        exchange(&mut server, &mut client, now);
    }
    if phase % 4 == 3 {
        client.send(b"through").expect("connected");
        exchange(&mut server, &mut client, now);
    }
    for step in operations(rest) {
        let verdict = match step.what % 4 {
            0 | 1 => server.handle_datagram(now, step.bytes),
            2 => match client.poll_datagram() {
                Some(datagram) => server.handle_datagram(now, &tampered(&datagram, step.bytes)),
                None => client.send(step.bytes).and_then(|()| {
                    let record = client.poll_datagram().unwrap_or_default();
                    server.handle_datagram(now, &record)
                }),
            },
            _ => {
                now += Duration::from_millis(500);
                // The client's own fate is not what is looked at.
                let _ = client.handle_timeout(now);
                server.handle_timeout(now).map(|()| true)
            }
        };
        let mut answers = 0;
        while let Some(datagram) = server.poll_datagram() {
            answers += 1;
            // A broken client ends only itself.
            let _ = client.handle_datagram(now, &datagram);
        }
        assert!(answers <= MAX_ANSWERS, "{answers} datagrams at once");
        while let Some(event) = server.poll_event() {
            if matches!(event, DtlsEvent::Closed) {
                return;
            }
        }
        while client.poll_event().is_some() {}
        if verdict.is_err() {
            return;
        }
    }
}

fn exchange(server: &mut Dtls, client: &mut Dtls, now: Instant) {
    while let Some(datagram) = client.poll_datagram() {
        let verdict = server.handle_datagram(now, &datagram);
        assert!(verdict.is_ok(), "an honest handshake: {verdict:?}");
    }
    while let Some(datagram) = server.poll_datagram() {
        let verdict = client.handle_datagram(now, &datagram);
        assert!(verdict.is_ok(), "an honest handshake: {verdict:?}");
    }
    while server.poll_event().is_some() || client.poll_event().is_some() {}
}

/// All datagrams of a client in one handshake with [`dtls`]'s server, and one of application data: a corpus.
pub fn client_flights() -> Vec<Vec<u8>> {
    let now = Instant::now();
    let (mut server, mut client) = pair(now);
    let mut flights = Vec::new();
    for _ in 0..8 {
        while let Some(datagram) = client.poll_datagram() {
            flights.push(datagram.clone());
            let _ = server.handle_datagram(now, &datagram);
        }
        exchange(&mut server, &mut client, now);
    }
    let _ = client.send(b"application data");
    flights.extend(client.poll_datagram());
    flights
}
