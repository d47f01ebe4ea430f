//! The replay state of each stream that a peer sends, bounded, and what is left of it when a stream makes room.
use super::ReplayWindow;
use crate::footprint::{Footprint, flat, flat_queue};
use crate::rtp::SeqNo;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Streams of one peer whose replay windows are kept. A participant sends at most eight (voice, camera, two screens in
/// two layers each, screen audio, and a spare); replaced tracks bring new ones.
pub(super) const MAX_STREAMS: usize = 64;
/// Streams that made room and whose newest number is still remembered, in 16 bytes each: one that comes back goes on
/// where it was, and what was recorded of it before is still a replay.
const MAX_PAST: usize = 1024;

#[derive(Serialize, Deserialize)]
struct Stream {
    ssrc: u32,
    window: ReplayWindow,
    /// Turn of the last authentic packet.
    heard: u64,
}

/// The streams of one peer, of RTP or of RTCP: both count for each SSRC (RFC 3711, sections 3.2.1 and 3.4; libsrtp).
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Streams {
    live: Vec<Stream>,
    past: VecDeque<(u32, SeqNo)>,
    turn: u64,
}

/// What is known of the stream that a packet belongs to, before the packet is authentic.
pub(super) enum Known {
    /// Its place among the streams whose window is kept.
    Live(usize),
    /// It made room for others after this number.
    Past(SeqNo),
    /// Never heard.
    New,
}

impl Streams {
    /// Looks a stream up.
    #[inline]
    pub(super) fn find(&self, ssrc: u32) -> Known {
        match self.live.iter().position(|stream| stream.ssrc == ssrc) {
            Some(at) => Known::Live(at),
            None => self.find_past(ssrc),
        }
    }

    #[cold]
    fn find_past(&self, ssrc: u32) -> Known {
        self.past.iter().find(|(past, _)| *past == ssrc).map_or(Known::New, |(_, newest)| Known::Past(*newest))
    }

    /// The full number of a packet with the given wire number.
    #[inline]
    pub(super) fn extend(&self, known: &Known, wire: u16) -> SeqNo {
        match known {
            Known::Live(at) => self.live[*at].window.extend(wire),
            Known::Past(newest) => ReplayWindow::after(*newest).extend(wire),
            Known::New => SeqNo(u64::from(wire)),
        }
    }

    /// Whether a packet with this number is new and not too old.
    #[inline]
    pub(super) fn is_fresh(&self, known: &Known, seq: SeqNo) -> bool {
        match known {
            Known::Live(at) => self.live[*at].window.is_fresh(seq),
            Known::Past(newest) => seq > *newest,
            Known::New => true,
        }
    }

    /// Marks an authentic packet as seen. The least recently heard stream makes room for a new one.
    #[inline]
    pub(super) fn commit(&mut self, known: Known, ssrc: u32, seq: SeqNo) {
        self.turn += 1;
        let at = match known {
            Known::Live(at) => at,
            Known::Past(newest) => {
                self.past.retain(|(past, _)| *past != ssrc);
                self.open(ssrc, ReplayWindow::after(newest))
            }
            Known::New => self.open(ssrc, ReplayWindow::default()),
        };
        let stream = &mut self.live[at];
        stream.heard = self.turn;
        stream.window.commit(seq);
    }

    #[cold]
    fn open(&mut self, ssrc: u32, window: ReplayWindow) -> usize {
        if self.live.len() >= MAX_STREAMS
            && let Some(quietest) = (0..self.live.len()).min_by_key(|at| self.live[*at].heard)
        {
            let old = self.live.swap_remove(quietest);
            if self.past.len() == MAX_PAST {
                self.past.pop_front();
            }
            self.past.extend(old.window.newest().map(|newest| (old.ssrc, newest)));
        }
        // Most participants send one stream of RTCP, and none or one of RTP.
        self.live.reserve_exact(1);
        self.live.push(Stream { ssrc, window, heard: self.turn });
        self.live.len() - 1
    }

    /// The newest number of each stream whose window is kept.
    pub(super) fn newest(&self) -> impl ExactSizeIterator<Item = (u32, SeqNo)> {
        self.live.iter().map(|stream| (stream.ssrc, stream.window.newest().unwrap_or_default()))
    }

    /// All numbers of a stream up to this one count as seen.
    pub(super) fn pass_over(&mut self, ssrc: u32, newest: SeqNo) {
        let at = match self.find(ssrc) {
            Known::Live(at) => at,
            Known::Past(_) | Known::New => self.open(ssrc, ReplayWindow::default()),
        };
        let window = &mut self.live[at].window;
        if window.newest().is_none_or(|known| known <= newest) {
            *window = ReplayWindow::after(newest);
        }
    }

    /// Streams whose window is kept.
    pub(super) fn len(&self) -> usize {
        self.live.len()
    }
}

impl Footprint for Streams {
    fn heap_bytes(&self) -> usize {
        flat(&self.live) + flat_queue(&self.past)
    }
}
