//! What waits for a TCP connection that takes less than there is: voice before pictures, and nothing that has gone stale.
//! The kernel is given little at once, so that the order is ours until shortly before the wire.
use super::counters::{Counters, count};
use rtcd_media::footprint::{Footprint, flat, flat_queue};
use rtcd_media::sfu::switch::Class;
use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Frames that are given to the kernel at once: three full packets. What lies in front of a packet of voice is this and
/// [`super::socket::UNSENT`], 130 ms at 500 kbit/s.
const STAGE: usize = 4 * 1024;
/// Voice that is older is not worth a listener's time: their buffers hold some 200 ms.
const STALE_VOICE: Duration = Duration::from_millis(400);
/// Pictures that are older: the next key frame is sooner there.
const STALE_VIDEO: Duration = Duration::from_millis(700);
/// STUN, DTLS and RTCP repeat what matters.
const STALE_CONTROL: Duration = Duration::from_secs(10);
/// Bytes that wait in each class: 100 KB of descriptions; two seconds of ten voices; 0.8 s of a 2.5 Mbit/s screen.
const ROOM: [usize; 3] = [192 * 1024, 128 * 1024, 256 * 1024];
/// Streams of pictures of one receiver that wait for a key frame; beyond them a stream goes on with a hole.
const MAX_BROKEN: usize = 256;

/// A key frame that was asked for and did not come is asked for again; senders are asked once a second at most.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The queue of a class.
fn lane_of(class: Class) -> usize {
    match class {
        Class::Control => 0,
        Class::Voice => 1,
        Class::Video { .. } => 2,
    }
}

/// Whole frames of one class, the oldest first.
#[derive(Debug, Default)]
struct Lane {
    bytes: VecDeque<u8>,
    frames: VecDeque<(usize, Instant)>,
}

impl Lane {
    fn oldest(&self) -> Option<Instant> {
        self.frames.front().map(|(_, since)| *since)
    }

    fn is_stale(&self, now: Instant, limit: Duration) -> bool {
        self.oldest().is_some_and(|since| now.saturating_duration_since(since) > limit)
    }

    fn pop(&mut self, out: &mut Vec<u8>) {
        if let Some((len, _)) = self.frames.pop_front() {
            out.extend(self.bytes.drain(..len));
        }
    }
}

/// A frame of which something has left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Begun {
    /// Bytes that have not.
    pub rest: usize,
    /// The first of them: it may be half of the length.
    pub next: u8,
}

/// The queue of one connection.
#[derive(Debug, Default)]
pub struct Outbox {
    lanes: [Lane; 3],
    /// Frames that are being written: they must leave whole, whatever becomes of others.
    staged: Vec<u8>,
    written: usize,
    /// Bytes at the beginning of `staged` that are the rest of a frame which has begun to leave elsewhere.
    first: usize,
    /// SSRCs of pictures of which something was dropped: what does not begin anew is of no use.
    broken: Vec<[u8; 4]>,
    /// When the receiver's key frames are to be asked for; `None` when nothing is missing or they were asked for.
    asks_at: Option<Instant>,
}

impl Footprint for Outbox {
    fn heap_bytes(&self) -> usize {
        let lanes: usize = self.lanes.iter().map(|lane| flat_queue(&lane.bytes) + flat_queue(&lane.frames)).sum();
        lanes + flat(&self.staged) + flat(&self.broken)
    }
}

impl Outbox {
    /// Queues a datagram behind its length (RFC 4571, section 2); false when there is no room, or no use for it.
    pub fn push(&mut self, now: Instant, class: Class, datagram: &[u8], counters: &Counters) -> bool {
        let Ok(len) = u16::try_from(datagram.len()) else { return false };
        self.expire(now, counters);
        if let (Class::Video { keyframe }, Some(ssrc)) = (class, ssrc(datagram))
            && let Some(at) = self.broken.iter().position(|broken| *broken == ssrc)
        {
            if !keyframe {
                // The one that was asked for may have been lost on its way to us, or not gone out.
                self.asks_at.get_or_insert(now + ASK_AGAIN);
                return false;
            }
            self.broken.swap_remove(at);
        }
        let lane = &mut self.lanes[lane_of(class)];
        if lane.bytes.len() + 2 + datagram.len() > ROOM[lane_of(class)] {
            if matches!(class, Class::Video { .. }) {
                self.drop_video(now, counters);
            }
            return false;
        }
        lane.bytes.extend(len.to_be_bytes());
        lane.bytes.extend(datagram);
        lane.frames.push_back((2 + datagram.len(), now));
        true
    }

    /// The rest of a frame that has begun to leave elsewhere.
    pub fn finish_first(&mut self, rest: Vec<u8>) {
        (self.first, self.written) = (rest.len(), 0);
        self.staged = rest;
    }

    /// The rest of the frame that has begun to leave.
    pub fn into_begun(mut self) -> Vec<u8> {
        let rest = self.begun().map_or(0, |begun| begun.rest);
        self.staged.truncate(self.written + rest);
        self.staged.split_off(self.written)
    }

    /// The frame that has begun to leave, if there is one.
    pub fn begun(&self) -> Option<Begun> {
        let (mut start, mut end) = (0, self.first);
        while end <= self.written {
            let len = self.staged.get(end..)?.first_chunk()?;
            (start, end) = (end, end + 2 + usize::from(u16::from_be_bytes(*len)));
        }
        let is_begun = self.written > start || self.first > 0 && start == 0;
        is_begun.then(|| Begun { rest: end - self.written, next: self.staged[self.written] })
    }

    /// What is to be written next, if anything.
    pub fn next(&mut self, now: Instant, counters: &Counters) -> Option<&[u8]> {
        if self.written == self.staged.len() {
            self.staged.clear();
            (self.written, self.first) = (0, 0);
            self.expire(now, counters);
            while self.staged.len() < STAGE {
                // Control and voice in their order; pictures when neither is there.
                let [control, voice, video] = &mut self.lanes;
                match (control.oldest(), voice.oldest()) {
                    (Some(first), Some(second)) if first > second => voice.pop(&mut self.staged),
                    (Some(_), _) => control.pop(&mut self.staged),
                    (None, Some(_)) => voice.pop(&mut self.staged),
                    (None, None) if video.oldest().is_some() => video.pop(&mut self.staged),
                    (None, None) => break,
                }
            }
        }
        self.staged.get(self.written..).filter(|rest| !rest.is_empty())
    }

    /// So much of it was written.
    pub fn advance(&mut self, written: usize) {
        self.written = (self.written + written).min(self.staged.len());
    }

    /// Streams that need a key frame now, since something of them was dropped.
    pub fn take_broken(&mut self, now: Instant) -> Vec<u32> {
        if self.asks_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.asks_at = None;
        self.broken.iter().map(|ssrc| u32::from_be_bytes(*ssrc)).collect()
    }

    fn expire(&mut self, now: Instant, counters: &Counters) {
        for (lane, limit) in self.lanes.iter_mut().zip([STALE_CONTROL, STALE_VOICE]) {
            while lane.is_stale(now, limit) {
                if let Some((len, _)) = lane.frames.pop_front() {
                    lane.bytes.drain(..len);
                }
                count(&counters.tcp_stale);
            }
        }
        if self.lanes[2].is_stale(now, STALE_VIDEO) {
            self.drop_video(now, counters);
        }
    }

    /// All of it: what follows a hole cannot be shown, and would only delay the key frame.
    fn drop_video(&mut self, now: Instant, counters: &Counters) {
        let lane = &mut self.lanes[2];
        counters.tcp_stale.fetch_add(lane.frames.len() as u64, Relaxed);
        let bytes = lane.bytes.make_contiguous();
        let mut at = 0;
        for (len, _) in lane.frames.drain(..) {
            if let Some(ssrc) = bytes.get(at + 2..at + len).and_then(ssrc)
                && !self.broken.contains(&ssrc)
                && self.broken.len() < MAX_BROKEN
            {
                self.broken.push(ssrc);
            }
            at += len;
        }
        lane.bytes.clear();
        self.asks_at = Some(now);
    }
}

/// The stream of an RTP packet, which SRTP leaves readable.
fn ssrc(datagram: &[u8]) -> Option<[u8; 4]> {
    datagram.get(8..12)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(ssrc: u8, tag: u8, len: usize) -> Vec<u8> {
        let mut packet = vec![tag; len];
        packet[8..12].copy_from_slice(&[0, 0, 0, ssrc]);
        packet
    }

    const DELTA: Class = Class::Video { keyframe: false };
    const KEY: Class = Class::Video { keyframe: true };

    /// What a connection that takes everything gets: the first byte of each frame.
    fn read(outbox: &mut Outbox, now: Instant, counters: &Counters) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(next) = outbox.next(now, counters) {
            let part = next.len().div_ceil(3);
            bytes.extend_from_slice(&next[..part]);
            outbox.advance(part);
        }
        let mut tags = Vec::new();
        let mut rest = &bytes[..];
        while let Some(header) = rest.first_chunk() {
            let len = usize::from(u16::from_be_bytes(*header));
            tags.push(rest[2]);
            rest = &rest[2 + len..];
        }
        tags
    }

    #[test]
    fn voice_and_control_go_before_pictures_and_keep_their_order() {
        let (mut outbox, counters, now) = (Outbox::default(), Counters::default(), Instant::now());
        for tag in 0..10 {
            assert!(outbox.push(now, DELTA, &packet(9, 100 + tag, 1200), &counters));
        }
        for (at, class) in [Class::Voice, Class::Control, Class::Voice].into_iter().enumerate() {
            outbox.push(now + Duration::from_millis(at as u64), class, &packet(1, at as u8, 100), &counters);
        }
        let tags = read(&mut outbox, now + Duration::from_millis(5), &counters);
        assert_eq!(tags, [&[0, 1, 2][..], &(100..110).collect::<Vec<u8>>()].concat());
    }

    #[test]
    fn a_frame_that_has_begun_is_finished_and_stale_ones_behind_it_are_not_sent() {
        let (mut outbox, counters, now) = (Outbox::default(), Counters::default(), Instant::now());
        for tag in 0..50 {
            outbox.push(now, Class::Voice, &packet(1, tag, 300), &counters);
        }
        let begun = outbox.next(now, &counters).expect("something").len();
        outbox.advance(100);
        let later = now + Duration::from_secs(30);
        outbox.push(later, Class::Voice, &packet(1, 99, 300), &counters);
        let rest = outbox.next(later, &counters).expect("the rest");
        assert_eq!(rest.len(), begun - 100, "nothing is torn");
        outbox.advance(begun - 100);
        assert_eq!(read(&mut outbox, later, &counters), [99]);
        assert_eq!(counters.tcp_stale.load(Relaxed), 50 - begun as u64 / 302);
    }

    #[test]
    fn it_is_known_of_which_frame_something_has_left() {
        let (mut outbox, counters, now) = (Outbox::default(), Counters::default(), Instant::now());
        outbox.push(now, Class::Voice, &packet(1, 7, 300), &counters);
        outbox.push(now, Class::Voice, &packet(1, 8, 20), &counters);
        assert_eq!(outbox.next(now, &counters).map(<[u8]>::len), Some(324));
        let mut begun = Vec::new();
        for _ in 0..324 {
            begun.push(outbox.begun().map(|begun| (begun.rest, begun.next)));
            outbox.advance(1);
        }
        assert_eq!((begun[0], begun[302]), (None, None), "nothing of them has left");
        assert_eq!((begun[1], begun[2], begun[301]), (Some((301, 44)), Some((300, 7)), Some((1, 7))));
        assert_eq!((begun[303], begun[323]), (Some((21, 20)), Some((1, 8))));
        assert_eq!(outbox.begun(), None);
        outbox.finish_first(vec![5; 10]);
        outbox.push(now, Class::Voice, &packet(1, 9, 20), &counters);
        assert_eq!(outbox.begun(), Some(Begun { rest: 10, next: 5 }), "elsewhere");
        outbox.next(now, &counters);
        outbox.advance(4);
        assert_eq!(outbox.begun(), Some(Begun { rest: 6, next: 5 }));
        assert_eq!(outbox.into_begun(), [5; 6], "and not what waits behind it");
    }

    #[test]
    fn pictures_that_were_dropped_begin_anew_with_a_key_frame() {
        let (mut outbox, counters, now) = (Outbox::default(), Counters::default(), Instant::now());
        outbox.push(now, KEY, &packet(1, 1, 1200), &counters);
        outbox.push(now, DELTA, &packet(1, 2, 1200), &counters);
        let later = now + STALE_VIDEO + Duration::from_millis(1);
        assert!(!outbox.push(later, DELTA, &packet(1, 3, 1200), &counters), "useless without what went before");
        assert!(outbox.push(later, DELTA, &packet(2, 4, 1200), &counters), "another stream is whole");
        assert_eq!((outbox.take_broken(later), outbox.take_broken(later)), (vec![1], vec![]), "asked for once");
        outbox.push(later, DELTA, &packet(1, 3, 1200), &counters);
        assert_eq!(outbox.take_broken(later + ASK_AGAIN), [1], "and again, when it does not come");
        assert!(outbox.push(later, KEY, &packet(1, 5, 1200), &counters));
        assert!(outbox.push(later, DELTA, &packet(1, 6, 1200), &counters));
        assert_eq!(read(&mut outbox, later, &counters), [4, 5, 6]);
    }

    #[test]
    fn every_class_is_bounded_and_pictures_do_not_take_the_room_of_voice() {
        let (mut outbox, counters, now) = (Outbox::default(), Counters::default(), Instant::now());
        for class in [DELTA, Class::Voice, Class::Control] {
            let taken = (0..2000).filter(|_| outbox.push(now, class, &packet(1, 0, 1000), &counters)).count();
            assert!(taken > 0);
            assert!(outbox.lanes.iter().zip(ROOM).all(|(lane, room)| lane.bytes.len() <= room), "{class:?}");
        }
        assert!(!outbox.push(now, Class::Control, &[0; 70_000], &counters));
        assert_eq!(outbox.take_broken(now), [1]);
    }
}
