//! A model of an encoder and its packetizer: VP8 frames of a wanted bit rate with a time stamp inside, key frames when
//! asked for.
use std::time::{Duration, Instant};

/// Payload of one packet: what browsers make of a path of 1200 octets.
const PACKET: usize = 1100;
/// A key frame is so many times as large as another one.
const KEYFRAME: usize = 3;
/// Descriptor with picture id and TL0PICIDX (RFC 7741, section 4.2), then the first octet of the frame.
const DESCRIPTOR: usize = 5;
/// What a frame says in its first octets: key frame or not, layer.
const FRAME_HEADER: usize = 1 + 1;

/// One layer of a picture.
#[derive(Clone, Copy, Debug)]
pub struct Layer {
    pub rid: Option<&'static str>,
    pub number: u8,
    pub bit_rate: u64,
    pub frames_per_second: u32,
}

/// The layers of a screen share, and of a camera (contract, section 5).
pub const LOW: Layer = Layer { rid: Some("l"), number: 0, bit_rate: 500_000, frames_per_second: 5 };
pub const HIGH: Layer = Layer { rid: Some("h"), number: 1, bit_rate: 2_500_000, frames_per_second: 20 };

/// One RTP payload.
pub struct Payload {
    pub bytes: Vec<u8>,
    pub marker: bool,
}

pub struct Encoder {
    pub layer: Layer,
    pub next_frame: Instant,
    pub is_running: bool,
    keyframe_wanted: bool,
    picture_id: u16,
    started: Instant,
}

impl Encoder {
    pub fn new(layer: Layer, now: Instant) -> Self {
        Self { layer, next_frame: now, is_running: true, keyframe_wanted: true, picture_id: 0, started: now }
    }

    pub fn want_keyframe(&mut self) {
        self.keyframe_wanted = true;
    }

    /// The packets of the frame that is due, and its RTP time.
    pub fn encode(&mut self, now: Instant) -> (u32, Vec<Payload>) {
        self.next_frame = now + Duration::from_secs(1) / self.layer.frames_per_second;
        let is_keyframe = std::mem::take(&mut self.keyframe_wanted);
        self.picture_id = (self.picture_id + 1) & 0x7fff;
        let len = (self.layer.bit_rate / 8 / u64::from(self.layer.frames_per_second)) as usize;
        let len = if is_keyframe { len * KEYFRAME } else { len };
        let since = now.duration_since(self.started);
        // The first bit of a VP8 frame says whether it is no key frame.
        let mut frame = vec![u8::from(!is_keyframe), self.layer.number];
        frame.resize(len.max(FRAME_HEADER), self.layer.number);
        let chunks: Vec<&[u8]> = frame.chunks(PACKET).collect();
        let last = chunks.len() - 1;
        let payload = |(at, chunk): (usize, &&[u8])| {
            let start_of_partition = if at == 0 { 0x10 } else { 0 };
            let [high, low] = (self.picture_id | 0x8000).to_be_bytes();
            let mut bytes = vec![0x80 | start_of_partition, 0xc0, high, low, self.picture_id as u8];
            bytes.extend_from_slice(chunk);
            Payload { bytes, marker: at == last }
        };
        let time = (since.as_micros() as u64 * 90_000 / 1_000_000) as u32;
        (time, chunks.iter().enumerate().map(payload).collect())
    }
}

/// A whole frame as it came out of the packets of a receiver.
pub struct Frame {
    pub is_keyframe: bool,
    pub layer: u8,
}

impl Frame {
    /// Reads a frame out of its packets' payloads; panics when they are not of one frame, which is what a test is for.
    pub fn of(payloads: &[Vec<u8>]) -> Self {
        let bytes: Vec<u8> = payloads.iter().flat_map(|payload| payload[DESCRIPTOR..].iter().copied()).collect();
        let layer = bytes[1];
        assert!(bytes[FRAME_HEADER..].iter().all(|octet| *octet == layer), "octets of another frame");
        Self { is_keyframe: bytes[0] == 0, layer }
    }
}
