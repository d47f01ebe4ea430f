//! The form in which the state of a call goes to another process: what that process goes on with, at once or after this one
//! has died.
//!
//! A record is one byte, the version, and a map of MessagePack by the names of the fields. A reader passes over fields that it
//! does not know, and takes the default for those marked so that it does not find: what is written by a newer or older release
//! stays readable as long as the version, which changes with the meaning of what is there, is the same. The ids in a record are
//! those of the process that wrote it; places in tables are not kept.
//!
//! Times are ages: microseconds before the moment of writing, negative for deadlines. Neither process knows the other's
//! [`Instant`].
//!
//! What is in it: [`switch`](crate::sfu::switch) says it for the workers, `signal::handover` of the daemon for control.
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_with::{DeserializeAs, SerializeAs};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// Why a record is of no use to this process. It ends what it is about, and nothing else.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Nothing was written.
    #[error("the record is empty")]
    Empty,
    /// Another release has written it.
    #[error("the record has version {0}, which this release does not know")]
    Version(u8),
    /// It is cut short, or of another shape than its version says.
    #[error("the record does not make sense: {0}")]
    Malformed(#[from] rmp_serde::decode::Error),
}

thread_local! {
    /// The moment that ages count from, while a record is written or read on this thread.
    static NOW: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Sets the moment for as long as it lives.
struct At(Option<Instant>);

impl At {
    fn the_moment(now: Instant) -> Self {
        Self(NOW.replace(Some(now)))
    }
}

impl Drop for At {
    fn drop(&mut self) {
        NOW.set(self.0);
    }
}

/// Appends a record. What cannot be written down is our own bug: the record is then empty.
pub fn write<T: Serialize>(out: &mut Vec<u8>, version: u8, now: Instant, value: &T) {
    append(out, version, now, |out| value.serialize(&mut rmp_serde::Serializer::new(out).with_struct_map()));
}

/// The same without the names of the fields, for what is written again and again: the version changes with every field.
pub fn write_compact<T: Serialize>(out: &mut Vec<u8>, version: u8, now: Instant, value: &T) {
    append(out, version, now, |out| value.serialize(&mut rmp_serde::Serializer::new(out)));
}

fn append<E>(out: &mut Vec<u8>, version: u8, now: Instant, serialize: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) {
    let _at = At::the_moment(now);
    let start = out.len();
    out.push(version);
    if serialize(out).is_err() {
        debug_assert!(false, "state that cannot be written down");
        out.truncate(start);
    }
}

/// Reads a record of this version.
pub fn read<T: DeserializeOwned>(bytes: &[u8], version: u8, now: Instant) -> Result<T, RecordError> {
    let _at = At::the_moment(now);
    match bytes.split_first() {
        None => Err(RecordError::Empty),
        Some((known, value)) if *known == version => Ok(rmp_serde::from_slice(value)?),
        Some((other, _)) => Err(RecordError::Version(*other)),
    }
}

/// The moment of the record that is being read on this thread.
pub(crate) fn moment() -> Instant {
    // What is read outside of a record is our own mistake, and shows at the first test.
    NOW.get().expect("a record is being read")
}

/// An [`Instant`] as its age, for `serde_with`.
pub struct Age;

impl SerializeAs<Instant> for Age {
    fn serialize_as<S: Serializer>(at: &Instant, serializer: S) -> Result<S::Ok, S::Error> {
        let now = NOW.get().ok_or_else(|| serde::ser::Error::custom("a time outside of a record"))?;
        let past = micros(now.saturating_duration_since(*at));
        let age = if past > 0 { past } else { -micros(at.saturating_duration_since(now)) };
        age.serialize(serializer)
    }
}

impl<'de> DeserializeAs<'de, Instant> for Age {
    fn deserialize_as<D: Deserializer<'de>>(deserializer: D) -> Result<Instant, D::Error> {
        let age = i64::deserialize(deserializer)?;
        let now = NOW.get().ok_or_else(|| serde::de::Error::custom("a time outside of a record"))?;
        let apart = Duration::from_micros(age.unsigned_abs());
        let at = if age >= 0 { now.checked_sub(apart) } else { now.checked_add(apart) };
        at.ok_or_else(|| serde::de::Error::custom("a time that no clock has"))
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    use super::*;
    use serde_with::serde_as;
    use std::collections::VecDeque;

    #[serde_as]
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Example {
        #[serde_as(as = "Age")]
        past: Instant,
        #[serde_as(as = "Option<Age>")]
        deadline: Option<Instant>,
        #[serde_as(as = "VecDeque<(_, Age)>")]
        list: VecDeque<(u32, Instant)>,
        #[serde(default)]
        young: u8,
    }

    fn example(now: Instant) -> Example {
        let deadline = Some(now + Duration::from_millis(1500));
        Example { past: now - Duration::from_secs(3), deadline, list: [(7, now)].into(), young: 0 }
    }

    #[test]
    fn times_are_ages_at_the_moment_of_reading() {
        let (then, now) = (Instant::now(), Instant::now() + Duration::from_secs(100));
        let mut bytes = Vec::new();
        write(&mut bytes, 3, then, &example(then));
        assert_eq!(read::<Example>(&bytes, 3, now).expect("readable"), example(now));
    }

    #[test]
    fn fields_come_and_go_within_a_version_and_another_version_is_refused() {
        #[serde_as]
        #[derive(Serialize)]
        struct Other {
            #[serde_as(as = "Age")]
            past: Instant,
            deadline: Option<u8>,
            list: Vec<u8>,
            newer: &'static str,
        }
        let now = Instant::now();
        let other = Other { past: now, deadline: None, list: Vec::new(), newer: "unknown" };
        let mut bytes = Vec::new();
        write(&mut bytes, 3, now, &other);
        let read_back = read::<Example>(&bytes, 3, now).expect("readable");
        assert_eq!(read_back, Example { past: now, deadline: None, list: VecDeque::new(), young: 0 });
        assert!(matches!(read::<Example>(&bytes, 4, now), Err(RecordError::Version(3))));
        assert!(matches!(read::<Example>(&[], 4, now), Err(RecordError::Empty)));
    }

    #[test]
    fn a_record_that_was_cut_or_changed_is_an_error_and_no_panic() {
        let now = Instant::now();
        let mut bytes = Vec::new();
        write(&mut bytes, 3, now, &example(now));
        for len in 0..bytes.len() {
            read::<Example>(&bytes[..len], 3, now).expect_err("cut");
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let _ = read::<Example>(&changed, 3, now);
            }
        }
    }
}
