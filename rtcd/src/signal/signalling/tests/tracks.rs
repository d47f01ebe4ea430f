//! What a participant sends: as what, whether it passes, and who is said to speak.
use super::participant::*;
use super::world::*;
use super::*;
use crate::metrics::{Direction, TrackType};
use crate::signal::message::RtcType;
use crate::signal::negotiation::fixtures::{VOICE, camera};
use rtcd_media::codec::Codec;
use rtcd_media::sfu::command::Command;

fn started(world: &World, direction: Direction, kind: TrackType) -> usize {
    let of = |count: &&Count| matches!(count, Count::TrackStarted(_, way, of) if (*way, *of) == (direction, kind));
    let ended = |count: &&Count| matches!(count, Count::TrackEnded(_, way, of) if (*way, *of) == (direction, kind));
    world.counts.iter().filter(of).count() - world.counts.iter().filter(ended).count()
}

#[test]
fn voice_is_told_when_it_begins_and_when_it_ends() {
    let mut world = World::new();
    world.arrive(join("ann"), 0, VOICE);
    world.start("ann", "1", Codec::Opus);
    world.forget();
    world.voice("ann", "1", true);
    world.voice("ann", "1", true);
    world.voice("ann", "1", false);
    assert_eq!(world.told("ann"), [RtcType::VoiceOn, RtcType::VoiceOff]);
}

#[test]
fn a_microphone_that_is_off_has_its_gate_closed_also_in_what_is_offered_later() {
    let mut world = World::new();
    world.arrive(join("ann"), 0, VOICE);
    let gates = |world: &World| {
        let gate = |(_, command): &_| if let Command::SetGate { open, .. } = command { Some(*open) } else { None };
        world.commands.iter().filter_map(gate).collect::<Vec<_>>()
    };
    world.rtc("ann", RtcType::Mute, "");
    assert_eq!(gates(&world), [false]);
    world.offer("ann", VOICE);
    assert!(!world.track("ann", "1").open);
    world.rtc("ann", RtcType::Unmute, "");
    assert_eq!(gates(&world), [false, true]);
    world.offer("ann", VOICE);
    assert!(world.track("ann", "1").open);
}

#[test]
fn a_voice_that_ends_in_mid_word_is_said_to_have_ended() {
    let mut world = World::new();
    world.arrive(join("ann"), 0, VOICE);
    world.start("ann", "1", Codec::Opus);
    world.voice("ann", "1", true);
    world.offer("ann", &VOICE.replace("a=sendonly", "a=inactive"));
    assert_eq!(world.told("ann").last(), Some(&RtcType::Sdp));
    assert!(world.told("ann").ends_with(&[RtcType::VoiceOn, RtcType::VoiceOff, RtcType::Sdp]));
    assert_eq!(started(&world, Direction::In, TrackType::Opus), 0);
}

#[test]
fn a_voice_is_said_to_have_ended_before_its_session() {
    let mut world = World::new();
    world.arrive(join("ann"), 0, VOICE);
    world.start("ann", "1", Codec::Opus);
    world.voice("ann", "1", true);
    world.leave("ann");
    assert_eq!(world.told("ann").last(), Some(&RtcType::VoiceOff));
    assert_eq!(world.sent.last(), Some(&("ws".into(), close("ann"))));
}

#[test]
fn nobody_says_of_itself_that_it_speaks() {
    let mut world = World::new();
    world.arrive(join("ann"), 0, VOICE);
    world.forget();
    world.rtc("ann", RtcType::VoiceOn, "");
    assert_eq!(world.told("ann"), []);
    assert_eq!(world.errors(ErrorKind::Signaling), 1);
}

#[test]
fn a_track_that_nobody_has_announced_passes_once_it_is() {
    let mut world = World::new();
    world.arrive(join("ann"), 0, &camera("1", 96, "VP8", ""));
    assert!(!world.track("ann", "1").open);
    let track = world.track("ann", "1").track;
    world.start("ann", "1", Codec::Vp8);
    assert_eq!(started(&world, Direction::In, TrackType::Vp8), 0);
    world.video_on("ann", "camera");
    assert!(world.track("ann", "1").open);
    assert_eq!(world.track("ann", "1").track, track, "the plane goes on with what it knows");
    assert_eq!(started(&world, Direction::In, TrackType::Vp8), 1);
}

#[test]
fn a_camera_that_is_off_keeps_its_section_open() {
    let mut world = World::new();
    world.arrive(join("ann"), 0, &camera("1", 96, "VP8", ""));
    world.video_on("ann", "camera");
    world.rtc("ann", RtcType::VideoOff, "");
    assert!(world.track("ann", "1").open);
}

#[test]
fn one_screen_at_a_time() {
    let mut world = World::new();
    let screen = |mid| camera(mid, 96, "VP8", "").replace("msid:camera", "msid:screen");
    world.arrive(join("ann"), 0, &screen("1"));
    world.arrive(join("bob"), 0, &screen("1"));
    world.screen_on("ann", "screen");
    world.screen_on("bob", "screen");
    assert_eq!(world.errors(ErrorKind::Signaling), 1);
    assert_eq!((world.track("ann", "1").open, world.track("bob", "1").open), (true, false));
    world.rtc("ann", RtcType::ScreenOff, "");
    world.screen_on("bob", "screen");
    assert_eq!((world.track("ann", "1").open, world.track("bob", "1").open), (false, true));
    world.leave("bob");
    world.screen_on("ann", "screen");
    assert!(world.track("ann", "1").open, "who leaves shares no more");
}

#[test]
fn the_sound_of_a_screen_does_not_become_a_voice_when_the_share_ends() {
    let mut world = World::new();
    let sound = VOICE.replace("mid:1", "mid:2").replace("msid:stream", "msid:screen").replace("ssrc:7", "ssrc:8");
    world.arrive(join("ann"), 0, &format!("{VOICE}{sound}"));
    world.screen_on("ann", "screen");
    assert_eq!((world.track("ann", "1").detect_voice, world.track("ann", "2").detect_voice), (true, false));
    world.rtc("ann", RtcType::ScreenOff, "");
    assert_eq!((world.track("ann", "2").detect_voice, world.track("ann", "2").open), (false, false));
}

#[test]
fn more_tracks_at_once_than_a_participant_may_send_do_not_pass_on() {
    let mut world = World::new();
    let voice = |at: u32| VOICE.replace("mid:1", &format!("mid:{at}")).replace("ssrc:7", &format!("ssrc:{}", 6 + at));
    world.arrive(join("ann"), 0, &(1..=9).map(voice).collect::<String>());
    (1..=9).for_each(|at| world.start("ann", &at.to_string(), Codec::Opus));
    assert_eq!(started(&world, Direction::In, TrackType::Opus), 8);
    assert_eq!(world.errors(ErrorKind::Track), 1);
}

#[test]
fn a_stream_without_a_name_is_refused() {
    let mut world = World::new();
    world.arrive(join("ann"), 0, VOICE);
    world.screen_on("ann", "");
    world.video_on("ann", "");
    world.rtc("ann", RtcType::ScreenOn, r#"["screen"]"#);
    assert_eq!(world.errors(ErrorKind::Signaling), 3);
}
