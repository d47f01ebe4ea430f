//! Real calls through a daemon somewhere: in a machine, in a container.
use crate::artifact;
use crate::browser::chromium::{Chromium, Page};
use crate::browser::demo::Demo;
use crate::browser::{DemoPage, State};
use crate::daemon::PATIENCE;
use crate::mattermost::Mattermost;
use crate::peer::{Peer, PeerConfig, State as PeerState};
use crate::plugin::Plugin;
use crate::world::VOICE;
use anyhow::Result;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

/// An emulated machine that two browsers keep busy loses a part of what it is sent, and takes its time.
const EMULATED: Duration = Duration::from_secs(60);

/// Two headless participants and a browser (over UDP two of them) hear and see each other through the machine.
pub async fn they_meet(plugin: &Plugin, media: SocketAddr, call: &str, tcp: bool, dir: &Path) -> Result<()> {
    they_meet_during(plugin, media, call, tcp, dir, &mut []).await
}

/// The same, and go on after each thing that happens to the daemon in the middle of their call, which ends its WebSockets.
pub async fn they_meet_during(
    plugin: &Plugin,
    media: SocketAddr,
    call: &str,
    tcp: bool,
    dir: &Path,
    happens: &mut [&mut dyn FnMut()],
) -> Result<()> {
    let node = Mattermost::connect(plugin).await?;
    let udp_from = outward()?;
    let join = |name| Peer::join(&node, PeerConfig { tcp, udp_from, ..PeerConfig::new(call, name) }, media);
    let (ann, bob) = (join("ann").await?, join("bob").await?);
    ann.add_voice();
    bob.add_voice();
    let _speaking = (ann.stream("voice", VOICE), bob.stream("voice", VOICE));
    ann.wait_track("voice", "bob").await?;
    bob.wait_track("voice", "ann").await?;

    let key = dir.join("key");
    fs::write(&key, &plugin.auth_key)?;
    let (api, key) = (format!("http://{}", plugin.api), key.display().to_string());
    let arguments = ["--connect", &api, "--client-id", &plugin.client_id, "--auth-key-file", &key];
    let (cleo, browser, demo, session) = tokio::task::block_in_place(|| {
        let demo = Demo::start_at(std::net::Ipv4Addr::LOCALHOST.into(), &arguments);
        let browser = Chromium::start();
        let cleo = enter(&browser, &demo, "cleo", call, tcp);
        let state = cleo.wait_for("voices of both", |state| {
            ["ann", "bob"].iter().all(|name| receives(state, name)) && !state.0["transport"].is_null()
        });
        assert_eq!(state.text("/transport/protocol"), if tcp { "tcp" } else { "udp" });
        if !tcp {
            see_and_hear_each_other(&cleo, &enter(&browser, &demo, "dora", call, tcp));
        }
        (cleo, browser, demo, state.text("/sessionID").to_owned())
    });
    for peer in [&ann, &bob] {
        peer.wait_track("voice", &session).await?;
        let sees = |state: &PeerState| {
            state.tracks.values().any(|track| track.kind == "video" && track.sender == session && track.frames > 0)
        };
        peer.wait_for(EMULATED, "the picture", sees).await;
    }
    let mut node = node;
    for happens in happens {
        let described = cleo.eval("demo.described()");
        tokio::task::block_in_place(happens);
        node = Mattermost::connect(plugin).await?;
        tokio::task::block_in_place(|| is_answered(&cleo));
        // By then those who do not go on have ended, too.
        let live = plugin.sessions(call).await?.unwrap_or_default();
        assert!(live.iter().any(|one| one["SessionID"] == session.as_str()), "{session} in {live:?}");
        if live.len() > 1 {
            tokio::task::block_in_place(|| is_sent_more(&cleo));
        }
        assert_eq!(cleo.eval("demo.described()"), described, "nothing is negotiated");
    }
    tokio::task::block_in_place(|| drop((cleo, browser)));
    // The demo says for its page that it leaves.
    wait_sessions(plugin, call, "the pages do not leave", |live| live.is_none_or(|live| live <= 2)).await?;
    tokio::task::block_in_place(|| drop(demo));
    // Over TCP a participant may miss its `close`: the daemon ends the connection as well.
    node.leave("ann");
    node.leave("bob");
    wait_sessions(plugin, call, "the call does not end", |live| live.is_none()).await
}

/// This machine's address, where browsers send from, too. What QEMU forwards to a machine over UDP must not come from there and
/// from 127.0.0.1 both: it takes the sender of a packet for that of another one, and hands loopback addresses to the guest.
fn outward() -> Result<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // Nothing is sent. Without a route there is nothing but 127.0.0.1.
    let known = socket.connect("192.0.0.8:9").and_then(|()| socket.local_addr()).map(|address| address.ip());
    Ok(match known {
        Ok(IpAddr::V4(address)) => address,
        _ => Ipv4Addr::LOCALHOST,
    })
}

/// Polls until `holds` is true of how many sessions the call has, `None` when it is unknown; `complaint` if it never is.
async fn wait_sessions(
    plugin: &Plugin,
    call: &str,
    complaint: &str,
    holds: impl Fn(Option<usize>) -> bool,
) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !holds(plugin.sessions(call).await?.map(|sessions| sessions.len())) {
        assert!(Instant::now() < deadline, "{complaint}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

fn enter(browser: &Chromium, demo: &Demo, name: &str, call: &str, tcp: bool) -> Page {
    let more = if tcp { "&tcp=1" } else { "" };
    let page = browser.open(&demo.url(&format!("name={name}&call={call}&tone={}&picture&auto{more}", tone(name))));
    page.wait_joined();
    page
}

/// Where nobody else is left there is still the data channel: a crash ends sessions of str0m, which gives a data channel up that
/// begins anew. What takes milliseconds elsewhere takes an emulated machine seconds.
fn is_answered(page: &Page) {
    let before = page.state().0["pongs"].as_u64();
    page.wait_for("an answer on the data channel", |state| state.0["pongs"].as_u64() > before);
}

fn is_sent_more(page: &Page) {
    let bytes = |state: &State| -> u64 {
        let received = state.0["received"].as_object().into_iter().flatten();
        received.filter_map(|(_, bytes)| bytes.as_u64()).sum()
    };
    let before = bytes(&page.state());
    page.wait_for("more of everybody", |state| bytes(state) > before + 2_000);
}

fn tone(name: &str) -> f64 {
    if name == "cleo" { 500.0 } else { 900.0 }
}

/// What is in the packets arrives, too. The picture of it is for the README.
fn see_and_hear_each_other(cleo: &Page, dora: &Page) {
    for (receiver, sender, name) in [(cleo, dora, "dora"), (dora, cleo, "cleo")] {
        let colour = sender.state().colour();
        receiver.wait_for(name, |state| {
            state.hears(name, "voice", tone(name)) && state.sees(name, "video", "topLeft", colour)
        });
    }
    // For the picture: the page looks at its numbers once a second.
    cleo.wait_for("numbers of both tracks", |state| {
        let tracks = state.0["tracks"].as_array();
        tracks.is_some_and(|tracks| {
            tracks.len() == 2 && tracks.iter().all(|one| one["stats"]["kbps"].as_f64() > Some(1.0))
        })
    });
    cleo.resize((1000, 600));
    cleo.capture(&artifact("call-through-the-machine.png"));
}

/// Whether this participant's voice comes: what is in it only a test participant understands. A hundred packets of it.
fn receives(state: &State, name: &str) -> bool {
    let sections = state.0["mediaMap"].as_object().into_iter().flatten();
    let of_sender = sections.filter(|(_, said)| said["sender_id"] == name && said["type"] == "voice");
    of_sender
        .into_iter()
        .any(|(mid, _)| state.0["received"][mid].as_u64().is_some_and(|bytes| bytes > 100 * VOICE.len() as u64))
}
