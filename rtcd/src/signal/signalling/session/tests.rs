use super::*;
use crate::signal::message::Join;
use rtcd_media::rtp::ExtensionIds;
use rtcd_media::sdp::Direction;

fn session() -> Session {
    let join = Join {
        call: "call".into(),
        user: "user".into(),
        session: "ann".into(),
        channel_id: String::new(),
        av1_support: false,
        dc_signaling: true,
    };
    Session::new("mattermost".into(), join, "conn".into(), Instant::now())
}

fn section(mid: &str, kind: MediaKind, stream: &str) -> Media {
    Media {
        kind,
        mid: Mid(mid.into()),
        direction: Direction::SendRecv,
        rejected: false,
        protocol: String::new(),
        formats: Vec::new(),
        other_payload_types: Vec::new(),
        extensions: ExtensionIds::default(),
        other_extensions: Vec::new(),
        ssrcs: Vec::new(),
        rtx_ssrcs: Vec::new(),
        msid: Some((stream.into(), String::new())),
        send_rids: Vec::new(),
    }
}

fn video(mid: &str, stream: &str) -> Media {
    section(mid, MediaKind::Video, stream)
}

const CAMERA: Option<TrackKind> = Some(TrackKind::Video);

#[test]
fn a_camera_that_comes_back_as_another_stream_keeps_its_section() {
    let mut session = session();
    // Beside it are the pictures that it receives: web clients call those `sendrecv`.
    let offered = [video("s0", "-"), video("1", "first"), video("s1", "-")];
    assert_eq!(session.kinds_of(&offered, None), [None; 3], "VideoOn comes after the offer");
    session.video_stream = Some("first".into());
    assert_eq!(session.kinds_of(&offered, None), [None, CAMERA, None]);
    session.video_stream = Some("second".into());
    assert_eq!(session.kinds_of(&offered, None), [None, CAMERA, None], "no section has that stream");
    let again = [video("s0", "-"), video("1", "first"), video("s1", "-"), video("2", "second")];
    assert_eq!(session.kinds_of(&again, None), [None, None, None, CAMERA], "now one has");
}

#[test]
fn a_section_that_is_not_offered_any_more_is_nobodys_camera() {
    let mut session = session();
    session.video_stream = Some("first".into());
    session.kinds_of(&[video("1", "first")], None);
    session.kinds_of(&[], None);
    assert_eq!(session.kinds_of(&[video("1", "another")], None), [None]);
}

#[test]
fn a_screen_is_a_screen_whoever_had_the_section_before() {
    let mut session = session();
    session.video_stream = Some("camera".into());
    session.kinds_of(&[video("1", "camera")], None);
    let offered =
        [video("1", "screen"), section("2", MediaKind::Audio, "screen"), section("3", MediaKind::Audio, "mic")];
    let kinds = [Some(TrackKind::Screen), Some(TrackKind::ScreenAudio), Some(TrackKind::Voice)];
    assert_eq!(session.kinds_of(&offered, Some("screen")), kinds);
    session.stream_ended("screen".into());
    assert_eq!(session.kinds_of(&offered, None), [None, None, Some(TrackKind::Voice)]);
}

#[test]
fn a_first_check_is_due_once_the_offer_is_answered() {
    let mut session = session();
    let now = Instant::now();
    assert_eq!(session.first_check_due(), None);
    session.offered_at = Some(now);
    session.link = Link::AwaitingClaim { waiting: Vec::new() };
    assert_eq!(session.first_check_due(), Some(now + CONNECT_TIMEOUT));
    assert_eq!(session.next_timeout(), Some(now + CONNECT_TIMEOUT));
    session.link = Link::Claimed(WorkerId(0));
    assert_eq!(session.next_timeout(), None);
}
