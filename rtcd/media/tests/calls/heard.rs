//! A receiver's ear: which packets of a voice are there when their turn comes.
use std::time::{Duration, Instant};

/// How much later than the fastest packet one may be to be heard.
const PLAYOUT: Duration = Duration::from_millis(150);

/// A voice as it is heard: when which packet came.
#[derive(Default)]
pub struct Heard {
    /// When its sender's clock began.
    pub began: Option<Instant>,
    pub packets: Vec<(Instant, u64, Duration)>,
}

impl Heard {
    /// Part of the voice between two numbers that has to be made up: neither the packet nor the one behind it, which carries
    /// it once more (RFC 7587, in-band FEC), is there when its turn has come.
    pub fn concealed(&self, from: u64, to: u64) -> f64 {
        let in_time = self.in_time(from, to);
        let concealed = in_time.windows(2).filter(|pair| !pair[0] && !pair[1]).count();
        concealed as f64 / (to - from) as f64
    }

    /// Part of the voice between two numbers whose own packet is not there when its turn has come.
    pub fn missing(&self, from: u64, to: u64) -> f64 {
        let missing = self.in_time(from, to).iter().filter(|in_time| !**in_time).count();
        missing as f64 / (to - from) as f64
    }

    fn in_time(&self, from: u64, to: u64) -> Vec<bool> {
        let Some(began) = self.began else { return vec![false; (to - from) as usize + 1] };
        let delay = |(at, _, made): &(Instant, u64, Duration)| at.duration_since(began).saturating_sub(*made);
        let least = self.packets.iter().map(delay).min().unwrap_or_default();
        let mut in_time = vec![false; (to - from) as usize + 1];
        for packet in self.packets.iter().filter(|packet| delay(packet) <= least + PLAYOUT) {
            if let Some(place) = packet.1.checked_sub(from).and_then(|place| in_time.get_mut(place as usize)) {
                *place = true;
            }
        }
        in_time
    }

    /// The newest number.
    pub fn newest(&self) -> u64 {
        self.packets.iter().map(|(_, number, _)| *number).max().unwrap_or_default()
    }
}
