//! What participants and plugins must not say: it is counted, the connection and the session stay, and a call beside
//! it never stumbles.
mod frames;

use anyhow::Result;
use frames::{bad_frames, frame, map};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use rmpv::Value;
use rtcd_tests::daemon::wait_for;
use rtcd_tests::mattermost::Mattermost;
use rtcd_tests::peer::{Peer, PeerConfig, Streaming};
use rtcd_tests::plugin::{Connection, Join, rtc};
use rtcd_tests::world::{KEY_FRAME, VOICE, World};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

/// The most that one frame may have.
const MIB: usize = 1024 * 1024;

/// A call of two beside what is bad.
struct Beside {
    world: World,
    ann: Peer,
    bob: Peer,
    _flows: [Streaming; 3],
}

impl Beside {
    async fn start() -> Result<Self> {
        let world = World::start().await?;
        let (ann, bob) = (world.join("ann").await?, world.join("bob").await?);
        ann.add_voice();
        bob.add_voice();
        ann.add_video(&[]);
        let flows = [ann.stream("voice", VOICE), bob.stream("voice", VOICE), ann.stream("video", KEY_FRAME)];
        let beside = Self { world, ann, bob, _flows: flows };
        beside.goes_on().await?;
        Ok(beside)
    }

    /// Packets flow, none has been lost, nobody was thrown out.
    async fn goes_on(&self) -> Result<()> {
        for (peer, kind, sender) in
            [(&self.bob, "voice", "ann"), (&self.ann, "voice", "bob"), (&self.bob, "video", "ann")]
        {
            peer.wait_track(kind, sender).await?;
            let before = peer.track(kind, sender).map_or(0, |track| track.frames);
            let on = |state: &rtcd_tests::peer::State| {
                let mut tracks = state.tracks.values();
                tracks.any(|t| t.live && t.kind == kind && t.sender == sender && t.frames > before + 10)
            };
            peer.wait(&format!("more {kind} of {sender}"), on).await?;
            let track = peer.track(kind, sender).expect("it flows");
            assert_eq!(track.gaps, 0, "{kind} of {sender} stumbled: {track:?}");
            let state = peer.state();
            assert_eq!((state.closed, &state.error), (0, &None));
        }
        assert_eq!(self.world.daemon.metric("rtcd_plane_panics_total"), 0.0);
        assert!(!self.world.daemon.log().contains("panicked"), "nothing panics");
        Ok(())
    }

    /// Does something bad and waits until it is counted, once.
    async fn counted<F: Future<Output = Result<()>>>(&self, kind: &str, what: &str, bad: F) -> Result<()> {
        let before = self.world.errors(kind);
        bad.await?;
        wait_for(&format!("{what} to be counted as {kind}"), || self.world.errors(kind) > before);
        assert_eq!(self.world.errors(kind), before + 1.0, "{what}");
        Ok(())
    }
}

/// The connection still does what it is for.
async fn serves(connection: &mut Connection, world: &World, call: &str) -> Result<()> {
    connection.join(&Join::new(call, call)).await?;
    let mut known = false;
    for _ in 0..400 {
        known = world.plugin.sessions(call).await?.is_some();
        if known {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(known, "a join on the same connection is heard");
    connection.leave(call).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_frame_is_counted_and_the_connection_stays() -> Result<()> {
    let beside = Beside::start().await?;
    let mut bad = beside.world.plugin.connect().await?;
    for (what, frame) in bad_frames() {
        beside.counted("signaling", &what, bad.send_raw(Message::Binary(frame.into()))).await?;
    }
    beside.counted("signaling", "a text frame", bad.send_raw(Message::Text("ping".into()))).await?;
    serves(&mut bad, &beside.world, "other").await?;
    beside.goes_on().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_may_have_a_mebibyte_and_not_a_byte_more() -> Result<()> {
    let beside = Beside::start().await?;
    let padded = |session: &str, total: usize| {
        let fields = |padding: usize| {
            map(&[
                ("callID", "large".into()),
                ("userID", "user".into()),
                ("sessionID", session.into()),
                ("padding", Value::Binary(vec![0; padding])),
            ])
        };
        let rest = frame("join", &fields(100_000)).len() - 100_000;
        let frame = frame("join", &fields(total - rest));
        assert_eq!(frame.len(), total);
        frame
    };
    let mut large = beside.world.plugin.connect().await?;
    large.send_raw(Message::Binary(padded("largest", MIB).into())).await?;
    serves(&mut large, &beside.world, "other").await?;
    let sessions = beside.world.plugin.sessions("large").await?.expect("the largest message is heard");
    assert_eq!(sessions.len(), 1);
    for too_large in [
        Message::Binary(padded("too-large", MIB + 1).into()),
        Message::Text("x".repeat(MIB + 1).into()),
        Message::Binary(vec![0; 8 * MIB].into()),
    ] {
        let mut bad = beside.world.plugin.connect().await?;
        // The daemon may hang up before it has been said in full.
        let _ = bad.send_raw(too_large).await;
        bad.wait_closed().await?;
    }
    assert_eq!(beside.world.plugin.sessions("large").await?.map(|sessions| sessions.len()), Some(1));
    beside.goes_on().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_must_not_say_is_counted_and_the_session_stays() -> Result<()> {
    let beside = Beside::start().await?;
    let node = Mattermost::connect(&beside.world.plugin).await?;
    let mallory = Peer::join(&node, PeerConfig::new("call", "mallory"), beside.world.media()).await?;
    mallory.add_voice();
    let _voice = mallory.stream("voice", VOICE);
    beside.bob.wait_track("voice", "mallory").await?;
    let mut raw = beside.world.plugin.connect().await?;
    let (offer, answer) = mallory.state().last_exchange.clone();

    let not_json: [&[u8]; 4] = [b"", b"{", b"\xff\xfe", b"null"];
    let said = |kind: i64, data: &[u8]| {
        let fields =
            [("session_id", Value::from("mallory")), ("type", kind.into()), ("data", Value::Binary(data.to_vec()))];
        Message::Binary(frame("rtc", &map(&fields)).into())
    };
    let mut bad: Vec<(&str, i64, Vec<u8>)> = Vec::new();
    for data in not_json {
        for (errors, kind) in
            [("ice", rtc::ICE), ("signaling", rtc::SDP), ("signaling", rtc::SCREEN_ON), ("signaling", rtc::VIDEO_ON)]
        {
            bad.push((errors, kind, data.to_vec()));
        }
    }
    for candidate in
        [json!([]), json!("x"), json!({"candidate": 7}), json!({"candidate": "rubbish"}), json!({"candidate": " "})]
    {
        bad.push(("ice", rtc::ICE, candidate.to_string().into_bytes()));
    }
    for on in [
        json!({}),
        json!([]),
        json!({"screenStreamID": ""}),
        json!({"screenStreamID": 7}),
        json!({"videoStreamID": null}),
    ] {
        bad.push(("signaling", rtc::SCREEN_ON, on.to_string().into_bytes()));
        bad.push(("signaling", rtc::VIDEO_ON, json!({"videoStreamID": on}).to_string().into_bytes()));
    }
    for kind in [rtc::VOICE_ON, rtc::VOICE_OFF] {
        bad.push(("signaling", kind, Vec::new()));
    }
    let section = offer.find("\r\nm=audio").expect("the offer has a voice");
    let one = offer[section + 2..].split_inclusive("\r\n").enumerate();
    let one: String = one.take_while(|(at, line)| *at == 0 || !line.starts_with("m=")).map(|(_, line)| line).collect();
    let mid = offer[section..].split("a=mid:").nth(1).and_then(|rest| rest.lines().next()).expect("it has a mid");
    let first = offer.find("m=application").expect("the offer has a channel");
    for sdp in [
        String::new(),
        "rubbish".into(),
        "v=0\r\n".repeat(1000),
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n".into(),
        offer.replace("a=ice-ufrag:", "a=x-"),
        offer.replace("a=ice-pwd:", "a=x-"),
        offer.replace("a=fingerprint:", "a=x-"),
        offer.replace("a=fingerprint:sha-256 ", "a=fingerprint:sha-256 ZZ:"),
        offer.replace("a=mid:", "a=x-"),
        // Kinds and order must stay.
        offer.replace("m=audio", "m=video"),
        offer.replace("m=audio", "m=smell"),
        offer.replace(&format!("a=mid:{mid}"), "a=mid:another"),
        offer[..section + 2].to_owned(),
        format!("{}{}\r\n{}", &offer[..first], &offer[section + 2..].trim_end(), &offer[first..section + 2]),
        format!("{offer}{}", &offer[section + 2..]),
        (0..600)
            .fold(offer.clone(), |sdp, at| sdp + &one.replace(&format!("a=mid:{mid}"), &format!("a=mid:more-{at}"))),
    ] {
        bad.push(("signaling", rtc::SDP, json!({"type": "offer", "sdp": sdp}).to_string().into_bytes()));
    }
    for description in [
        json!({"type": "answer", "sdp": answer}),
        json!({"type": "pranswer", "sdp": offer}),
        json!({"type": "rollback", "sdp": offer}),
        json!({"type": 7, "sdp": offer}),
        json!({"type": "offer"}),
        json!({"sdp": offer}),
        json!([offer]),
    ] {
        bad.push(("signaling", rtc::SDP, description.to_string().into_bytes()));
    }
    for (errors, kind, data) in bad {
        let shown = String::from_utf8_lossy(&data[..data.len().min(300)]).into_owned();
        beside.counted(errors, &format!("type {kind}: {shown}"), raw.send_raw(said(kind, &data))).await?;
    }
    beside.bob.wait_track("voice", "mallory").await?;
    mallory.add_video(&[]);
    let _video = mallory.stream("video", KEY_FRAME);
    beside.bob.wait_track("video", "mallory").await?;
    {
        let state = mallory.state();
        assert_eq!((state.closed, &state.error), (0, &None));
    }
    beside.goes_on().await?;

    // Another certificate is another peer: there is no going on with this session.
    let eve = Peer::join(&node, PeerConfig::new("elsewhere", "eve"), beside.world.media()).await?;
    let own = eve.state().last_exchange.0.clone();
    let stolen = own.lines().map(|line| match line.strip_prefix("a=fingerprint:sha-256 ") {
        Some(rest) => format!("a=fingerprint:sha-256 00:{}\r\n", &rest[3..]),
        None => format!("{line}\r\n"),
    });
    eve.rtc(rtc::SDP, Some(json!({"type": "offer", "sdp": stolen.collect::<String>()})));
    eve.wait("the end of a session whose certificate changed", |state| state.closed == 1).await?;
    beside.goes_on().await
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_data_channel_messages_are_counted_and_the_channel_stays() -> Result<()> {
    let beside = Beside::start().await?;
    let mallory = beside.world.join("mallory").await?;
    let zlib = |data: &[u8]| {
        use std::io::Read as _;
        let mut out = Vec::new();
        flate2::read::ZlibEncoder::new(data, flate2::Compression::best()).read_to_end(&mut out).map(|_| out)
    };
    let sdp = |compressed: &[u8]| {
        let mut message = vec![3];
        rmpv::encode::write_value(&mut message, &Value::Binary(compressed.to_vec())).expect("memory takes it");
        message
    };
    let float = |kind: u8, value: f64| [&[kind, 0xcb][..], &value.to_be_bytes()].concat();
    let bomb = zlib(&vec![b' '; 40 * MIB])?;
    assert!(bomb.len() < 60_000);
    let json = json!({"type": "offer", "sdp": "rubbish"}).to_string();
    let bad: Vec<(&str, &str, Vec<u8>)> = vec![
        ("data_channel", "type 0", vec![0]),
        ("data_channel", "type 77", vec![77]),
        ("data_channel", "a MediaMap to us", vec![9, 0x80]),
        ("data_channel", "a negative type", vec![0xff]),
        ("data_channel", "a type of 64 bits", vec![0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ("data_channel", "a type that is text", vec![0xa1, b'x']),
        ("data_channel", "a type that ends early", vec![0xd3, 0]),
        ("data_channel", "a description without data", vec![3]),
        ("data_channel", "a description that is a number", vec![3, 7]),
        ("data_channel", "a description of 4 GB", vec![3, 0xc6, 0xff, 0xff, 0xff, 0xff, 1]),
        ("data_channel", "a description that is not zlib", sdp(b"not zlib")),
        ("data_channel", "zlib that ends early", sdp(&zlib(json.as_bytes())?[..10])),
        ("data_channel", "a zip bomb", sdp(&bomb)),
        ("signaling", "a description that is no JSON", sdp(&zlib(b"rubbish")?)),
        ("signaling", "a description that is no SDP", sdp(&zlib(json.as_bytes())?)),
        ("data_channel", "a loss rate without a number", vec![4]),
        ("data_channel", "a loss rate that is text", vec![4, 0xa1, b'x']),
        ("data_channel", "a loss rate above one", float(4, 1.5)),
        ("data_channel", "a negative round trip", float(5, -0.1)),
        ("data_channel", "a round trip that is no number", float(5, f64::NAN)),
        ("data_channel", "an endless jitter", float(6, f64::INFINITY)),
        ("signaling", "an unlock of a lock that is free", vec![8]),
    ];
    for (errors, what, message) in bad {
        beside
            .counted(errors, what, async {
                mallory.channel(&message);
                Ok(())
            })
            .await?;
    }
    beside
        .counted("data_channel", "a text that is not ping", async {
            mallory.channel_text("rubbish");
            Ok(())
        })
        .await?;
    mallory.channel_text("ping");
    mallory.channel(&[1]);
    mallory.wait("both pongs", |state| state.pongs >= 1 && state.texts == ["pong"]).await?;
    mallory.add_voice();
    let _voice = mallory.stream("voice", VOICE);
    beside.bob.wait_track("voice", "mallory").await?;
    beside.goes_on().await
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_damaged_frames_harm_nobody() -> Result<()> {
    let beside = Beside::start().await?;
    let mut bad = beside.world.plugin.connect().await?;
    // Fixed, so that what it finds can be found again.
    let mut random = SmallRng::seed_from_u64(0x7274_6364);
    let offer = beside.ann.state().last_exchange.0.clone();
    let sdp = Value::Binary(json!({"type": "offer", "sdp": offer}).to_string().into_bytes());
    let good = [
        frame("join", &map(&[("callID", "fuzz".into()), ("userID", "u".into()), ("sessionID", "fuzz-1".into())])),
        frame("leave", &map(&[("sessionID", "fuzz-1".into())])),
        frame("rtc", &map(&[("session_id", "fuzz-1".into()), ("type", 2.into()), ("data", sdp)])),
        frame(
            "rtc",
            &map(&[("session_id", "fuzz-1".into()), ("type", 5.into()), ("data", Value::Binary(b"{}".into()))]),
        ),
    ];
    for number in 0..4000 {
        let mut frame = good[number % good.len()].clone();
        for _ in 0..random.random_range(0..4) {
            let at = random.random_range(0..frame.len());
            frame[at] = random.random();
        }
        if random.random_ratio(1, 10) {
            frame.truncate(random.random_range(0..frame.len()));
        }
        bad.send_raw(Message::Binary(frame.into())).await?;
    }
    serves(&mut bad, &beside.world, "other").await?;
    beside.goes_on().await
}
