//! A receiver's jitter buffer and decoder, as far as they matter: frames in order, the rest waits for a key frame.
use crate::encoder::Frame;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A decoder that gets nothing whole for so long asks for a key frame.
const PATIENCE: Duration = Duration::from_secs(2);

struct Packet {
    marker: bool,
    payload: Vec<u8>,
}

/// A frame that was shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    pub at: Instant,
    pub layer: u8,
    pub is_keyframe: bool,
}

/// One video stream as its receiver sees it.
#[derive(Default)]
pub struct Screen {
    packets: BTreeMap<u64, Packet>,
    /// The first number that has not been decoded.
    next: Option<u64>,
    pub shown: Vec<Shown>,
    last_packet: Option<Instant>,
    asked: Option<Instant>,
    pub keyframes_asked: u64,
    /// What has come of it.
    pub octets: u64,
}

impl Screen {
    pub fn handle_packet(&mut self, now: Instant, number: u64, marker: bool, payload: &[u8]) {
        // Padding in the stream itself carries nothing, but has a number.
        self.last_packet = Some(now);
        self.octets += payload.len() as u64;
        if self.next.is_some_and(|next| number < next) {
            return;
        }
        self.packets.insert(number, Packet { marker, payload: payload.to_vec() });
        while self.decode_next(now) || self.skip_to_keyframe() {}
    }

    /// Decodes the frame that begins at `next`, if it is whole.
    fn decode_next(&mut self, now: Instant) -> bool {
        let Some(next) = self.next else { return false };
        let mut payloads = Vec::new();
        for number in next.. {
            let Some(packet) = self.packets.get(&number) else { return false };
            if is_start(&packet.payload) && !payloads.is_empty() {
                // The frame before has no end: its sender left the rest out.
                payloads.clear();
            }
            payloads.push(packet.payload.clone());
            if packet.marker {
                self.packets = self.packets.split_off(&(number + 1));
                self.next = Some(number + 1);
                break;
            }
        }
        let frame = Frame::of(&payloads);
        self.shown.push(Shown { at: now, layer: frame.layer, is_keyframe: frame.is_keyframe });
        true
    }

    /// Jumps over a hole to a whole key frame behind it.
    fn skip_to_keyframe(&mut self) -> bool {
        let starts: Vec<u64> =
            self.packets.iter().filter(|(_, p)| is_keyframe_start(&p.payload)).map(|(n, _)| *n).collect();
        let whole = |start: &u64| {
            let mut packets = (*start..).map_while(|number| self.packets.get(&number));
            packets.any(|packet| packet.marker)
        };
        let Some(start) = starts.into_iter().find(|start| Some(*start) != self.next && whole(start)) else {
            return false;
        };
        self.packets = self.packets.split_off(&start);
        self.next = Some(start);
        true
    }

    /// Whether a key frame is to be asked for now.
    pub fn wants_keyframe(&mut self, now: Instant) -> bool {
        let since = self.shown.last().map(|shown| shown.at).max(self.asked);
        let Some(packet) = self.last_packet else { return false };
        let starved = !self.packets.is_empty() && since.is_none_or(|since| now.duration_since(since) > PATIENCE);
        let ask = starved && now.duration_since(packet) < PATIENCE;
        if ask {
            self.asked = Some(now);
            self.keyframes_asked += 1;
        }
        ask
    }

    /// Frames shown in a time, per second.
    pub fn frame_rate(&self, from: Instant, to: Instant) -> f64 {
        let count = self.shown.iter().filter(|shown| from <= shown.at && shown.at < to).count();
        count as f64 / to.duration_since(from).as_secs_f64()
    }

    /// The first frame of a layer from a time on.
    pub fn first(&self, layer: u8, from: Instant) -> Option<Instant> {
        self.shown.iter().find(|shown| shown.layer == layer && shown.at >= from).map(|shown| shown.at)
    }

    /// How often the layer changed from a time on.
    pub fn switches(&self, from: Instant) -> usize {
        let layers: Vec<u8> = self.shown.iter().filter(|shown| shown.at >= from).map(|shown| shown.layer).collect();
        layers.windows(2).filter(|pair| pair[0] != pair[1]).count()
    }

    /// Part of a time in which the picture stood still, as browsers count it: whatever is 150 ms longer than the mean
    /// between two frames (W3C webrtc-stats, `freezeCount`).
    pub fn frozen(&self, from: Instant, to: Instant) -> f64 {
        let times: Vec<Instant> =
            self.shown.iter().map(|shown| shown.at).filter(|at| from <= *at && *at < to).collect();
        let gaps: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = to.duration_since(from) / (gaps.len().max(1) as u32);
        let limit = (mean * 3).max(mean + Duration::from_millis(150));
        let frozen: Duration = gaps.into_iter().filter(|gap| *gap > limit).sum();
        frozen.as_secs_f64() / to.duration_since(from).as_secs_f64()
    }

    /// The longest time without a frame between two times.
    pub fn longest_freeze(&self, from: Instant, to: Instant) -> Duration {
        let times = self.shown.iter().map(|shown| shown.at).filter(|at| from <= *at && *at < to);
        let times: Vec<Instant> = std::iter::once(from).chain(times).chain([to]).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }
}

fn is_start(payload: &[u8]) -> bool {
    payload[0] & 0x10 != 0
}

fn is_keyframe_start(payload: &[u8]) -> bool {
    is_start(payload) && payload.get(5) == Some(&0)
}
