//! What workers have written down before their process died, or their thread.
use super::keep::{BOUND, BOUND_VERSION, Bound, NUMBERS, PEERS};
use super::torn::Torn;
use crate::handover::cells::{Cell, Remains};
use crate::handover::monotonic;
use rtcd_media::handover;
use rtcd_media::sfu::switch::{KeptPeer, read_numbers};
use std::collections::HashMap;
use std::time::Instant;

/// When a cell was written, by the clock of this process.
pub fn moment(cell: &Cell) -> Instant {
    let now = Instant::now();
    now.checked_sub(monotonic().saturating_sub(cell.written)).unwrap_or(now)
}

/// The peers that go on. One whose numbers were not written down does not: nobody knows what its keys were used with.
pub fn peers(remains: &Remains) -> Vec<KeptPeer> {
    let Some(cell) = remains.read(NUMBERS) else { return Vec::new() };
    let mut numbers = read_numbers(&cell.bytes, moment(&cell)).unwrap_or_else(|error| {
        tracing::error!(%error, "how far the calls were cannot be read: they end");
        HashMap::new()
    });
    let cells = (PEERS..remains.count()).filter_map(|cell| remains.read(cell));
    let read = cells.filter_map(|cell| {
        KeptPeer::read(&cell.bytes, moment(&cell))
            .inspect_err(|error| tracing::error!(%error, "what was written down of a session cannot be read: it ends"))
            .ok()
    });
    read.filter_map(|mut kept| kept.peer.take_numbers(&mut numbers).then_some(kept)).collect()
}

/// What the worker was reached by; `None`: nothing yet.
pub fn bound(remains: &Remains) -> Option<Bound> {
    let cell = remains.read(BOUND)?;
    handover::read(&cell.bytes, BOUND_VERSION, moment(&cell)).ok()
}

/// Frames that may be torn on its connections.
pub fn torn(remains: &Remains) -> impl Iterator<Item = Torn> {
    remains.marks().into_iter().map(Torn::of_mark)
}
