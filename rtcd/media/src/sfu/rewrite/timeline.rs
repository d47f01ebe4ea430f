//! Where one stream follows another: the receiver's timeline goes on, by the senders' clocks where they are known.
use super::segment::{Segment, picture_numbers};
use super::{HISTORY, Newest, Rewriter};
use crate::rtcp::SenderInfo;
use crate::rtp::SeqNo;
use crate::sfu::receive::ClockReference;
use crate::sfu::{Epoch, Layer, Meta};
use std::time::Instant;

impl Rewriter {
    /// The same stream goes on under other numbers.
    pub(super) fn switch_numbers(&mut self) {
        let Some(old) = self.current else { return };
        self.current = Some(Segment { first: SeqNo(old.last.0 + 1), numbers: self.numbers, ..old });
        self.remember(old);
    }

    fn remember(&mut self, old: Segment) {
        if self.history.len() == HISTORY {
            self.history.pop_back();
        }
        self.history.push_front(old);
    }

    pub(super) fn switch(&mut self, now: Instant, meta: &Meta, payload: &[u8], clocks: &[Option<ClockReference>]) {
        let (picture_id, tl0) = picture_numbers(self.codec, payload);
        let mut segment = Segment {
            layer: meta.layer,
            epoch: meta.epoch,
            numbers: self.numbers,
            first: meta.seq,
            last: meta.seq,
            shift: (self.first_seq.0 as i64).wrapping_sub(meta.seq.0 as i64),
            timestamp_shift: 0,
            picture_id_shift: 0,
            tl0_shift: 0,
        };
        if let Some(newest) = self.newest {
            segment.shift = (newest.seq.0 as i64 + 1).wrapping_sub(meta.seq.0 as i64);
            let timestamp = self.timestamp_after_switch(now, &newest, meta, clocks);
            segment.timestamp_shift = timestamp.wrapping_sub(meta.timestamp);
            segment.picture_id_shift = newest.picture_id.wrapping_add(1).wrapping_sub(picture_id);
            segment.tl0_shift = newest.tl0.wrapping_add(1).wrapping_sub(tl0);
        }
        if let Some(old) = self.current {
            self.remember(old);
        }
        self.current = Some(segment);
        self.suspended = false;
    }

    /// Where the new layer's packet lies on the receiver's timeline: by both layers' sender reports if there are, else
    /// by the time that has passed since the last packet.
    fn timestamp_after_switch(
        &self,
        now: Instant,
        newest: &Newest,
        meta: &Meta,
        clocks: &[Option<ClockReference>],
    ) -> u32 {
        let rate = u64::from(self.codec.clock_rate());
        let before = self.current.and_then(|old| Some((clock_of(clocks, old.layer, old.epoch)?, old.timestamp_shift)));
        let by_reports = before.zip(clock_of(clocks, meta.layer, meta.epoch)).map(|((before, shift), after)| {
            let ticks = ntp_difference_in_ticks(after.info.ntp, before.info.ntp, rate);
            let same_instant = before.info.rtp.wrapping_add(ticks);
            let in_old_stream = meta.timestamp.wrapping_sub(after.info.rtp).wrapping_add(same_instant);
            in_old_stream.wrapping_add(shift)
        });
        let passed = now.saturating_duration_since(newest.at).as_micros() as u64 * rate / 1_000_000;
        let by_arrival = newest.timestamp.wrapping_add((passed as u32).max(1));
        // Reports of a broken sender must not throw the receiver's clock: believe them within one second.
        by_reports
            .filter(|timestamp| {
                let ahead = timestamp.wrapping_sub(newest.timestamp) as i32;
                ahead > 0 && (timestamp.wrapping_sub(by_arrival) as i32).unsigned_abs() < rate as u32
            })
            .unwrap_or(by_arrival)
    }

    /// The sender report of this track at `now`, once the sender's clock is known and something was sent: the sender's
    /// own NTP time, so that its tracks stay in sync at the receiver.
    pub fn sender_report(&self, now: Instant, clocks: &[Option<ClockReference>]) -> Option<SenderInfo> {
        let segment = self.current?;
        let clock = clock_of(clocks, segment.layer, segment.epoch)?;
        let passed = now.saturating_duration_since(clock.at).as_micros() as u64;
        let ticks = passed * u64::from(self.codec.clock_rate()) / 1_000_000;
        let ntp = (u128::from(passed) << 32) / 1_000_000;
        Some(SenderInfo {
            ssrc: self.ssrc,
            ntp: clock.info.ntp.wrapping_add(ntp as u64),
            rtp: clock.info.rtp.wrapping_add(ticks as u32).wrapping_add(segment.timestamp_shift),
            packets: self.packets,
            octets: self.octets,
        })
    }
}

/// The clock of a layer's stream, if it is of that stream and not of one before or after it.
fn clock_of(clocks: &[Option<ClockReference>], layer: Layer, epoch: Epoch) -> Option<ClockReference> {
    clocks.get(layer.0 as usize).copied().flatten().filter(|clock| clock.epoch == epoch)
}

/// `after - before` of two NTP times in ticks of a clock, modulo 2^32.
fn ntp_difference_in_ticks(after: u64, before: u64, rate: u64) -> u32 {
    let difference = i128::from(after.wrapping_sub(before) as i64);
    ((difference * i128::from(rate)) >> 32) as u32
}
