//! One short burst of packets that asks whether the way takes a bit rate, and what came of it.
use super::Bitrate;
use super::sent::Packet;
use std::time::Duration;

/// How long a cluster takes, and its least octets and packets: fewer say little under jitter, more delay voice on a thin way.
const LENGTH: Duration = Duration::from_millis(50);
const MIN_OCTETS: u64 = 2400;
const MIN_SENT_PACKETS: u32 = 6;
/// Packets and part of the octets that must have arrived, else chance or congestion has spoilt it.
const MIN_PACKETS: u32 = 4;
const MIN_ARRIVED: f64 = 0.6;
/// Part of the octets whose fate must be known.
const MIN_KNOWN: f64 = 0.8;
/// Arrived this much slower than sent, it was as much as the way takes; something less leaves room for others.
const SATURATED_BELOW: f64 = 0.9;
const SATURATED: f64 = 0.9;
/// A result above what was asked for is an accident of timing.
const MAX_RESULT: f64 = 1.2;

/// What a cluster has shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// So much got through; `None` if too little came back to tell.
    pub proven: Option<Bitrate>,
    /// The part of its octets that arrived.
    pub arrived: f64,
}

/// One burst.
#[derive(Clone, Copy, Debug)]
pub struct Cluster {
    /// Its name; never 0.
    pub id: u8,
    /// What it asks for.
    pub rate: Bitrate,
    octets: u64,
    /// When it began, in microseconds of our clock, as all times but those of arrival.
    pub began: i64,
    /// When it was complete, or was given up.
    pub ended: Option<i64>,
    /// When somebody last asked what to send.
    pub polled: i64,
    /// Octets and packets that have gone out, and the number of the last one.
    pub sent: u64,
    sent_packets: u32,
    pub last_number: u64,
    /// Octets that are lost, as the receiver says.
    pub lost: u64,
    /// Of the packets that arrived: how many, how many octets, then times and lengths at either end.
    packets: u32,
    arrived: u64,
    first_sent: i64,
    last_sent: (i64, u64),
    first_arrival: (i64, u64),
    last_arrival: i64,
}

impl Cluster {
    /// One that begins now.
    pub fn new(id: u8, rate: Bitrate, now: i64) -> Self {
        Self {
            id,
            rate,
            octets: rate.octets_in(LENGTH).max(MIN_OCTETS),
            began: now,
            ended: None,
            polled: now,
            sent: 0,
            sent_packets: 0,
            last_number: 0,
            lost: 0,
            packets: 0,
            arrived: 0,
            first_sent: 0,
            last_sent: (0, 0),
            first_arrival: (0, 0),
            last_arrival: 0,
        }
    }

    /// How long it should take.
    pub fn length(&self) -> Duration {
        LENGTH.max(self.rate.time_for(MIN_OCTETS))
    }

    /// A packet of it has gone out.
    pub fn handle_sent(&mut self, number: u64, len: usize) {
        self.sent += len as u64;
        self.sent_packets += 1;
        self.last_number = number;
    }

    /// Whether all of it has gone out.
    pub fn is_sent(&self) -> bool {
        self.sent >= self.octets && self.sent_packets >= MIN_SENT_PACKETS
    }

    /// A packet of it has arrived.
    pub fn handle_arrival(&mut self, packet: &Packet, arrival: i64) {
        let len = u64::from(packet.len);
        if self.packets == 0 || packet.sent < self.first_sent {
            self.first_sent = packet.sent;
        }
        if self.packets == 0 || packet.sent >= self.last_sent.0 {
            self.last_sent = (packet.sent, len);
        }
        if self.packets == 0 || arrival < self.first_arrival.0 {
            self.first_arrival = (arrival, len);
        }
        self.last_arrival = if self.packets == 0 { arrival } else { self.last_arrival.max(arrival) };
        self.packets += 1;
        self.arrived += len;
    }

    /// Whether enough feedback has come to tell.
    pub fn is_known(&self) -> bool {
        (self.arrived + self.lost) as f64 >= self.sent as f64 * MIN_KNOWN
    }

    /// What it has shown.
    pub fn outcome(&self) -> Outcome {
        let part = self.arrived as f64 / self.sent.max(1) as f64;
        if self.packets < MIN_PACKETS || part < MIN_ARRIVED {
            return Outcome { proven: None, arrived: part };
        }
        let time = |from: i64, to: i64| Duration::from_micros((to - from).max(1) as u64);
        // What was sent last had no time to count, as what arrived first had none.
        let sent = Bitrate::of(self.arrived - self.last_sent.1, time(self.first_sent, self.last_sent.0));
        let arrived = Bitrate::of(self.arrived - self.first_arrival.1, time(self.first_arrival.0, self.last_arrival));
        let proven = if arrived < sent.times(SATURATED_BELOW) { arrived.times(SATURATED) } else { arrived.min(sent) };
        Outcome { proven: Some(proven.min(self.rate.times(MAX_RESULT))), arrived: part }
    }
}
