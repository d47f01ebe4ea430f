use super::*;
use crate::seeds::for_seeds;

fn hosts() -> (SocketAddr, SocketAddr) {
    (([10, 0, 0, 1], 1000).into(), ([10, 0, 0, 2], 2000).into())
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Sends `count` datagrams of 100 octets, `apart`, and gives what arrived: number and when.
fn run(seed: u64, conditions: Conditions, count: u32, apart: Duration) -> (Vec<(u32, Duration)>, Counts) {
    let start = Instant::now();
    let (from, to) = hosts();
    let mut network = Network::new(seed);
    network.set(start, from, to, conditions);
    for number in 0..count {
        let mut bytes = vec![0; 100];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        network.send(start + apart * number, from, to, bytes);
    }
    let mut arrived = Vec::new();
    while let Some(at) = network.next_timeout() {
        while let Some((when, datagram)) = network.poll(at) {
            assert_eq!((when, datagram.from, datagram.to), (at, from, to), "nothing is handed out late");
            let number = u32::from_be_bytes(datagram.bytes[..4].try_into().expect("four octets"));
            arrived.push((number, when - start));
        }
    }
    (arrived, network.counts)
}

#[test]
fn the_same_seed_gives_the_same_network() {
    let conditions = Conditions { loss: 0.1, jitter: ms(20), reorder: 0.1, duplicate: 0.1, ..Conditions::default() };
    assert_eq!(run(7, conditions, 1000, ms(2)), run(7, conditions, 1000, ms(2)));
    assert_ne!(run(7, conditions, 1000, ms(2)), run(8, conditions, 1000, ms(2)));
}

#[test]
fn a_rate_spaces_datagrams_and_a_full_queue_drops_the_newest() {
    // 128 octets with headers at 102,400 bit/s take 10 ms each.
    let conditions = Conditions { rate: Some(102_400), queue: ms(50), delay: ms(5), ..Conditions::default() };
    let (arrived, counts) = run(0, conditions, 20, Duration::ZERO);
    let expected: Vec<_> = (0..6).map(|at| (at, ms(15 + 10 * u64::from(at)))).collect();
    assert_eq!((arrived, counts.queue_full), (expected, 14));
}

#[test]
fn a_change_of_rate_holds_for_what_waits() {
    let start = Instant::now();
    let (from, to) = hosts();
    let mut network = Network::new(0);
    let slow = Conditions { rate: Some(102_400), ..Conditions::default() };
    network.set(start, from, to, slow);
    network.set(start + ms(15), from, to, Conditions { rate: Some(1_024_000), ..slow });
    (0..4).for_each(|_| network.send(start, from, to, vec![0; 100]));
    let mut arrived = Vec::new();
    while let Some(at) = network.next_timeout() {
        arrived.extend(std::iter::from_fn(|| network.poll(at)).map(|(at, _)| at - start));
    }
    assert_eq!(arrived, [ms(10), ms(20), ms(21), ms(22)], "what has begun to leave is not hurried");
}

#[test]
fn loss_reordering_and_duplicates_come_as_often_as_asked_for() {
    for_seeds(5, |seed| {
        let conditions = Conditions { loss: 0.2, reorder: 0.1, duplicate: 0.05, ..Conditions::default() };
        let (arrived, counts) = run(seed, conditions, 10_000, ms(2));
        assert!((1800..2200).contains(&counts.lost), "{counts:?}");
        assert!((300..500).contains(&counts.duplicated), "{counts:?}");
        let back = arrived.windows(2).filter(|pair| pair[1].0 < pair[0].0).count();
        assert!((500..1000).contains(&back), "{back} steps back");
    });
}

#[test]
fn jitter_alone_keeps_the_order() {
    let (arrived, _) = run(3, Conditions { jitter: ms(50), ..Conditions::default() }, 1000, ms(1));
    assert!(arrived.is_sorted_by_key(|(number, _)| *number));
    assert!(arrived.iter().any(|(number, at)| *at > ms(u64::from(*number) + 30)));
}

#[test]
fn losses_in_bursts_come_in_bursts() {
    for_seeds(5, |seed| {
        let burst = Some(Burst { begin: 0.01, end: 0.1, loss: 1.0 });
        let (arrived, counts) = run(seed, Conditions { burst, ..Conditions::default() }, 20_000, ms(1));
        let part = counts.lost as f64 / 20_000.0;
        assert!((0.06..0.12).contains(&part), "0.01 / (0.01 + 0.1) of the time is bad: {part}");
        let gaps: Vec<_> = arrived.windows(2).map(|pair| pair[1].0 - pair[0].0 - 1).filter(|gap| *gap > 0).collect();
        let mean = f64::from(gaps.iter().sum::<u32>()) / gaps.len() as f64;
        assert!((8.0..12.0).contains(&mean), "ten in a row: {mean}");
    });
}

#[test]
fn a_rebinding_changes_the_source_and_the_old_address_leads_nowhere() {
    let start = Instant::now();
    let (host, server) = hosts();
    let public = |port| SocketAddr::from(([192, 0, 2, 1], port));
    let mut network = Network::new(0);
    network.rebind(start, host, public(1));
    network.rebind(start + ms(10), host, public(2));
    network.send(start, host, server, b"one".to_vec());
    network.send(start, server, public(1), b"two".to_vec());
    network.send(start + ms(10), host, server, b"three".to_vec());
    network.send(start + ms(10), server, public(1), b"lost".to_vec());
    network.send(start + ms(10), server, public(2), b"four".to_vec());
    let arrived: Vec<_> = std::iter::from_fn(|| network.poll(start + ms(10))).map(|(_, it)| it).collect();
    let is = |from, to, bytes: &[u8]| Datagram { from, to, bytes: bytes.to_vec() };
    let expected = [
        is(public(1), server, b"one"),
        is(server, host, b"two"),
        is(public(2), server, b"three"),
        is(server, host, b"four"),
    ];
    assert_eq!(arrived, expected);
    assert_eq!(network.counts.unreachable, 1);
}

#[test]
fn nothing_passes_in_a_blackout_and_nothing_longer_than_the_mtu() {
    let start = Instant::now();
    let (from, to) = hosts();
    let mut network = Network::new(0);
    network.set(start + ms(10), from, to, Conditions { blackout: true, ..Conditions::default() });
    network.set(start + ms(20), from, to, Conditions { mtu: 3, ..Conditions::default() });
    for (at, bytes) in [(0, "before"), (10, "during"), (20, "long"), (20, "aft")] {
        network.send(start + ms(at), from, to, bytes.into());
    }
    let arrived: Vec<_> = std::iter::from_fn(|| network.poll(start + ms(20))).map(|(_, it)| it.bytes).collect();
    assert_eq!(arrived, [&b"before"[..], b"aft"]);
    assert_eq!((network.counts.lost, network.counts.too_long), (1, 1));
}
