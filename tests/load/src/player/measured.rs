//! What a thread measures, and what has become of its participants.
use crate::tally::Tally;
use crate::traffic::Sent;
use crate::trailer::StreamKey;
use anyhow::Result;
use hdrhistogram::Histogram;
use std::time::Duration;

/// A minute, in microseconds: what takes longer counts as that.
const LONGEST: u64 = 60_000_000;

/// What a thread measures while it plays.
pub struct Measured {
    /// Ages of voice packets, in microseconds.
    pub voice: Histogram<u32>,
    /// Ages of packets of pictures, in microseconds.
    pub video: Histogram<u32>,
    /// From join to the open data channel, in microseconds.
    pub joins: Histogram<u32>,
    /// From the announcement of a track to its first key frame, in microseconds.
    pub key_frames: Histogram<u32>,
    /// Offers that a server has not answered: what they are about comes late.
    pub unanswered: u64,
    /// Packets since the others were told.
    pub(super) fresh: u64,
}

impl Measured {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            voice: histogram()?,
            video: histogram()?,
            joins: histogram()?,
            key_frames: histogram()?,
            unanswered: 0,
            fresh: 0,
        })
    }
    /// A packet arrived so many microseconds old.
    pub fn packet(&mut self, latency: u64, video: bool) {
        if video { &mut self.video } else { &mut self.voice }.saturating_record(latency);
        self.fresh += 1;
    }
    /// Somebody got in.
    pub fn joined(&mut self, micros: u128) {
        self.joins.saturating_record(u64::try_from(micros).unwrap_or(LONGEST));
    }
    /// Somebody sees a picture.
    pub fn key_frame(&mut self, micros: u128) {
        self.key_frames.saturating_record(u64::try_from(micros).unwrap_or(LONGEST));
    }
}

/// A histogram of microseconds up to a minute, three digits of it.
pub fn histogram() -> Result<Histogram<u32>> {
    Ok(Histogram::new_with_bounds(1, LONGEST, 3)?)
}

/// What has become of one participant.
pub struct Played {
    /// Number of its call.
    pub call: u32,
    /// Its number.
    pub number: u32,
    /// What it has heard.
    pub tally: Tally,
    /// What it has sent while it was measured.
    pub sent: Vec<(StreamKey, Sent)>,
    /// Pictures and packets of voice that it was too late for.
    pub skipped: u64,
    /// It was there for all of the window.
    pub whole: bool,
}

/// What has become of a thread.
pub struct Outcome {
    /// Its measures.
    pub measured: Measured,
    /// Its participants.
    pub played: Vec<Played>,
    /// CPU time that it took in the window.
    pub cpu: Duration,
}
