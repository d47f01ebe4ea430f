//! A participant made of the `webrtc` crate: a second independent implementation, with its own ICE agent, DTLS, SRTP,
//! SCTP and SDP. Its candidates are trickled apart from its descriptions, in the order that a test wants.
mod source;

use crate::mattermost::Mattermost;
use crate::peer::{lock, wait_until};
use crate::plugin::{Join, Received, rtc};
use anyhow::{Context as _, Result, bail};
use bytes::BytesMut;
use rtc_crate::rtp_transceiver::rtp_sender::RtpCodecKind;
use rtcd_load::channel::{self, Message};
use serde_json::{Value, json};
use source::{stream, track};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceCandidateInit,
    RTCPeerConnectionIceEvent, RTCPeerConnectionState, RTCSessionDescription, Registry, SettingEngineBuilder,
    register_default_interceptors,
};

pub use webrtc::peer_connection::SrtpProtectionProfile;

/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a participant behaves.
#[derive(Clone, Debug)]
pub struct WebrtcConfig {
    /// What it says when it joins; its descriptions travel as `dc_signaling` says.
    pub join: Join,
    /// It insists on being the DTLS server.
    pub dtls_server: bool,
    /// The SRTP profiles that it knows; empty: those of the crate.
    pub profiles: Vec<SrtpProtectionProfile>,
    /// Its candidates, and an empty one, go out before its offer; else behind the answer.
    pub candidates_first: bool,
    /// Where its media goes in place of the daemon's own address.
    pub via: Option<SocketAddr>,
}

impl WebrtcConfig {
    /// A DTLS client with signalling over the WebSocket.
    pub fn new(call: &str, session: &str) -> Self {
        let mut join = Join::new(call, session);
        join.dc_signaling = false;
        Self { join, dtls_server: false, profiles: Vec::new(), candidates_first: false, via: None }
    }
}

/// What came in on a track.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// The stream id: the sender's session.
    pub stream: String,
    pub packets: u64,
    /// Sequence numbers that were skipped.
    pub gaps: u64,
    /// The payload of the last one.
    pub last: Vec<u8>,
    sequence: Option<u16>,
}

/// What has become of the participant.
#[derive(Debug, Default)]
pub struct WebrtcState {
    /// ICE and DTLS are through.
    pub connected: bool,
    /// `calls-dc` is open.
    pub channel_open: bool,
    pub tracks: HashMap<String, Heard>,
    /// Candidates of the daemon that were trickled.
    pub candidates: u64,
    /// Offers of the daemon that were answered.
    pub offers_answered: u64,
    /// `close` came.
    pub closed: bool,
    pub error: Option<String>,
    own_candidates: Vec<RTCIceCandidateInit>,
    gathered: bool,
}

type Shared = Arc<Mutex<WebrtcState>>;

pub struct WebrtcPeer {
    state: Shared,
    config: WebrtcConfig,
    node: Mattermost,
    todo: mpsc::UnboundedSender<Arc<TrackLocalStaticRTP>>,
    task: tokio::task::JoinHandle<()>,
}

impl WebrtcPeer {
    /// Joins and waits for the data channel.
    pub async fn join(node: &Mattermost, config: WebrtcConfig) -> Result<Self> {
        let state = Shared::default();
        let said = node.listen(&config.join.session_id);
        node.join(&config.join);
        let (todo, work) = mpsc::unbounded_channel();
        let (engine, channel) = Box::pin(Engine::new(node.clone(), config.clone(), state.clone())).await?;
        let failed = state.clone();
        let task = tokio::spawn(async move {
            if let Err(error) = engine.run(channel, said, work).await {
                lock(&failed).error = Some(format!("{error:#}"));
            }
        });
        let peer = Self { state, config, node: node.clone(), todo, task };
        peer.wait("the data channel", |state| state.channel_open).await?;
        Ok(peer)
    }
    /// A look at what has become of it.
    pub fn state(&self) -> MutexGuard<'_, WebrtcState> {
        lock(&self.state)
    }
    pub async fn wait(&self, what: &str, condition: impl Fn(&WebrtcState) -> bool) -> Result<()> {
        wait_until(&self.config.join.session_id, what, PATIENCE, &self.state, condition).await;
        Ok(())
    }
    /// Waits for packets of a track of a sender with this payload.
    pub async fn wait_heard(&self, kind: &str, sender: &str, payload: &[u8]) -> Result<()> {
        let id = format!("{kind}_{sender}_");
        let heard = |(track, heard): (&String, &Heard)| {
            track.starts_with(&id) && heard.stream == sender && heard.packets > 5 && heard.last.ends_with(payload)
        };
        self.wait(&format!("{kind} of {sender}"), |state| state.tracks.iter().any(heard)).await
    }
    /// A microphone that says `payload` every 20 ms.
    pub fn add_voice(&self, payload: &'static [u8]) {
        let track = track(RtpCodecKind::Audio, "webrtc-voice");
        let _ = self.todo.send(track.clone());
        stream(track, 111, 960, payload);
    }
    /// A camera that shows a VP8 frame every 20 ms.
    pub fn add_video(&self, frame: &'static [u8]) {
        let name = format!("camera-of-{}", self.config.join.session_id);
        self.node.rtc(&self.config.join, rtc::VIDEO_ON, Some(json!({ "videoStreamID": name })));
        let track = track(RtpCodecKind::Video, &name);
        let _ = self.todo.send(track.clone());
        // A payload descriptor with S set and no extension (RFC 7741, section 4.2).
        stream(track, 96, 1800, [&[0x10], frame].concat().leak());
    }
    /// Leaves the call and waits for `close`.
    pub async fn leave(&self) -> Result<()> {
        self.node.leave(&self.config.join.session_id);
        self.wait("close", |state| state.closed).await
    }
}

impl Drop for WebrtcPeer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Handler(Shared);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        if let Ok(candidate) = event.candidate.to_json() {
            lock(&self.0).own_candidates.push(candidate);
        }
    }
    async fn on_ice_gathering_state_change(&self, state: webrtc::peer_connection::RTCIceGatheringState) {
        if state == webrtc::peer_connection::RTCIceGatheringState::Complete {
            lock(&self.0).gathered = true;
        }
    }
    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        lock(&self.0).connected = state == RTCPeerConnectionState::Connected;
    }
    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let state = self.0.clone();
        tokio::spawn(async move {
            let (id, stream) = (track.track_id().await.to_string(), track.stream_id().await.to_string());
            while let Some(event) = track.poll().await {
                if let TrackRemoteEvent::OnRtpPacket(packet) = event {
                    let mut state = lock(&state);
                    let heard = state.tracks.entry(id.clone()).or_default();
                    heard.stream.clone_from(&stream);
                    heard.packets += 1;
                    let sequence = packet.header.sequence_number;
                    heard.gaps += u64::from(heard.sequence.is_some_and(|last| last.wrapping_add(1) != sequence));
                    heard.sequence = Some(sequence);
                    heard.last = packet.payload.to_vec();
                }
            }
        });
    }
}

struct Engine {
    connection: Arc<dyn PeerConnection>,
    channel: Arc<dyn DataChannel>,
    node: Mattermost,
    config: WebrtcConfig,
    state: Shared,
    waiting: Vec<Arc<TrackLocalStaticRTP>>,
    pending: bool,
}

impl Engine {
    async fn new(
        node: Mattermost,
        config: WebrtcConfig,
        state: Shared,
    ) -> Result<(Self, mpsc::UnboundedReceiver<BytesMut>)> {
        let mut media = MediaEngine::default();
        media.register_default_codecs()?;
        let registry = register_default_interceptors(Registry::new(), &mut media)?;
        let mut settings = SettingEngineBuilder::new().with_include_loopback_candidate(true);
        if !config.profiles.is_empty() {
            settings = settings.with_srtp_protection_profiles(config.profiles.clone());
        }
        let builder = PeerConnectionBuilder::new()
            .with_media_engine(media)
            .with_interceptor_registry(registry)
            .with_setting_engine(settings.build())
            .with_handler(Arc::new(Handler(state.clone())))
            .with_udp_addrs(vec!["127.0.0.1:0".to_owned()]);
        let connection: Arc<dyn PeerConnection> = Arc::new(Box::pin(builder.build()).await?);
        let channel = connection.create_data_channel("calls-dc", None).await?;
        let (sender, messages) = mpsc::unbounded_channel();
        let (reader, opened) = (channel.clone(), state.clone());
        tokio::spawn(async move {
            while let Some(event) = reader.poll().await {
                match event {
                    DataChannelEvent::OnOpen => lock(&opened).channel_open = true,
                    // The engine has ended, and this with it.
                    DataChannelEvent::OnMessage(message) => drop(sender.send(message.data)),
                    _ => {}
                }
            }
        });
        let engine = Self { connection, channel, node, config, state, waiting: Vec::new(), pending: false };
        Ok((engine, messages))
    }

    async fn run(
        mut self,
        mut channel: mpsc::UnboundedReceiver<BytesMut>,
        mut said: mpsc::UnboundedReceiver<Received>,
        mut work: mpsc::UnboundedReceiver<Arc<TrackLocalStaticRTP>>,
    ) -> Result<()> {
        self.offer(true).await?;
        // Clients ping each second.
        let mut pings = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                _ = pings.tick() => {
                    let open = lock(&self.state).channel_open;
                    if open {
                        self.channel.send(BytesMut::from(&[1][..])).await?;
                    }
                }
                message = said.recv() => match message {
                    Some(Received::Close { .. }) => {
                        lock(&self.state).closed = true;
                        self.connection.close().await?;
                        return Ok(());
                    }
                    Some(message) => self.signalled(message).await?,
                    None => return Ok(()),
                },
                data = channel.recv() => match data {
                    Some(data) => self.channel_message(&data).await?,
                    None => std::future::pending().await,
                },
                track = work.recv() => match track {
                    Some(track) => {
                        self.waiting.push(track);
                        self.ask_lock().await?;
                    }
                    None => return Ok(()),
                },
            }
        }
    }

    async fn ask_lock(&mut self) -> Result<()> {
        Ok(self.channel.send(BytesMut::from(&[7][..])).await?)
    }

    async fn offer(&mut self, first: bool) -> Result<()> {
        for track in self.waiting.drain(..) {
            self.connection.add_track(track as Arc<dyn TrackLocal>).await?;
        }
        let offer = self.connection.create_offer(None).await?;
        self.connection.set_local_description(offer.clone()).await?;
        let mut sdp = without_candidates(&offer.sdp);
        if self.config.dtls_server {
            sdp = sdp.replace("a=setup:actpass", "a=setup:passive");
        }
        if first && self.config.candidates_first {
            self.trickle().await?;
        }
        self.pending = true;
        self.send(&json!({"type": "offer", "sdp": sdp}), first).await
    }

    /// Waits for our candidates and sends them, with an empty one at their end.
    async fn trickle(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !lock(&self.state).gathered || lock(&self.state).own_candidates.is_empty() {
            anyhow::ensure!(Instant::now() < deadline, "no candidates were gathered");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let candidates = lock(&self.state).own_candidates.clone();
        for candidate in candidates {
            self.node.rtc(&self.config.join, rtc::ICE, Some(serde_json::to_value(candidate)?));
        }
        let end = json!({"candidate": "", "sdpMid": "0", "sdpMLineIndex": 0});
        self.node.rtc(&self.config.join, rtc::ICE, Some(end));
        Ok(())
    }

    async fn send(&self, description: &Value, first: bool) -> Result<()> {
        if self.config.join.dc_signaling && !first {
            let message = channel::sdp(&description.to_string());
            self.channel.send(BytesMut::from(&message[..])).await?;
        } else {
            self.node.rtc(&self.config.join, rtc::SDP, Some(description.clone()));
        }
        Ok(())
    }

    async fn signalled(&mut self, message: Received) -> Result<()> {
        match message {
            Received::Rtc(message) if message.kind == rtc::SDP => self.description(&message.json()).await,
            Received::Rtc(message) if message.kind == rtc::ICE => {
                lock(&self.state).candidates += 1;
                let mut candidate: RTCIceCandidateInit = serde_json::from_value(message.json()["candidate"].clone())?;
                if let Some(via) = self.config.via {
                    let mut words: Vec<String> = candidate.candidate.split(' ').map(str::to_owned).collect();
                    if words[2] != "udp" {
                        return Ok(());
                    }
                    (words[4], words[5]) = (via.ip().to_string(), via.port().to_string());
                    candidate.candidate = words.join(" ");
                }
                Ok(self.connection.add_ice_candidate(candidate).await?)
            }
            _ => Ok(()),
        }
    }

    async fn description(&mut self, message: &Value) -> Result<()> {
        // What it learns of the daemon's address it learns by trickled candidates only.
        let sdp = without_candidates(message["sdp"].as_str().context("no sdp")?);
        match message["type"].as_str() {
            Some("answer") => {
                self.pending = false;
                self.connection.set_remote_description(RTCSessionDescription::answer(sdp)?).await?;
                if lock(&self.state).channel_open {
                    self.channel.send(BytesMut::from(&[8][..])).await?;
                } else if !self.config.candidates_first {
                    self.trickle().await?;
                }
                Ok(())
            }
            Some("offer") => {
                anyhow::ensure!(!self.pending, "an offer while ours is pending");
                self.connection.set_remote_description(RTCSessionDescription::offer(sdp)?).await?;
                let answer = self.connection.create_answer(None).await?;
                self.connection.set_local_description(answer.clone()).await?;
                let sdp = without_candidates(&answer.sdp);
                self.send(&json!({"type": "answer", "sdp": sdp}), false).await?;
                lock(&self.state).offers_answered += 1;
                Ok(())
            }
            other => bail!("a description of type {other:?}"),
        }
    }

    async fn channel_message(&mut self, data: &[u8]) -> Result<()> {
        match channel::read(data)? {
            Message::Sdp(json) => self.description(&serde_json::from_str(&json)?).await,
            Message::Lock(true) if self.waiting.is_empty() => Ok(self.channel.send(BytesMut::from(&[8][..])).await?),
            Message::Lock(true) => self.offer(false).await,
            Message::Lock(false) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                self.ask_lock().await
            }
            _ => Ok(()),
        }
    }
}

fn without_candidates(sdp: &str) -> String {
    let keep = |line: &&str| !line.starts_with("a=candidate") && !line.starts_with("a=end-of-candidates");
    sdp.lines().filter(keep).flat_map(|line| [line, "\r\n"]).collect()
}
