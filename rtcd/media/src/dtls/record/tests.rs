#![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
use super::*;
use crate::handover;
use std::time::Instant;

const SUITES: [(Suite, usize); 3] = [(Suite::Aes128Gcm, 16), (Suite::Aes256Gcm, 32), (Suite::ChaCha20Poly1305, 32)];

fn half(suite: Suite, len: usize, secret: u8) -> Half {
    let mut half = Half::new(suite, &vec![secret; len]);
    half.note(EPOCH_1, [secret; 12]);
    half
}

/// Two sides of an association whose handshakes have sealed one record each.
fn pair(suite: Suite, len: usize) -> (Records, Records) {
    let (one, two) = (half(suite, len, 1), half(suite, len, 2));
    let us = Records::new(one.clone(), two.clone()).expect("whole");
    (us, Records::new(two, one).expect("whole"))
}

fn opened(records: &mut Records, datagram: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    records.open(datagram, |Opened { plain, .. }| all.push(plain));
    all
}

#[test]
fn a_record_is_opened_once_in_whatever_order_and_only_as_it_was_sealed() {
    for (suite, len) in SUITES {
        let (mut us, mut them) = pair(suite, len);
        let sealed: Vec<_> = (0..100u8).map(|n| us.seal(APPLICATION_DATA, &[n; 50]).expect("sealed")).collect();
        for bit in [0, 8, 40, 8 * 11, 8 * 13, 8 * 30, 8 * sealed[1].len() - 1] {
            let mut forged = sealed[1].clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(!them.open(&forged, |_| panic!("{suite:?}: bit {bit} was changed")));
        }
        assert!(them.open(&sealed[98], |record| assert_eq!((record.kind, &record.plain[..2]), (23, &[98, 98][..]))));
        assert_eq!(opened(&mut them, &sealed[97]), [vec![97; 50]], "behind the newest");
        assert!(them.open(&sealed[97], |_| panic!("a replay")), "which is nobody's fault");
        assert!(opened(&mut them, &sealed[20]).is_empty(), "too old");
        let both = [&sealed[96][..], &sealed[95]].concat();
        assert_eq!(opened(&mut them, &both).len(), 2, "two records in one datagram");
        assert!(opened(&mut us, &sealed[99]).is_empty(), "our own come back");
    }
}

#[test]
fn a_datagram_of_rubbish_opens_nothing_and_harms_nothing() {
    let (mut us, mut them) = pair(Suite::Aes128Gcm, 16);
    let sealed = us.seal(APPLICATION_DATA, b"hello").expect("sealed");
    for len in 0..sealed.len() {
        assert!(opened(&mut them, &sealed[..len]).is_empty());
    }
    for len in 0..80u8 {
        let rubbish = vec![0xff; usize::from(len)];
        assert!(opened(&mut them, &rubbish).is_empty());
        let header = [23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 9, 0, len];
        assert!(opened(&mut them, &[&header[..], &rubbish].concat()).is_empty());
    }
    let mut later = sealed.clone();
    later[4] = 2;
    assert!(opened(&mut them, &later).is_empty(), "another epoch");
    assert_eq!(opened(&mut them, &sealed), [b"hello"]);
}

#[test]
fn another_process_goes_on_where_this_one_was() {
    for (suite, len) in SUITES {
        let now = Instant::now();
        let (mut us, mut them) = pair(suite, len);
        let before = us.seal(APPLICATION_DATA, b"before").expect("sealed");
        let mut bytes = Vec::new();
        handover::write(&mut bytes, 1, now, &us);
        let mut exact: Records = handover::read(&bytes, 1, now).expect("readable");
        assert_eq!(opened(&mut them, &before), [b"before"]);
        let next = exact.seal(APPLICATION_DATA, b"next").expect("sealed");
        assert_eq!(opened(&mut them, &next), [b"next"]);
        let answer = them.seal(APPLICATION_DATA, b"answer").expect("sealed");
        assert_eq!(opened(&mut exact, &answer), [b"answer"]);
        assert!(opened(&mut exact, &answer).is_empty(), "a replay");
    }
}

#[test]
fn numbers_that_are_used_up_and_keys_of_another_length_are_errors() {
    let (mut us, _) = pair(Suite::Aes128Gcm, 16);
    us.halves.write.commit(EPOCH_1 - 2);
    assert!(us.seal(APPLICATION_DATA, b"the last").is_some());
    assert!(us.seal(APPLICATION_DATA, b"one more").is_none());
    let (whole, short) = (half(Suite::Aes256Gcm, 32, 1), half(Suite::Aes256Gcm, 16, 2));
    assert!(Records::new(whole.clone(), short).is_err());
    let silent = Half::new(Suite::Aes256Gcm, &[3; 32]);
    assert!(Records::new(whole, silent).is_err(), "its implicit nonce is not known");
}
