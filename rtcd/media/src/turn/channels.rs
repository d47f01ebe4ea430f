//! Channels (RFC 8656, section 12): four bytes in front of a packet in place of an indication's 36.
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A channel lives for ten minutes, the permission that comes with it for five: both are renewed after four.
pub const RENEWAL: Duration = Duration::from_secs(4 * 60);
const LIFETIME: Duration = Duration::from_secs(10 * 60);
/// The number must not mean another peer for so long after that (RFC 8656, section 12).
const QUARANTINE: Duration = Duration::from_secs(5 * 60);
/// A channel that was refused is not asked for again before.
const REFUSED: Duration = Duration::from_secs(60);
/// Numbers are 0x4000 to 0x4FFF.
const FIRST: u16 = 0x4000;
const MAX_CHANNELS: usize = 0x1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The first answer is waited for.
    Asked,
    /// Since when, by the last answer; and whether another is waited for.
    Bound(Instant, bool),
    /// The server may still know it until then.
    Lapsed(Instant),
}

#[derive(Debug)]
struct Channel {
    peer: SocketAddr,
    state: State,
    used: Instant,
}

/// The channels of one relay.
#[derive(Debug, Default)]
pub struct Channels {
    /// By number, from [`FIRST`] on.
    table: Vec<Channel>,
    by_peer: HashMap<SocketAddr, u16>,
}

impl Channels {
    /// The number of a peer's channel, if the server knows it.
    #[inline]
    pub fn number(&mut self, now: Instant, peer: &SocketAddr) -> Option<u16> {
        let number = *self.by_peer.get(peer)?;
        let channel = self.get_mut(number).filter(|channel| matches!(channel.state, State::Bound(..)))?;
        channel.used = now;
        Some(number)
    }

    /// The peer of a channel. An answer may be overtaken by the first packet.
    #[inline]
    pub fn peer(&mut self, now: Instant, number: u16) -> Option<SocketAddr> {
        let channel = self.get_mut(number).filter(|channel| !matches!(channel.state, State::Lapsed(_)))?;
        channel.used = now;
        Some(channel.peer)
    }

    /// A number to ask for, for a peer that has none or whose own has lapsed; `None`: it is asked for, or there is none left.
    pub fn want(&mut self, now: Instant, peer: SocketAddr) -> Option<u16> {
        let channel = Channel { peer, state: State::Asked, used: now };
        if let Some(number) = self.by_peer.get(&peer).copied() {
            let known = self.get_mut(number)?;
            // The same peer may have the same number again at any time.
            let asks = matches!(known.state, State::Lapsed(until) if now >= until || known.used + REFUSED <= now);
            if asks {
                *known = channel;
            }
            return asks.then_some(number);
        }
        if self.table.len() < MAX_CHANNELS {
            self.table.push(channel);
            let number = FIRST + (self.table.len() - 1) as u16;
            self.by_peer.insert(peer, number);
            return Some(number);
        }
        let is_free = |channel: &Channel| matches!(channel.state, State::Lapsed(until) if until <= now);
        let at = self.table.iter().position(is_free)?;
        self.by_peer.remove(&self.table[at].peer);
        self.table[at] = channel;
        let number = FIRST + at as u16;
        self.by_peer.insert(peer, number);
        Some(number)
    }

    /// The server knows it, for ten minutes from now on.
    pub fn handle_bound(&mut self, now: Instant, number: u16) {
        if let Some(channel) = self.get_mut(number) {
            channel.state = State::Bound(now, false);
        }
    }

    /// The server has refused it.
    pub fn handle_refused(&mut self, now: Instant, number: u16) {
        if let Some(channel) = self.get_mut(number) {
            channel.state = State::Lapsed(now + LIFETIME + QUARANTINE);
            channel.used = now;
        }
    }

    /// Channels to ask for again; those that nobody has used lapse.
    pub fn due(&mut self, now: Instant) -> Vec<(u16, SocketAddr)> {
        let mut due = Vec::new();
        for (at, channel) in self.table.iter_mut().enumerate() {
            let State::Bound(since, false) = channel.state else { continue };
            if since + RENEWAL > now {
                continue;
            }
            if channel.used + RENEWAL > now {
                channel.state = State::Bound(since, true);
                due.push((FIRST + at as u16, channel.peer));
            } else {
                channel.state = State::Lapsed(since + LIFETIME + QUARANTINE);
            }
        }
        due
    }

    /// How many the server knows.
    pub fn bound(&self) -> usize {
        self.table.iter().filter(|channel| matches!(channel.state, State::Bound(..))).count()
    }

    fn get_mut(&mut self, number: u16) -> Option<&mut Channel> {
        self.table.get_mut(usize::from(number.checked_sub(FIRST)?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    use super::*;

    fn peer(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    #[test]
    fn a_channel_that_is_used_is_renewed_and_another_lapses() {
        let start = Instant::now();
        let mut channels = Channels::default();
        let (one, other) = (channels.want(start, peer(1)).expect("free"), channels.want(start, peer(2)).expect("free"));
        assert_eq!((one, other, channels.want(start, peer(1))), (0x4000, 0x4001, None), "asked for already");
        assert_eq!(channels.number(start, &peer(1)), None, "not known to the server yet");
        channels.handle_bound(start, one);
        channels.handle_bound(start, other);
        assert_eq!(channels.number(start, &peer(1)), Some(one));
        let later = start + RENEWAL;
        assert_eq!(channels.peer(later, one), Some(peer(1)));
        assert_eq!(channels.due(later), [(one, peer(1))]);
        assert_eq!((channels.bound(), channels.due(later).len()), (1, 0), "asked for once");
        assert_eq!((channels.number(later, &peer(1)), channels.number(later, &peer(2))), (Some(one), None));
        assert_eq!(channels.want(later + REFUSED, peer(2)), Some(other), "the same peer may have it back");
    }

    #[test]
    fn a_number_means_another_peer_only_when_the_server_has_forgotten_the_first() {
        let start = Instant::now();
        let mut channels = Channels::default();
        for port in 0..MAX_CHANNELS as u16 {
            let number = channels.want(start, peer(port)).expect("free");
            channels.handle_bound(start, number);
        }
        assert_eq!(channels.want(start, peer(5000)), None, "all are in use");
        assert!(channels.due(start + RENEWAL).is_empty());
        assert_eq!(channels.want(start + RENEWAL, peer(5000)), None, "the server knows them still");
        assert_eq!(channels.want(start + LIFETIME + QUARANTINE, peer(5000)), Some(FIRST));
        assert_eq!(channels.want(start + LIFETIME + QUARANTINE, peer(0)), Some(FIRST + 1), "its own is taken");
    }
}
