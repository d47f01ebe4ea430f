//! A participant made of str0m: an independent ICE, DTLS, SRTP, SCTP and SDP implementation, driven over a real socket.
mod engine;
mod link;
mod sdp;
mod state;

use crate::mattermost::Mattermost;
use crate::plugin::{Join, rtc};
use anyhow::Result;
use rtcd_load::channel;
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use str0m::net::Protocol;
use tokio::sync::mpsc;

pub(crate) use link::Loss;
pub use state::{State, Track};
pub use str0m::media::MediaKind;

/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time between two frames of a stream.
const EVERY: Duration = Duration::from_millis(20);

/// Audio level of frames whose level does not matter, in dBov.
const LEVEL: i8 = -30;

/// A description as a message of the data channel.
pub fn sdp_message(json: &str) -> Vec<u8> {
    channel::sdp(json)
}

/// How a participant behaves.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// What it says when it joins.
    pub join: Join,
    /// It has a UDP socket.
    pub udp: bool,
    /// The address of that.
    pub udp_from: Ipv4Addr,
    /// It has a TCP connection.
    pub tcp: bool,
    /// It insists on being the DTLS server: its offers say `setup:passive`.
    pub dtls_server: bool,
    /// It claims to be the controlled side in ICE, as we are: a role conflict.
    pub role_conflict: bool,
    /// Every n-th packet of media to it gets lost.
    pub drop_incoming: Option<u32>,
    /// It never offers by itself; answers to lock requests that the test makes are only noted.
    pub manual_lock: bool,
}

impl PeerConfig {
    pub fn new(call: &str, session: &str) -> Self {
        Self {
            join: Join::new(call, session),
            udp: true,
            udp_from: Ipv4Addr::LOCALHOST,
            tcp: false,
            dtls_server: false,
            role_conflict: false,
            drop_incoming: None,
            manual_lock: false,
        }
    }
}

/// What a test tells a participant to do.
pub(crate) enum Do {
    /// A new track with this stream id; its mid is then known under `name`.
    AddTrack {
        name: String,
        kind: MediaKind,
        stream: String,
        rids: Vec<&'static str>,
        codec: Option<&'static str>,
    },
    StopTrack {
        name: String,
    },
    /// One frame on a track.
    Frame {
        name: String,
        rid: Option<&'static str>,
        codec: Option<&'static str>,
        data: Vec<u8>,
        level: i8,
    },
    RestartIce,
    /// A message on the data channel.
    Channel {
        text: bool,
        data: Vec<u8>,
    },
    /// Whatever comes or leaves over this is swallowed from now on.
    Darken(Protocol),
    /// UDP works again.
    MendUdp,
    /// Says goodbye by DTLS and to nobody else.
    Disconnect,
    /// Ends without a word.
    Vanish,
}

pub struct Peer {
    pub config: PeerConfig,
    todo: mpsc::UnboundedSender<Do>,
    state: Arc<Mutex<State>>,
    node: Mattermost,
}

impl Peer {
    /// Joins and offers its data channel; does not wait for anything.
    pub async fn start(node: &Mattermost, config: PeerConfig, media: SocketAddr) -> Result<Self> {
        let (todo, work) = mpsc::unbounded_channel();
        let state = Arc::new(Mutex::new(State::default()));
        let said = node.listen(&config.join.session_id);
        node.join(&config.join);
        let engine = engine::Engine::new(node.clone(), config.clone(), state.clone(), media).await?;
        let failed = state.clone();
        tokio::spawn(async move {
            if let Err(error) = Box::pin(engine.run(work, said)).await {
                lock(&failed).error = Some(format!("{error:#}"));
            }
        });
        Ok(Self { config, todo, state, node: node.clone() })
    }

    /// Joins and waits until the data channel is open.
    pub async fn join(node: &Mattermost, config: PeerConfig, media: SocketAddr) -> Result<Self> {
        let peer = Self::start(node, config, media).await?;
        peer.wait("the data channel", |state| state.channel_open).await?;
        Ok(peer)
    }

    /// Looks at what has become of it.
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub async fn wait(&self, what: &str, condition: impl Fn(&State) -> bool) -> Result<()> {
        self.wait_for(PATIENCE, what, condition).await;
        Ok(())
    }

    /// The same with a patience of its own.
    pub async fn wait_for(&self, patience: Duration, what: &str, condition: impl Fn(&State) -> bool) {
        wait_until(&self.config.join.session_id, what, patience, &self.state, condition).await;
    }

    /// Waits for a live track of a sender that brings frames.
    pub async fn wait_track(&self, kind: &str, sender: &str) -> Result<()> {
        let of = |track: &Track| track.live && track.kind == kind && track.sender == sender && track.frames > 0;
        self.wait(&format!("{kind} of {sender}"), |state| state.tracks.values().any(of)).await
    }

    /// Waits until no live track of a sender is left.
    pub async fn wait_no_track(&self, kind: &str, sender: &str) -> Result<()> {
        let of = |track: &Track| track.live && track.kind == kind && track.sender == sender;
        self.wait(&format!("the end of {kind} of {sender}"), |state| !state.tracks.values().any(of)).await
    }

    /// A copy of the live track of a sender.
    pub fn track(&self, kind: &str, sender: &str) -> Option<Track> {
        let state = self.state();
        state.tracks.values().find(|track| track.live && track.kind == kind && track.sender == sender).cloned()
    }

    /// A microphone: a track under the name `voice`.
    pub fn add_voice(&self) {
        self.add("voice", MediaKind::Audio, "voice-stream", &[]);
    }
    /// A screen with its sound, under the names `screen` and `screen-audio`.
    pub fn share_screen(&self, rids: &[&'static str]) {
        let stream = format!("screen-of-{}", self.config.join.session_id);
        self.rtc(rtc::SCREEN_ON, Some(json!({ "screenStreamID": stream })));
        self.add("screen", MediaKind::Video, &stream, rids);
        self.add("screen-audio", MediaKind::Audio, &stream, &[]);
    }
    pub fn unshare_screen(&self) {
        self.rtc(rtc::SCREEN_OFF, None);
        self.tell(Do::StopTrack { name: "screen".into() });
        self.tell(Do::StopTrack { name: "screen-audio".into() });
    }
    /// A camera under the name `video`.
    pub fn add_video(&self, rids: &[&'static str]) {
        let stream = format!("video-of-{}", self.config.join.session_id);
        self.rtc(rtc::VIDEO_ON, Some(json!({ "videoStreamID": stream })));
        self.add("video", MediaKind::Video, &stream, rids);
    }
    pub fn add(&self, name: &str, kind: MediaKind, stream: &str, rids: &[&'static str]) {
        self.tell(Do::AddTrack { name: name.into(), kind, stream: stream.into(), rids: rids.to_vec(), codec: None });
    }
    /// A screen in AV1 with its fallback in VP8, under the names `screen-av1` and `screen-vp8`.
    pub fn share_screen_twice(&self) {
        let stream = format!("screen-of-{}", self.config.join.session_id);
        self.rtc(rtc::SCREEN_ON, Some(json!({ "screenStreamID": stream })));
        for (name, codec) in [("screen-av1", "AV1"), ("screen-vp8", "VP8")] {
            let (name, stream, codec) = (name.into(), stream.clone(), Some(codec));
            self.tell(Do::AddTrack { name, kind: MediaKind::Video, stream, rids: Vec::new(), codec });
        }
    }
    /// The track under this name ends.
    pub fn stop(&self, name: &str) {
        self.tell(Do::StopTrack { name: name.into() });
    }
    /// New ICE credentials, by an offer.
    pub fn restart_ice(&self) {
        self.tell(Do::RestartIce);
    }
    /// One frame on a track.
    pub fn frame(&self, name: &str, data: &[u8]) {
        self.tell(Do::Frame { name: name.into(), rid: None, codec: None, data: data.into(), level: LEVEL });
    }
    /// One frame on a layer of a track.
    pub fn layer_frame(&self, name: &str, rid: &'static str, data: &[u8]) {
        self.tell(Do::Frame { name: name.into(), rid: Some(rid), codec: None, data: data.into(), level: LEVEL });
    }
    /// Frames on a track every 20 ms until the handle is dropped.
    pub fn stream(&self, name: &str, data: &[u8]) -> Streaming {
        self.stream_every(name, data, EVERY)
    }
    /// The same so often.
    pub fn stream_every(&self, name: &str, data: &[u8], every: Duration) -> Streaming {
        self.flow(name, (None, None), data, &[LEVEL], every)
    }
    /// The same on one layer.
    pub fn stream_layer(&self, name: &str, rid: &'static str, data: &[u8]) -> Streaming {
        self.flow(name, (Some(rid), None), data, &[LEVEL], EVERY)
    }
    /// The same with these audio levels in turn.
    pub fn stream_levels(&self, name: &str, data: &[u8], levels: &'static [i8]) -> Streaming {
        self.flow(name, (None, None), data, levels, EVERY)
    }
    /// The same in one of the codecs of the section.
    pub fn stream_codec(&self, name: &str, codec: &'static str, data: &[u8]) -> Streaming {
        self.flow(name, (None, Some(codec)), data, &[LEVEL], EVERY)
    }
    fn flow(
        &self,
        name: &str,
        (rid, codec): (Option<&'static str>, Option<&'static str>),
        data: &[u8],
        levels: &'static [i8],
        every: Duration,
    ) -> Streaming {
        let (todo, name, data) = (self.todo.clone(), name.to_owned(), data.to_vec());
        Streaming(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(every);
            for level in levels.iter().cycle() {
                ticks.tick().await;
                let _ = todo.send(Do::Frame { name: name.clone(), rid, codec, data: data.clone(), level: *level });
            }
        }))
    }
    /// A binary message on the data channel.
    pub fn channel(&self, data: &[u8]) {
        self.tell(Do::Channel { text: false, data: data.into() });
    }
    /// A text message on the data channel.
    pub fn channel_text(&self, text: &str) {
        self.tell(Do::Channel { text: true, data: text.as_bytes().into() });
    }
    /// From now on nothing arrives and nothing leaves.
    pub fn pull_plug(&self) {
        self.darken_udp();
        self.darken_tcp();
    }
    /// From now on nothing arrives and nothing leaves over UDP.
    pub fn darken_udp(&self) {
        self.tell(Do::Darken(Protocol::Udp));
    }
    /// The same over TCP.
    pub fn darken_tcp(&self) {
        self.tell(Do::Darken(Protocol::Tcp));
    }
    /// UDP works again.
    pub fn mend_udp(&self) {
        self.tell(Do::MendUdp);
    }
    /// Its transport says goodbye; Mattermost is told nothing.
    pub fn vanish_politely(&self) {
        self.tell(Do::Disconnect);
    }
    pub fn rtc(&self, kind: i64, data: Option<serde_json::Value>) {
        self.node.rtc(&self.config.join, kind, data);
    }
    /// Leaves the call and waits for `close`.
    pub async fn leave(&self) -> Result<()> {
        self.node.leave(&self.config.join.session_id);
        self.wait("close", |state| state.closed > 0).await
    }

    fn tell(&self, what: Do) {
        // An engine that has ended says why in the state.
        let _ = self.todo.send(what);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.todo.send(Do::Vanish);
    }
}

/// Frames flow while it lives.
pub struct Streaming(tokio::task::JoinHandle<()>);

impl Drop for Streaming {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Polls a participant's state until `condition` holds. Fails by a panic, so that the daemon's log is shown.
pub(crate) async fn wait_until<S: std::fmt::Debug>(
    who: &str,
    what: &str,
    patience: Duration,
    state: &Mutex<S>,
    condition: impl Fn(&S) -> bool,
) {
    let deadline = Instant::now() + patience;
    while !condition(&lock(state)) {
        if Instant::now() > deadline {
            panic!("{who}: waited in vain for {what}: {:?}", lock(state));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn lock<S>(state: &Mutex<S>) -> MutexGuard<'_, S> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
