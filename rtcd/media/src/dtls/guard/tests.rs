#![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
use super::*;
use std::time::Duration;

fn record(kind: u8, epoch: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, 0xfe, 0xfd];
    bytes.extend(epoch.to_be_bytes());
    bytes.extend([0; 6]);
    bytes.extend((body.len() as u16).to_be_bytes());
    bytes.extend(body);
    bytes
}

fn fragment(len: u32, offset: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![1];
    bytes.extend(&len.to_be_bytes()[1..]);
    bytes.extend([0, 0]);
    bytes.extend(&offset.to_be_bytes()[1..]);
    bytes.extend(&(data.len() as u32).to_be_bytes()[1..]);
    bytes.extend(data);
    bytes
}

fn hello(len: u32, offset: u32, data: &[u8]) -> Vec<u8> {
    record(HANDSHAKE, 0, &fragment(len, offset, data))
}

fn guard() -> (DtlsGuard, Instant) {
    let now = Instant::now();
    (DtlsGuard::new(Role::Server, now), now)
}

fn passes(verdict: &Verdict<'_>) -> bool {
    matches!(verdict, Verdict::Pass { whole: true, .. })
}

#[test]
fn a_flood_of_one_byte_fragments_runs_into_the_budget() {
    let (mut guard, now) = guard();
    let admitted = (0..1000).filter(|at| passes(&guard.admit(now, &hello(16_000, *at, &[1])))).count();
    assert_eq!(admitted, HANDSHAKE_RECORDS as usize);
    assert_eq!(guard.admit(now, &hello(16_000, 0, &[1])), Verdict::OverBudget);
}

#[test]
fn what_makes_no_sense_costs_no_budget() {
    let (mut guard, now) = guard();
    for _ in 0..10_000 {
        assert_eq!(guard.admit(now, &[22; 40]), Verdict::Refused);
        assert_eq!(guard.admit(now, &record(HANDSHAKE, 0, &[0; 30])), Verdict::Refused, "no HelloRequest to a server");
        assert_eq!(guard.admit(now, &record(APPLICATION_DATA, 0, b"plain")), Verdict::Refused);
        assert_eq!(guard.admit(now, &record(APPLICATION_DATA, 1, b"early")), Verdict::Refused);
        assert_eq!(guard.admit(now, &record(ALERT, 0, &[2])), Verdict::Refused, "half an alert");
        assert_eq!(guard.admit(now, &record(CHANGE_CIPHER_SPEC, 0, &[1, 1])), Verdict::Refused);
        assert_eq!(guard.admit(now, &record(HANDSHAKE, 7, &[1; 40])), Verdict::Refused, "there is no such epoch");
    }
    assert!(passes(&guard.admit(now, &hello(10, 0, &[0; 10]))));
}

#[test]
fn a_fragment_that_lies_about_its_place_is_refused() {
    let (mut guard, now) = guard();
    assert!(passes(&guard.admit(now, &hello(10, 4, &[0; 6]))));
    assert_eq!(guard.admit(now, &hello(10, 5, &[0; 6])), Verdict::Refused, "past the message");
    assert_eq!(guard.admit(now, &hello(0xff_ffff, 0, &[0; 6])), Verdict::Refused, "too long a message");
    assert_eq!(guard.admit(now, &hello(10, 0, &[])), Verdict::Refused, "an empty piece");
    assert_eq!(guard.admit(now, &hello(10, 0, &[0; 6])[..14]), Verdict::Refused, "past the record");
}

#[test]
fn rubbish_behind_a_record_does_not_take_it_along() {
    let (mut guard, now) = guard();
    let good = hello(10, 0, &[0; 10]);
    let records = Cow::from(&good);
    assert_eq!(guard.admit(now, &[&good[..], &[1, 2, 3]].concat()), Verdict::Pass { records, whole: false });
    let datagram = [record(APPLICATION_DATA, 0, b"x"), good.clone(), record(99, 0, b"y"), good.clone()].concat();
    let records = Cow::from([&good[..], &good].concat());
    assert_eq!(guard.admit(now, &datagram), Verdict::Pass { records, whole: false });
}

#[test]
fn an_established_association_looks_at_few_plaintext_records() {
    let (mut guard, now) = guard();
    guard.establish();
    let late = hello(1, 0, &[1]);
    assert_eq!((0..100).filter(|_| passes(&guard.admit(now, &late))).count(), LATE_RECORDS as usize);
    assert!(passes(&guard.admit(now, &record(APPLICATION_DATA, 1, &[0; 40]))), "encrypted records pass");
    let later = now + Duration::from_secs(1);
    let again = (0..100).filter(|_| passes(&guard.admit(later, &late))).count();
    assert_eq!(again, LATE_RECORDS_PER_SECOND as usize, "whoever repeats it is heard again");
}

#[test]
fn a_flight_that_is_sent_again_passes_with_its_change_cipher_spec() {
    let (mut guard, now) = guard();
    guard.establish();
    let flight = [hello(1, 0, &[1]), record(CHANGE_CIPHER_SPEC, 0, &[1]), record(HANDSHAKE, 1, &[0; 40])].concat();
    assert!(passes(&guard.admit(now, &flight)));
    // An alert in the clear is anybody's: what came with it counts all the same.
    let sealed = record(APPLICATION_DATA, 1, &[0; 40]);
    let datagram = [record(ALERT, 0, &[2, 40]), sealed.clone()].concat();
    assert_eq!(guard.admit(now, &datagram), Verdict::Pass { records: Cow::from(sealed.clone()), whole: false });
}
