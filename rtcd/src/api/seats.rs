//! Who has WebSockets open. When all seats are taken, the oldest of the client that has most of them makes room: no client
//! keeps another one out.
use crate::ids::ClientId;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Places for WebSockets, shared among clients.
#[derive(Debug)]
pub struct Seats {
    max: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// Of each client the oldest first.
    taken: HashMap<ClientId, VecDeque<(u64, Arc<Notify>)>>,
    count: usize,
    next: u64,
}

/// One seat, for as long as the WebSocket lives.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    client: ClientId,
    id: u64,
    given_away: Arc<Notify>,
}

impl Seats {
    /// Room for at most `max` WebSockets of all clients.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, table: Mutex::default() })
    }

    /// A seat for a client; somebody else may have to give it up.
    pub fn take(self: &Arc<Self>, client: &ClientId) -> Seat {
        let mut table = self.table();
        if table.count >= self.max {
            table.give_one_away();
        }
        let (id, given_away) = (table.next, Arc::new(Notify::new()));
        table.next += 1;
        table.count += 1;
        table.taken.entry(client.clone()).or_default().push_back((id, given_away.clone()));
        Seat { seats: self.clone(), client: client.clone(), id, given_away }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn give_one_away(&mut self) {
        // Of equals the one with the oldest.
        let key = |seats: &VecDeque<(u64, Arc<Notify>)>| {
            (seats.len(), std::cmp::Reverse(seats.front().map_or(u64::MAX, |(id, _)| *id)))
        };
        let heaviest = self.taken.iter().max_by_key(|(_, seats)| key(seats)).map(|(client, _)| client.clone());
        let Some((id, given_away)) = heaviest.as_ref().and_then(|client| self.taken.get(client)?.front().cloned())
        else {
            return;
        };
        heaviest.iter().for_each(|client| self.remove(client, id));
        given_away.notify_one();
    }

    fn remove(&mut self, client: &ClientId, id: u64) {
        let Some(seats) = self.taken.get_mut(client) else { return };
        let before = seats.len();
        seats.retain(|(known, _)| *known != id);
        self.count -= before - seats.len();
        if seats.is_empty() {
            self.taken.remove(client);
        }
    }
}

impl Seat {
    /// Waits until somebody else has it.
    pub async fn given_away(&self) {
        self.given_away.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.table().remove(&self.client, self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn the_client_that_has_most_makes_room_whoever_comes() {
        let seats = Seats::new(4);
        let (quiet, loud, newcomer) = ("quiet".into(), "loud".into(), "newcomer".into());
        let first = seats.take(&quiet);
        let many: Vec<_> = (0..3).map(|_| seats.take(&loud)).collect();
        let _seat = seats.take(&newcomer);
        let gone = |seat: &Seat| seat.given_away().now_or_never().is_some();
        assert!(gone(&many[0]) && !gone(&many[1]) && !gone(&first));
        let _more = seats.take(&loud);
        assert!(gone(&many[1]) && !gone(&first), "it only moves its own");
        drop(many);
        assert_eq!(seats.table().count, 3);
        drop((first, _seat, _more));
        assert!(seats.table().taken.is_empty() && seats.table().count == 0);
    }
}
