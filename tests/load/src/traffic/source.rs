//! A stream that is being sent: packets when they are due.
use super::{MAX_PAYLOAD, Sent, Shape, VOICE_BYTES, Window};
use crate::clock;
use crate::trailer::{Kind, LEN, StreamKey, Trailer};
use std::time::{Duration, Instant};
use str0m::Rtc;
use str0m::media::{Mid, Pt, Rid};
use str0m::rtp::{ExtensionValues, RtpWrite, SeqNo};

const VOICE_EVERY: Duration = Duration::from_millis(20);
/// A key frame is so many times as large as another picture.
const KEY_FRAME_FACTOR: usize = 3;
/// Descriptor (RFC 7741, 4.2) with a picture id of 15 bits, and the header of a key frame (RFC 6386, 9.1).
const DESCRIPTOR: usize = 4;
const KEY_FRAME_HEADER: usize = 10;
/// Levels of somebody who speaks, in dBov: words and the pauses between them, as the servers' voice detection wants it.
const LEVELS: [i8; 10] = [-18, -22, -20, -25, -60, -19, -24, -58, -62, -21];

/// A stream that is being sent.
pub struct Source {
    shape: Shape,
    /// Its name in trailers.
    pub key: StreamKey,
    mid: Mid,
    rid: Option<Rid>,
    pt: Pt,
    sequence: u32,
    started: Instant,
    /// When the next packets are due.
    pub next_at: Instant,
    picture_at: Instant,
    picture: Picture,
    picture_id: u16,
    key_frame_wanted: bool,
    /// Packets of the measured window.
    pub sent: Sent,
    /// Pictures that were left out because this thread came too late for them.
    pub skipped: u64,
}

/// The one that is being sent.
#[derive(Clone, Copy, Default)]
struct Picture {
    packets: usize,
    gone: usize,
    bytes: usize,
    key_frame: bool,
    timestamp: u32,
}

impl Source {
    /// A stream that starts at `at`, with a key frame if it is a picture.
    pub fn new(shape: Shape, call: u32, sender: u32, mid: Mid, pt: Pt, at: Instant) -> Self {
        let key = StreamKey { call, sender, kind: shape.kind, layer: shape.layer };
        Self {
            shape,
            key,
            mid,
            rid: shape.rid.map(Rid::from),
            pt,
            sequence: 0,
            started: at,
            next_at: at,
            picture_at: at,
            picture: Picture::default(),
            picture_id: 0,
            key_frame_wanted: true,
            sent: Sent::default(),
            skipped: 0,
        }
    }

    /// The section that it is sent in.
    pub fn mid(&self) -> Mid {
        self.mid
    }

    /// Whether a key frame request for this section and layer is for it.
    pub fn is(&self, mid: Mid, rid: Option<Rid>) -> bool {
        self.mid == mid && (rid.is_none() || rid == self.rid) && self.key.kind.is_video()
    }

    /// The next picture is a key frame.
    pub fn want_key_frame(&mut self) {
        self.key_frame_wanted = true;
    }

    /// Hands what is due to str0m; sets when it wants to be called again.
    pub fn send(&mut self, rtc: &mut Rtc, now: Instant, window: Window) {
        if self.shape.kind == Kind::Voice {
            self.send_voice(rtc, now, window)
        } else {
            self.send_picture(rtc, now, window)
        }
    }

    fn send_voice(&mut self, rtc: &mut Rtc, now: Instant, window: Window) {
        let mut payload = [0x5a; VOICE_BYTES];
        // CELT, fullband, 20 ms, mono, one frame (RFC 6716, 3.1).
        payload[0] = 0xf8;
        let level = LEVELS[self.sequence as usize % LEVELS.len()];
        let extensions = ExtensionValues { audio_level: Some(level), voice_activity: Some(true), ..Default::default() };
        let time = self.sequence.wrapping_mul(960);
        self.write(rtc, now, window, &mut payload, time, false, extensions);
        self.next_at += VOICE_EVERY;
        self.catch_up(now);
    }

    /// What is more than a second late is left out.
    fn catch_up(&mut self, now: Instant) {
        let every = self.shape.every();
        while self.next_at + Duration::from_secs(1) < now {
            self.next_at += every;
            self.picture_at = self.next_at;
            self.skipped += 1;
        }
    }

    fn send_picture(&mut self, rtc: &mut Rtc, now: Instant, window: Window) {
        if self.picture.gone == self.picture.packets {
            self.begin_picture(now);
        }
        for _ in 0..Shape::BURST.min(self.picture.packets - self.picture.gone) {
            self.send_part(rtc, now, window);
        }
        if self.picture.gone < self.picture.packets {
            self.next_at = now + Shape::BURST_EVERY;
            return;
        }
        self.picture_at += self.shape.every();
        self.next_at = self.picture_at;
        self.catch_up(now);
        self.picture_at = self.next_at;
    }

    fn begin_picture(&mut self, now: Instant) {
        let key_frame = std::mem::take(&mut self.key_frame_wanted);
        let bytes = self.shape.picture_bytes() * if key_frame { KEY_FRAME_FACTOR } else { 1 };
        let elapsed = now.saturating_duration_since(self.started).as_micros() as u64 * 90 / 1000;
        // RTP time wraps.
        self.picture =
            Picture { packets: bytes.div_ceil(MAX_PAYLOAD), gone: 0, bytes, key_frame, timestamp: elapsed as u32 };
        self.picture_id = (self.picture_id + 1) & 0x7fff;
    }

    fn send_part(&mut self, rtc: &mut Rtc, now: Instant, window: Window) {
        let Picture { packets, gone, bytes, key_frame, timestamp } = self.picture;
        let len = (bytes / packets).clamp(DESCRIPTOR + KEY_FRAME_HEADER + LEN, MAX_PAYLOAD);
        let mut payload = [0x5a; MAX_PAYLOAD];
        let [high, low] = self.picture_id.to_be_bytes();
        // X, and S where a partition begins; I; M of the picture id.
        payload[..DESCRIPTOR].copy_from_slice(&[0x80 | if gone == 0 { 0x10 } else { 0 }, 0x80, 0x80 | high, low]);
        if gone == 0 {
            // show_frame, and the bit that says no key frame; for one the start code and 1280x720.
            payload[DESCRIPTOR] = 0x10 | u8::from(!key_frame);
            if key_frame {
                payload[DESCRIPTOR + 3..][..7].copy_from_slice(&[0x9d, 0x01, 0x2a, 0x00, 0x05, 0xd0, 0x02]);
            }
        }
        self.picture.gone += 1;
        self.write(rtc, now, window, &mut payload[..len], timestamp, gone + 1 == packets, ExtensionValues::default());
    }

    #[allow(clippy::too_many_arguments, reason = "what makes up a packet")]
    fn write(
        &mut self,
        rtc: &mut Rtc,
        now: Instant,
        window: Window,
        payload: &mut [u8],
        time: u32,
        marker: bool,
        extensions: ExtensionValues,
    ) {
        let sent = clock::nanos(Instant::now());
        Trailer { sent, stream: self.key, sequence: self.sequence }.write(payload);
        let mut api = rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(self.mid, self.rid) else { return };
        let sequence = SeqNo::from(u64::from(self.sequence) + 1);
        let packet = RtpWrite::new(self.pt, sequence, time, now, &*payload);
        stream.write_rtp(packet.marker(marker).ext_vals(extensions).nackable(self.shape.kind.is_video()));
        if window.holds(sent) {
            if self.sent.count == 0 {
                self.sent.first = self.sequence;
            }
            self.sent.count += 1;
        }
        self.sequence += 1;
    }
}
