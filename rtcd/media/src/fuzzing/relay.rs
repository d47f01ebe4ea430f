//! A TURN server that says anything.
use super::operations;
use crate::stun::{HEADER, MAGIC_COOKIE};
use crate::turn::{Account, Relay, RelayEvent};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Datagrams that one step may make us say: four bundles, 32 channels, renewals of those, and what is said again.
const MAX_SAID: usize = 256;

/// Steps: 0 a raw datagram, 1 an answer to our last request of the type in the first two bytes with the rest as attributes, 2 a
/// packet for a peer, 3 a peer is wanted, 4 it is not any more, 5 time passes.
pub fn turn(input: &[u8]) {
    let mut now = Instant::now();
    let mut relay = Relay::new(Account { username: "user".into(), password: "pass".into() }, false, false, now);
    let mut last = [0; 12];
    let mut ended = false;
    for step in operations(input) {
        let data = step.bytes;
        let number = data.first().copied().unwrap_or_default();
        let ip = IpAddr::from([192, 0, 2, number]);
        match step.what % 6 {
            0 => receive(&mut relay, now, data),
            1 if data.len() >= 2 => {
                let mut answer = data[..2].to_vec();
                answer.extend(((data.len() - 2) as u16).to_be_bytes());
                answer.extend(MAGIC_COOKIE.to_be_bytes());
                answer.extend(last);
                answer.extend(&data[2..]);
                receive(&mut relay, now, &answer);
            }
            2 => {
                let mut slot = [0; 1500];
                let len = data.len().min(1448);
                slot[..len].copy_from_slice(&data[..len]);
                let peer = SocketAddr::new(ip, 1 + u16::from(number));
                if let Some(wrapped) = relay.send(now, peer, true, &mut slot, len) {
                    assert!(wrapped > len && wrapped <= len + Relay::overhead(peer), "{len} became {wrapped}");
                }
            }
            3 => relay.want(now, ip),
            4 => relay.forget(ip),
            _ => {
                now += Duration::from_secs(u64::from(number));
                relay.handle_timeout(now);
            }
        }
        let mut said = 0;
        while let Some(datagram) = relay.poll_datagram() {
            said += 1;
            last.copy_from_slice(&datagram[8..HEADER]);
        }
        assert!(said <= MAX_SAID, "{said} datagrams at once");
        while let Some(event) = relay.poll_event() {
            assert!(!ended, "{event:?} after the end");
            ended |= matches!(event, RelayEvent::Ended(_));
        }
    }
}

fn receive(relay: &mut Relay, now: Instant, datagram: &[u8]) {
    if let Some((_, data)) = relay.handle_datagram(now, datagram) {
        assert!(datagram.get(data).is_some(), "beyond the datagram");
    }
}
