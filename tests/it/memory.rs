//! `/debug/memory`: what sessions hold, as an admin reads it. What is asserted is what is counted, which is the same on every
//! machine; what the kernel says of the process is `cargo memory`'s.
use anyhow::Result;
use rtcd_tests::daemon::{ADMIN_KEY, wait_for};
use rtcd_tests::http;
use rtcd_tests::peer::Peer;
use rtcd_tests::world::{KEY_FRAME, VOICE, World};
use serde_json::Value;

/// Bounds of what an idle session holds, and of what one in a call with a screen and a voice holds beyond it.
const IDLE: u64 = 24 * 1024;
const IN_CALL: u64 = 64 * 1024;
/// Participants: some, so that tables that are there for more of them are shared.
const SESSIONS: usize = 12;
/// Octets of a picture: 1.6 Mbit/s at fifty a second.
const PICTURE: usize = 4_000;

fn memory(world: &World) -> Value {
    let head = "GET /debug/memory HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\nConnection: close\r\n\r\n";
    http::raw(world.daemon.api_addr(), head.as_bytes()).expect("an answer").json()
}

/// How many of a kind there are, and what they hold together.
fn kind(memory: &Value, name: &str) -> (u64, u64) {
    let all = memory["kinds"].as_array().expect("a list");
    let of_kind = all.iter().find(|kind| kind["kind"] == name);
    of_kind.map_or((0, 0), |kind| (kind["count"].as_u64().unwrap_or(0), kind["bytes"].as_u64().unwrap_or(0)))
}

fn per_session(memory: &Value) -> u64 {
    memory["bytes_per_session"].as_u64().expect("a number")
}

async fn join(world: &World) -> Result<Vec<Peer>> {
    let mut sessions = Vec::new();
    for number in 0..SESSIONS {
        sessions.push(world.join(&format!("session-{number}")).await?);
    }
    Ok(sessions)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sessions_hold_comes_and_goes_with_them_and_is_little() -> Result<()> {
    let world = World::start().await?;
    let empty = memory(&world);
    assert_eq!((&empty["sessions"], per_session(&empty)), (&0.into(), 0), "{empty:#}");
    let sessions = join(&world).await?;
    // Handshakes are over once the peer has shown that they are.
    tokio::task::block_in_place(|| {
        wait_for("the end of all handshakes", || kind(&memory(&world), "dtls").0 == SESSIONS as u64);
    });
    let idle = memory(&world);
    for one_each in ["ice", "dtls", "sctp", "srtp", "peers", "negotiations", "signalling sessions"] {
        let (count, bytes) = kind(&idle, one_each);
        assert!(count == SESSIONS as u64 && bytes > 0, "{one_each}: {idle:#}");
    }
    assert_eq!(idle["sessions"], SESSIONS);
    assert!((4 * 1024..IDLE).contains(&per_session(&idle)), "{idle:#}");
    let number = |memory: &Value, of: &str| memory["process"][of].as_u64().expect("a number");
    assert!(number(&idle, "resident_bytes") > number(&idle, "anonymous_bytes"), "{idle:#}");
    assert!(number(&idle, "anonymous_bytes") > idle["counted_bytes"].as_u64().expect("a number") / 2, "{idle:#}");
    assert!(number(&idle, "kept_bytes") > 0, "what is written down");

    sessions[0].share_screen(&[]);
    sessions[1].add_voice();
    let picture: Vec<u8> = KEY_FRAME.iter().copied().chain((KEY_FRAME.len()..PICTURE).map(|at| at as u8)).collect();
    let streams = [sessions[0].stream("screen", &picture), sessions[1].stream("voice", VOICE)];
    for receiver in &sessions[2..] {
        receiver.wait_track("screen", "session-0").await?;
        receiver.wait_track("voice", "session-1").await?;
    }
    tokio::task::block_in_place(|| {
        wait_for("a history of what was sent", || {
            let (count, bytes) = kind(&memory(&world), "bandwidth estimates");
            // Everybody but the sharer receives pictures, and of all that went out of late something is kept.
            count == SESSIONS as u64 - 1 && bytes > count * 4 * 1024
        });
    });
    let in_call = memory(&world);
    let caches = kind(&in_call, "packet caches").1;
    assert!(caches > 256 * 1024, "{in_call:#}");
    assert!(kind(&in_call, "rewriters").0 >= 2 * SESSIONS as u64 - 2, "{in_call:#}");
    assert!(per_session(&in_call) > per_session(&idle), "{in_call:#}");
    // A cache is a track's; in a call of a hundred each of them would have its hundredth.
    let more = per_session(&in_call) - per_session(&idle) + caches / 100;
    assert!(more < IN_CALL, "{more}: {in_call:#}");

    drop(streams);
    for session in &sessions {
        session.leave().await?;
    }
    tokio::task::block_in_place(|| {
        wait_for("nothing of them", || {
            let left = memory(&world);
            ["ice", "sctp", "rewriters", "packet caches", "bandwidth estimates", "registrations", "negotiations"]
                .iter()
                .all(|one| kind(&left, one).0 == 0)
        });
    });
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_alone_reads_it_as_text_on_a_terminal() -> Result<()> {
    let world = World::start().await?;
    let _ann = world.join("ann").await?;
    let key = http::basic("", ADMIN_KEY);
    let ask = |authorization| {
        let head = "GET /debug/memory HTTP/1.1\r\nHost: rtcd.example.com\r\nConnection: close\r\n";
        let key: Option<&str> = authorization;
        let key = key.map(|key| format!("Authorization: {key}\r\n")).unwrap_or_default();
        http::raw(world.daemon.api_addr(), format!("{head}{key}\r\n").as_bytes()).expect("an answer")
    };
    assert_eq!(ask(None).status, 401);
    let text = ask(Some(&key)).text();
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{text}"));
    assert!(line("of it for sessions").split_whitespace().any(|word| word == "1"), "{text}");
    line("resident");
    line("signalling sessions");
    Ok(())
}
