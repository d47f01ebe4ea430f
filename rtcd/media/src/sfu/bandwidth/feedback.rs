//! What a receiver reports, and what follows from it.
use super::cluster::Outcome;
use super::rate_control::Observation;
use super::sent::Packet;
use super::trendline::{Trendline, Usage};
use super::{Bandwidth, Bitrate, Silence};
use crate::rtcp::{ARRIVAL_PERIOD_US, TransportCc};
use std::time::{Duration, Instant};

/// Reports alone count when feedback has been missing for so long.
const FEEDBACK_GIVEN_UP_US: i64 = 10_000_000;
/// A probe that gets less than this part of the estimate through has shown that it is wrong: the way is thin from the start.
const PROBE_REFUTES: f64 = 0.6;
/// So long after an overuse nothing is probed: the queue drains.
const CALM_US: i64 = 1_500_000;
/// Weight of the newest round trip (RFC 6298, section 2).
const ROUND_TRIP_WEIGHT: f64 = 0.125;
/// A round trip so much longer than it could be, while so many packets get lost, is a queue that is full.
const FULL_QUEUE: Duration = Duration::from_millis(120);
const LOSS_OF_FULL_QUEUE: f64 = 0.05;

impl Bandwidth {
    /// The receiver tells what has arrived. Reports on packets that were never sent, or that are known, say nothing.
    pub fn handle_transport_cc(&mut self, now: Instant, feedback: &TransportCc<'_>) {
        let at = self.micros(now);
        self.sent.advance(at);
        let silence = self.silence.take();
        if silence.is_some() {
            self.groups.reset();
            self.trendline = Trendline::default();
        }
        let mut newest: Option<(i64, i64)> = None;
        for (number, arrival) in feedback.arrivals() {
            let Some(packet) = self.packets.receive(at, number) else { continue };
            let arrival = self.unwrap_arrival(arrival);
            self.handle_arrival(&packet, arrival);
            if newest.is_none_or(|(latest, _)| arrival >= latest) {
                newest = Some((arrival, packet.sent));
            }
        }
        for packet in self.packets.lose(at, feedback.base, feedback.count) {
            self.prober.handle_lost(&packet);
            // What a blackout took says nothing of how much fits.
            if silence.is_none() {
                self.losses.count(packet.sent, true);
            }
        }
        let Some((_, sent)) = newest else {
            self.silence = silence;
            return;
        };
        self.unanswered = None;
        self.feedback_at = Some(at);
        self.reported_loss = None;
        let round_trip = Duration::from_micros((at - sent).max(0) as u64);
        self.least_round_trip.note(at, round_trip);
        self.note_round_trip(round_trip);
        self.update(at);
        if let Some(outcome) = self.prober.handle_reported(at, self.packets.reported(), self.rate.estimate()) {
            self.handle_probed(outcome);
        }
        if let Some(silence) = silence {
            self.after_silence(at, silence);
        }
    }

    fn handle_arrival(&mut self, packet: &Packet, arrival: i64) {
        let newest = self.arrival.map_or(arrival, |newest| newest.max(arrival));
        self.arrival = Some(newest);
        self.acknowledged.add(arrival, u32::from(packet.len));
        self.losses.count(packet.sent, false);
        self.prober.handle_arrival(packet, arrival);
        if self.prober.disturbs(packet.sent) {
            self.groups.reset();
        } else if let Some(variation) = self.groups.handle(packet.sent, arrival) {
            self.trendline.handle(variation);
        }
    }

    /// The arrival that is nearest to the newest one.
    fn unwrap_arrival(&self, arrival: i64) -> i64 {
        let Some(newest) = self.arrival else { return arrival };
        let forward = (arrival - newest).rem_euclid(ARRIVAL_PERIOD_US);
        newest + if forward > ARRIVAL_PERIOD_US / 2 { forward - ARRIVAL_PERIOD_US } else { forward }
    }

    fn note_round_trip(&mut self, sample: Duration) {
        let smoothed = |known: Duration| known.mul_f64(1.0 - ROUND_TRIP_WEIGHT) + sample.mul_f64(ROUND_TRIP_WEIGHT);
        self.round_trip = Some(self.round_trip.map_or(sample, smoothed));
    }

    fn update(&mut self, at: i64) {
        let (acknowledged, sent) = (self.acknowledged.rate(), self.sent.rate());
        let observation = Observation {
            usage: if self.stands_in_queue() { Usage::Over } else { self.trendline.usage() },
            acknowledged,
            recent: self.acknowledged.recent(),
            sent,
            round_trip: self.known_round_trip(),
        };
        let before = self.rate.decreased();
        self.rate.update(at, &observation);
        if self.rate.decreased() != before {
            // Whether there is room is asked once the queue has drained, and without the patience of failures before.
            self.prober.hurry(at + CALM_US);
            self.prober.delay(at + CALM_US);
        }
        self.losses.update(at, acknowledged, sent, self.rate.estimate());
    }

    /// A queue that is full does not grow: it shows in what gets lost, and in how long everything takes.
    fn stands_in_queue(&self) -> bool {
        let (Some(round_trip), Some(least)) = (self.round_trip, self.least_round_trip.get()) else { return false };
        self.losses.loss() > LOSS_OF_FULL_QUEUE && round_trip > least + FULL_QUEUE
    }

    fn handle_probed(&mut self, outcome: Outcome) {
        let Some(proven) = outcome.proven else { return };
        let known = self.rate.estimate();
        if proven > known || proven < known.times(PROBE_REFUTES) {
            self.rate.set(proven);
        }
        self.losses.raise(proven, outcome.arrived);
    }

    /// Feedback comes again: a blackout said nothing of how much fits.
    fn after_silence(&mut self, at: i64, silence: Silence) {
        self.rate.set(silence.before);
        self.prober.hurry(at);
    }

    /// The receiver wants no more than this.
    pub fn handle_remb(&mut self, now: Instant, bitrate: Bitrate) {
        let at = self.micros(now);
        self.sent.advance(at);
        self.remb.handle(at, bitrate, self.sent.rate());
    }

    /// A block of a receiver report: the part lost in 1/256, and the round trip if it can be told.
    pub fn handle_report(&mut self, now: Instant, fraction_lost: u8, round_trip: Option<Duration>) {
        let at = self.micros(now);
        self.sent.advance(at);
        if self.hears_feedback(at) {
            return;
        }
        if let Some(round_trip) = round_trip {
            self.note_round_trip(round_trip);
        }
        let lost = f64::from(fraction_lost) / 256.0;
        self.reported_loss = Some(lost);
        self.reports.handle(at, lost, self.sent.rate(), self.wanted);
    }

    fn hears_feedback(&self, at: i64) -> bool {
        self.feedback_at.is_some_and(|last| at - last < FEEDBACK_GIVEN_UP_US)
    }
}
