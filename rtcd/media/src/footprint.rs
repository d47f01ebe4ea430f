//! How much memory things hold, for whoever wants to know what a session costs: counted by kind, never listed one by one.
use bytes::Bytes;
use slab::Slab;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::mem::{size_of, size_of_val};

/// What knows how much it holds beside itself. Capacities count, not lengths: it is memory that is asked for.
pub trait Footprint {
    /// Octets on the heap that this alone holds; what it shares with others is somebody else's.
    fn heap_bytes(&self) -> usize;

    /// The same with the value itself.
    fn total_bytes(&self) -> usize {
        size_of_val(self) + self.heap_bytes()
    }
}

impl Footprint for String {
    fn heap_bytes(&self) -> usize {
        self.capacity()
    }
}

impl Footprint for Box<str> {
    fn heap_bytes(&self) -> usize {
        self.len()
    }
}

/// As far as it is not a part of another one.
impl Footprint for Bytes {
    fn heap_bytes(&self) -> usize {
        self.len()
    }
}

impl<T: Footprint> Footprint for Option<T> {
    fn heap_bytes(&self) -> usize {
        self.as_ref().map_or(0, T::heap_bytes)
    }
}

impl<T: Footprint> Footprint for Box<T> {
    fn heap_bytes(&self) -> usize {
        T::total_bytes(self)
    }
}

impl<T: Footprint> Footprint for Vec<T> {
    fn heap_bytes(&self) -> usize {
        flat(self) + self.iter().map(T::heap_bytes).sum::<usize>()
    }
}

impl<T: Footprint> Footprint for VecDeque<T> {
    fn heap_bytes(&self) -> usize {
        flat_queue(self) + self.iter().map(T::heap_bytes).sum::<usize>()
    }
}

/// A list of what holds nothing beside itself.
pub fn flat<T>(list: &Vec<T>) -> usize {
    list.capacity() * size_of::<T>()
}

/// The same for a queue.
pub fn flat_queue<T>(queue: &VecDeque<T>) -> usize {
    queue.capacity() * size_of::<T>()
}

/// The same for a slab: it has a word beside each.
pub fn flat_slab<T>(slab: &Slab<T>) -> usize {
    slab.capacity() * size_of::<Option<(usize, T)>>().min(size_of::<T>() + size_of::<usize>())
}

/// The same for a table: seven eighths of a power of two of places are used, each with an octet beside it.
pub fn flat_table<K: Eq + Hash, V, S>(table: &HashMap<K, V, S>) -> usize {
    match table.capacity() {
        0 => 0,
        capacity => (capacity * 8 / 7).next_power_of_two() * (size_of::<(K, V)>() + 1),
    }
}

/// What a kind of thing is there for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Per {
    /// Each session has its own.
    Session,
    /// Each track has one, whoever receives it.
    Track,
    /// It is there whether or not there are sessions.
    Process,
}

/// All things of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// Which.
    pub kind: &'static str,
    /// What for.
    pub per: Per,
    /// How many there are.
    pub count: usize,
    /// Octets that they hold.
    pub bytes: usize,
}

/// What is held, by kind: as many entries as there are kinds, however many sessions there are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tally(Vec<Held>);

impl Tally {
    /// Adds `count` things of a kind, which hold so much together.
    pub fn add(&mut self, per: Per, kind: &'static str, count: usize, bytes: usize) {
        match self.0.iter_mut().find(|held| held.kind == kind) {
            Some(held) => (held.count, held.bytes) = (held.count + count, held.bytes + bytes),
            None => self.0.push(Held { kind, per, count, bytes }),
        }
    }

    /// Adds what somebody else has counted.
    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|held| self.add(held.per, held.kind, held.count, held.bytes));
    }

    /// By kind, in the order in which they were counted first.
    pub fn all(&self) -> &[Held] {
        &self.0
    }

    /// Octets of everything that is there for this.
    pub fn bytes(&self, per: Per) -> usize {
        self.0.iter().filter(|held| held.per == per).map(|held| held.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_what_the_allocator_is_asked_for() {
        let list = vec![String::from("four"), String::with_capacity(100)];
        assert_eq!(list.heap_bytes(), 2 * size_of::<String>() + 104);
        assert_eq!(Some(Box::new(list)).heap_bytes(), 3 * size_of::<String>() + 104);
        let mut table = HashMap::new();
        assert_eq!(flat_table(&table), 0);
        table.insert(1u64, 1u64);
        assert_eq!(flat_table(&table), 4 * 17, "four places, three of them for use");
    }

    #[test]
    fn a_tally_has_one_entry_for_each_kind() {
        let mut all = Tally::default();
        for _ in 0..3 {
            let mut one = Tally::default();
            one.add(Per::Session, "ice", 2, 10);
            one.add(Per::Track, "caches", 1, 100);
            all.merge(&one);
        }
        let ice = Held { kind: "ice", per: Per::Session, count: 6, bytes: 30 };
        assert_eq!((all.all().len(), all.all()[0]), (2, ice));
        assert_eq!((all.bytes(Per::Session), all.bytes(Per::Track), all.bytes(Per::Process)), (30, 300, 0));
    }
}
