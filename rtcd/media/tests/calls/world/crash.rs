//! What switches have written down while they worked, and those that go on with it when all have died.
use super::World;
use super::wire::Wire;
use crate::MS;
use rtcd_media::sfu::command::{Command, Outgoing, TransportId};
use rtcd_media::sfu::switch::{Change, KeptPeer, Switch, SwitchRecord, SwitchStart, read_numbers};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How often numbers are written down, as the daemon does.
pub(super) const KEEP: Duration = Duration::from_millis(500);

/// What one switch has written down.
#[derive(Default)]
pub(super) struct Memory {
    records: HashMap<usize, (Instant, Vec<u8>)>,
    numbers: Option<(Instant, Vec<u8>)>,
}

impl Memory {
    /// Writes down everything that has changed.
    pub(super) fn keep(&mut self, now: Instant, switch: &mut Switch) {
        switch.look_for_changes(now);
        let mut record = Vec::new();
        while let Some(change) = switch.next_change(now, &mut record) {
            match change {
                Change::Written(place) => drop(self.records.insert(place, (now, std::mem::take(&mut record)))),
                Change::Gone(place) => drop(self.records.remove(&place)),
            }
        }
        self.keep_numbers(now, switch);
    }

    pub(super) fn keep_numbers(&mut self, now: Instant, switch: &mut Switch) {
        let mut numbers = Vec::new();
        switch.write_numbers(now, &mut numbers);
        self.numbers = Some((now, numbers));
        switch.reserve();
    }

    fn read(self) -> SwitchRecord {
        let mut record = SwitchRecord::default();
        let Some((then, numbers)) = self.numbers else { return record };
        let mut numbers = read_numbers(&numbers, then).expect("readable");
        for (then, bytes) in self.records.into_values() {
            let mut kept = KeptPeer::read(&bytes, then).expect("readable");
            if kept.peer.take_numbers(&mut numbers) {
                record.peers.push(kept.peer);
                record.registrations.extend(kept.registrations);
            }
        }
        record
    }
}

impl World {
    /// Everything that the switches had is gone, but for what they have written down; others go on after `pause`, in which
    /// nobody listens.
    pub fn crash(&mut self, pause: Duration) {
        // What was sent before is on its way.
        for (_, wire) in &mut self.switches {
            *wire = Wire::default();
        }
        self.connections.clear();
        self.now += pause;
        let mut records: Vec<SwitchRecord> = std::mem::take(&mut self.memories).into_iter().map(Memory::read).collect();
        let all: Vec<_> = records.iter().flat_map(|record| record.registrations.clone()).collect();
        records.iter_mut().for_each(|record| record.registrations.clone_from(&all));
        let alive: Vec<TransportId> = records.iter().flat_map(SwitchRecord::transports).collect();
        self.start_switches(self.now, records, true);
        self.tell_again(&alive);
    }

    /// Signalling says again what it knows.
    fn tell_again(&mut self, alive: &[TransportId]) {
        for id in alive {
            self.announce(*id);
            let sent: Vec<Outgoing> = self.sent.iter().filter(|sent| sent.transport == *id).cloned().collect();
            let ssrcs = sent.iter().map(|sent| sent.ssrc).collect();
            self.command(*id, Command::RetainOutgoing { transport: *id, ssrcs });
            sent.into_iter().for_each(|sent| self.command(*id, Command::AddOutgoing(Box::new(sent))));
        }
        self.settle();
    }

    /// A worker goes on from what it has written down, as its switch is not to be trusted any more.
    pub fn begin_again(&mut self, worker: usize) {
        let record = std::mem::take(&mut self.memories[worker]).read();
        let (switch, wire) = &mut self.switches[worker];
        let alive: Vec<TransportId> = record.transports().collect();
        switch.begin_again(self.now, SwitchStart::of(record.peers));
        self.memories[worker].keep(self.now, switch);
        switch.resume_peers(self.now);
        switch.ask_for_pictures(self.now, wire);
        self.tell_again(&alive);
    }

    /// Goes on, and writes down what is due.
    pub(super) fn keep_what_is_due(&mut self) {
        self.memories.resize_with(self.switches.len(), Memory::default);
        let is_due = self.now >= self.keep_at;
        for ((switch, _), memory) in self.switches.iter_mut().zip(&mut self.memories) {
            if is_due {
                memory.keep(self.now, switch);
            } else if switch.is_held() {
                memory.keep_numbers(self.now, switch);
            }
        }
        if is_due {
            self.keep_at = self.now + KEEP;
        }
    }

    /// For whoever wants to crash at the worst moment: just before the next writing.
    pub fn until_keep(&self) -> Duration {
        self.keep_at.saturating_duration_since(self.now).saturating_sub(Duration::from_millis(2)).max(MS)
    }
}
