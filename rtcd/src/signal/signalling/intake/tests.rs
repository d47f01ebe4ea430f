use super::*;

fn offer(len: usize) -> Work {
    Work::Describe { channel: SignalingChannel::DataChannel, bytes: vec![0; len] }
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

const ANN: TransportId = TransportId(1);
const NEWCOMER: TransportId = TransportId(999);

#[test]
fn messages_of_a_session_keep_their_order() {
    let now = Instant::now();
    let mut intake = Intake::new(2);
    assert_eq!(intake.admit(now, ANN, None, offer(9)), Admission::Waits);
    assert_eq!(intake.admit(now, ANN, None, Work::Channel(PeerMessage::Unlock)), Admission::Waits);
    assert_eq!(intake.next(now).map(|next| next.work), Some(offer(9)));
    assert!(intake.next(now).is_none(), "the unlock waits for the offer");
    assert!(intake.describes(ANN));
    intake.finished(ANN);
    assert_eq!(intake.next(now).map(|next| next.work), Some(Work::Channel(PeerMessage::Unlock)));
    let lock = Work::Channel(PeerMessage::Lock);
    assert_eq!(intake.admit(now, ANN, None, lock), Admission::Now(Work::Channel(PeerMessage::Lock)));
}

#[test]
fn who_has_used_little_comes_before_who_has_used_much_however_late_it_asks() {
    let now = Instant::now();
    let mut intake = Intake::new(1);
    for id in 0..8 {
        intake.charge(now, TransportId(id), None, millis(100 + id));
        for _ in 0..10 {
            intake.admit(now, TransportId(id), None, offer(9));
        }
    }
    intake.admit(now + millis(1), NEWCOMER, None, offer(9));
    let order: Vec<_> = (0..3)
        .filter_map(|_| {
            let next = intake.next(now + millis(2))?;
            assert!(intake.next(now + millis(2)).is_none(), "one at a time");
            intake.finished(next.id);
            intake.charge(now, next.id, None, millis(50));
            Some(next.id)
        })
        .collect();
    assert_eq!(order, [NEWCOMER, TransportId(0), TransportId(1)]);
}

#[test]
fn a_connection_with_many_busy_sessions_does_not_hold_up_another_one() {
    let now = Instant::now();
    let mut intake = Intake::new(1);
    let (flood, quiet): (ConnId, ConnId) = ("flood".into(), "quiet".into());
    [&flood, &quiet].into_iter().for_each(|conn| intake.connect(now, conn.clone()));
    for id in 0..900 {
        intake.admit(now, TransportId(id), Some(&flood), offer(9));
    }
    intake.admit(now, NEWCOMER, Some(&quiet), offer(9));
    let first = intake.next(now).expect("there is work");
    intake.finished(first.id);
    intake.charge(now, first.id, Some(&flood), millis(40));
    assert_eq!(intake.next(now).map(|next| next.id), Some(NEWCOMER));
}

#[test]
fn what_waits_is_bounded_and_a_newcomer_is_still_taken() {
    let now = Instant::now();
    let mut intake = Intake::new(1);
    let mut admit = |id, len| intake.admit(now, TransportId(id), None, offer(len));
    assert_eq!(admit(1, 1024 * 1024), Admission::Waits);
    assert_eq!(admit(1, 1024 * 1024), Admission::Waits);
    assert_eq!(admit(1, 1024 * 1024), Admission::Refused(Excess::Session));
    assert_eq!((0..100).filter(|_| admit(2, 9) == Admission::Waits).count(), MAX_WAITING);
    let taken = (3..100).filter(|id| admit(*id, 1024 * 1024) == Admission::Waits).count();
    assert_eq!(taken, 29, "32 MiB in all");
    assert_eq!(admit(200, 1024 * 1024), Admission::Refused(Excess::All));
    assert_eq!(admit(201, 2048), Admission::Waits);
    for id in 0..300 {
        intake.forget(TransportId(id));
    }
    assert_eq!(intake.bytes, 0);
}

#[test]
fn a_session_beyond_its_share_waits_and_is_said_when() {
    let now = Instant::now();
    let mut intake = Intake::new(1);
    intake.charge(now, ANN, None, SESSION_BURST + millis(50));
    assert_eq!(intake.admit(now, ANN, None, Work::Channel(PeerMessage::Lock)), Admission::Waits);
    assert!(intake.next(now).is_none());
    let due = intake.next_timeout(now).expect("it waits");
    assert!(due <= now + millis(510) && intake.next(due).is_some());
    assert_eq!(intake.next_timeout(due), None);
}

#[test]
fn nothing_is_kept_of_a_connection_that_has_ended() {
    let now = Instant::now();
    let mut intake = Intake::new(1);
    let conn = ConnId::from("conn");
    intake.connect(now, conn.clone());
    intake.forget_connection(&conn);
    intake.charge(now, ANN, Some(&conn), millis(1));
    assert!(intake.connections.is_empty());
}
