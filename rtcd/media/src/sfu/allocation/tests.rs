#![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
use super::Grant::{Full, Paused, Thin};
use super::*;

const VOICE: Bitrate = Bitrate::kbit(40);
const L: Layer = Layer(0);
const H: Layer = Layer(1);

fn demand(track: u64, kind: Kind) -> Demand {
    let layers = [Some(Bitrate::kbit(500)), Some(Bitrate::kbit(2500)), None];
    Demand { track, kind, layers, awaits_keyframe: false }
}

fn screen() -> Demand {
    demand(1, Kind::Screen)
}

/// A receiver and its clock.
struct Receiver {
    now: Instant,
    allocation: Allocation,
    demands: Vec<Demand>,
    switches: usize,
    last: Vec<Grant>,
}

impl Receiver {
    fn new(demands: &[Demand]) -> Self {
        let (now, allocation) = (Instant::now(), Allocation::default());
        Self { now, allocation, demands: demands.to_vec(), switches: 0, last: Vec::new() }
    }

    /// The estimate is this for a tenth of a second.
    fn at(&mut self, kbit: u64) -> Vec<Grant> {
        let mut grants = Vec::new();
        self.allocation.update(self.now, Bitrate::kbit(kbit), VOICE, &self.demands, &mut grants);
        let layers = |grants: &[Grant]| grants.iter().map(|grant| grant.layer()).collect::<Vec<_>>();
        self.switches += usize::from(!self.last.is_empty() && layers(&self.last) != layers(&grants));
        self.last.clone_from(&grants);
        self.now += Duration::from_millis(100);
        grants
    }

    fn during(&mut self, seconds: u64, kbit: u64) -> Vec<Grant> {
        (1..10 * seconds).for_each(|_| drop(self.at(kbit)));
        self.at(kbit)
    }
}

#[test]
fn a_new_track_starts_as_high_as_fits() {
    assert_eq!(Receiver::new(&[screen()]).at(300), [Thin(L, Bitrate::kbit(260))]);
    assert_eq!(Receiver::new(&[screen()]).at(500), [Full(L)]);
    assert_eq!(Receiver::new(&[screen()]).at(2280), [Full(L)], "0.9 of 2.5 Mbit/s and voice");
    assert_eq!(Receiver::new(&[screen()]).at(2290), [Full(H)]);
}

#[test]
fn lowest_layers_of_all_come_first_and_screens_before_cameras() {
    let mut demands: Vec<_> = (10..15).map(|track| demand(track, Kind::Camera)).collect();
    demands.push(screen());
    let mut receiver = Receiver::new(&demands);
    let grants = receiver.at(1700);
    assert_eq!(grants[..3], [Full(L), Full(L), Thin(L, Bitrate::kbit(160))]);
    assert_eq!(grants[3..], [Paused, Paused, Full(L)]);
    assert_eq!(receiver.allocation.wanted(), Bitrate::kbit(6 * 2500 + 40));
    let grants = Receiver::new(&demands).at(4600);
    assert_eq!(grants, [Full(L), Full(L), Full(L), Full(L), Full(L), Full(H)]);
}

#[test]
fn below_a_few_pictures_there_are_none_and_voice_has_what_there_is() {
    assert_eq!(Receiver::new(&[screen()]).at(60), [Paused]);
    assert_eq!(Receiver::new(&[screen()]).at(30), [Paused]);
    assert_eq!(Receiver::new(&[screen()]).at(150), [Thin(L, Bitrate::kbit(110))]);
}

#[test]
fn what_does_not_fit_is_left_at_once_and_a_dip_is_not_noticed() {
    let mut receiver = Receiver::new(&[screen()]);
    receiver.during(20, 3000);
    assert_eq!(receiver.during(2, 2100), [Full(H)], "a dip");
    assert_eq!(receiver.at(3000), [Full(H)]);
    assert_eq!(receiver.at(1500), [Full(L)]);
    let mut receiver = Receiver::new(&[screen()]);
    receiver.during(20, 3000);
    assert_eq!(receiver.during(4, 2100), [Full(L)], "it has not fitted for three seconds");
}

#[test]
fn failures_make_rises_rarer_and_peace_makes_them_frequent_again() {
    let mut receiver = Receiver::new(&[screen()]);
    receiver.at(3000);
    receiver.at(1000);
    let mut waits = Vec::new();
    for _ in 0..5 {
        let begin = receiver.now;
        while receiver.at(3000) != [Full(H)] {}
        waits.push((receiver.now - begin).as_secs());
        receiver.during(2, 3000);
        receiver.at(1000);
    }
    assert_eq!(waits, [5, 7, 11, 16, 25]);
    for _ in 0..5 {
        receiver.during(100, 3000);
        receiver.at(1000);
    }
    let begin = receiver.now;
    while receiver.at(3000) != [Full(H)] {}
    assert_eq!((receiver.now - begin).as_secs(), 5);
}

#[test]
fn a_square_wave_switches_at_its_edges_only() {
    let mut receiver = Receiver::new(&[screen()]);
    for _ in 0..10 {
        receiver.during(30, 900);
        receiver.during(30, 3000);
    }
    assert_eq!(receiver.switches, 19);
}

#[test]
fn noise_around_a_layers_rate_switches_seldom() {
    let mut receiver = Receiver::new(&[screen()]);
    for at in 0..600 {
        receiver.during(1, [2700, 2300, 2150, 2600][at % 4]);
    }
    assert_eq!((receiver.switches, receiver.last.clone()), (0, vec![Full(H)]));
    for at in 0..60 {
        receiver.during(10, [2700, 1700][at % 2]);
    }
    assert!(receiver.switches < 30, "of 60 edges: {}", receiver.switches);
}

#[test]
fn a_layer_that_stops_is_left_at_once_and_taken_back_when_it_comes() {
    let mut receiver = Receiver::new(&[screen()]);
    receiver.during(1, 3000);
    receiver.demands[0].layers[1] = None;
    assert_eq!(receiver.at(3000), [Full(L)]);
    receiver.demands[0].layers = [None, Some(Bitrate::kbit(2500)), None];
    assert_eq!(receiver.at(3000), [Full(H)]);
    receiver.demands[0].layers = [None; MAX_LAYERS];
    assert_eq!((receiver.at(3000), receiver.allocation.wanted()), (vec![Paused], Bitrate::ZERO));
    receiver.demands[0].layers = [Some(Bitrate::kbit(500)), None, None];
    assert_eq!(receiver.at(3000), [Full(L)], "nothing was left that did not fit");
}

#[test]
fn nobody_is_raised_from_one_wait_for_a_key_frame_to_another() {
    let mut receiver = Receiver::new(&[screen()]);
    receiver.at(600);
    receiver.demands[0].awaits_keyframe = true;
    assert_eq!(receiver.during(10, 3000), [Full(L)]);
    receiver.demands[0].awaits_keyframe = false;
    assert_eq!(receiver.at(3000), [Full(H)]);
}

#[test]
fn an_earlier_camera_rises_before_a_later_one() {
    let mut receiver = Receiver::new(&[demand(7, Kind::Camera), demand(3, Kind::Camera)]);
    assert_eq!(receiver.at(3200), [Full(H), Full(L)]);
    receiver.demands.reverse();
    receiver.at(600);
    assert_eq!(receiver.during(10, 3200), [Full(H), Full(L)], "the order is that of the demands");
}

#[test]
fn what_there_is_no_time_for_goes_in_the_order_of_its_importance_and_no_more_is_left_than_was_granted() {
    let demands = [demand(2, Kind::Camera), screen()];
    let thin = |kbit| Thin(L, Bitrate::kbit(kbit));
    let trimmed = |kbit, granted: [Grant; 2]| {
        let mut grants = granted;
        trim(Bitrate::kbit(kbit), &demands, &mut grants);
        grants
    };
    let whole = [Full(H), Full(H)];
    assert_eq!(trimmed(5000, whole), whole);
    assert_eq!(trimmed(4999, whole), [Full(L), Full(H)], "the camera's higher layer goes first");
    assert_eq!(trimmed(2999, whole), [Full(L), Full(L)], "then the screen's");
    assert_eq!(trimmed(800, whole), [thin(300), Full(L)]);
    assert_eq!(trimmed(510, whole), [Paused, Full(L)], "no picture");
    assert_eq!(trimmed(400, whole), [Paused, thin(400)]);
    assert_eq!(trimmed(9000, [Full(L), thin(200)]), [Full(L), thin(200)]);
    assert_eq!(trimmed(3000, [Paused, Full(H)]), [Paused, Full(H)], "nothing is kept for what is paused");
}
