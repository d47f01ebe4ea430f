//! The life of a str0m participant: socket, clock, signalling and what a test wants, in one loop.
use super::link::{Link, Loss};
use super::msgpack::{self, Message};
use super::{Do, PeerConfig, State, lock, sdp};
use crate::mattermost::Mattermost;
use crate::plugin::{Received, rtc};
use anyhow::{Context as _, Result, anyhow};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::channel::ChannelId;
use str0m::media::{Direction, MediaKind, MediaTime, Mid, Rid, Simulcast, SimulcastLayer};
use str0m::net::{Protocol, Receive, TcpType};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};
use tokio::sync::mpsc;

/// Clients ping each second.
const PING: Duration = Duration::from_secs(1);
/// How long to wait before the lock is asked for again.
const LOCK_RETRY: Duration = Duration::from_millis(100);

#[derive(Clone)]
enum Change {
    /// What is received in it is called `sendrecv`, as web clients do with all pictures.
    SendRecv {
        mid: Mid,
    },
    Add {
        name: String,
        kind: MediaKind,
        stream: String,
        rids: Vec<&'static str>,
        codec: Option<&'static str>,
    },
    Stop {
        name: String,
    },
    RestartIce,
}

pub(super) struct Engine {
    rtc: Rtc,
    link: Link,
    local: SocketAddr,
    protocol: Protocol,
    node: Mattermost,
    config: PeerConfig,
    state: Arc<Mutex<State>>,
    channel: Option<ChannelId>,
    mids: HashMap<String, Mid>,
    changes: VecDeque<Change>,
    pending: Option<SdpPendingOffer>,
    /// What the pending offer is about: to be offered again if it is taken back.
    offered: Vec<Change>,
    ping_at: Instant,
    /// When to ask for the lock.
    ask_at: Option<Instant>,
    asked: bool,
    map: HashMap<String, (String, String)>,
    started: Instant,
    plug_pulled: bool,
    /// The only codec of a section of ours, by mid.
    codecs: HashMap<String, &'static str>,
    lost_in: Loss,
    lost_out: Loss,
}

impl Engine {
    pub(super) async fn new(
        node: Mattermost,
        config: PeerConfig,
        state: Arc<Mutex<State>>,
        media: SocketAddr,
    ) -> Result<Self> {
        let link = if config.tcp { Link::tcp(media).await? } else { Link::udp().await? };
        let local = link.local()?;
        let now = Instant::now();
        let (lost_in, lost_out) = (Loss::every(config.drop_incoming), Loss::every(config.drop_outgoing));
        let mut rtc = RtcConfig::new().set_stats_interval(Some(Duration::from_millis(500))).build(now);
        let candidate = if config.tcp {
            Candidate::builder().tcp().host(local).tcptype(TcpType::Active).build()?
        } else {
            Candidate::host(local, "udp")?
        };
        rtc.add_local_candidate(candidate);
        let protocol = if config.tcp { Protocol::Tcp } else { Protocol::Udp };
        Ok(Self {
            rtc,
            link,
            local,
            protocol,
            node,
            config,
            state,
            channel: None,
            mids: HashMap::new(),
            changes: VecDeque::new(),
            pending: None,
            offered: Vec::new(),
            ping_at: now + PING,
            ask_at: None,
            asked: false,
            map: HashMap::new(),
            started: now,
            plug_pulled: false,
            codecs: HashMap::new(),
            lost_in,
            lost_out,
        })
    }

    pub(super) async fn run(
        mut self,
        mut work: mpsc::UnboundedReceiver<Do>,
        mut said: mpsc::UnboundedReceiver<Received>,
    ) -> Result<()> {
        let mut api = self.rtc.sdp_api();
        let channel = api.add_channel("calls-dc".into());
        let (offer, pending) = api.apply().context("nothing to offer")?;
        self.pending = Some(pending);
        self.channel = Some(channel);
        // Candidates are known at once, and travel ahead of the offer.
        let line = format!("candidate:1 1 udp 2130706431 {} {} typ host", self.local.ip(), self.local.port());
        let candidate = json!({"candidate": line, "sdpMid": "0", "sdpMLineIndex": 0});
        self.node.rtc(&self.config.join, rtc::ICE, Some(candidate));
        self.send_offer(offer, true);
        loop {
            let timeout = self.drain().await?;
            if !self.rtc.is_alive() {
                // The daemon said goodbye; Mattermost hears of it in its own way.
                while let Some(message) = said.recv().await {
                    if matches!(message, Received::Close { .. }) {
                        self.signalled(message)?;
                    }
                }
                return Ok(());
            }
            let now = Instant::now();
            if self.ask_at.is_some_and(|at| at <= now) {
                self.ask_at = None;
                self.asked = true;
                self.write_channel(false, &[7]);
                continue;
            }
            if self.ping_at <= now && !self.config.manual_lock {
                self.ping_at = now + PING;
                self.write_channel(false, &[1]);
                continue;
            }
            let wake = self.ask_at.map_or(timeout, |at| at.min(timeout)).min(self.ping_at.max(now + PING / 10));
            tokio::select! {
                () = tokio::time::sleep_until(wake.into()) => self.rtc.handle_input(Input::Timeout(Instant::now()))?,
                datagram = self.link.receive() => {
                    let (from, datagram) = datagram?;
                    if self.plug_pulled || self.lost_in.takes(&datagram) {
                        continue;
                    }
                    // In TCP the daemon's address is the one that was dialled.
                    let (proto, contents) = (self.protocol, datagram.as_slice().try_into());
                    if let Ok(contents) = contents {
                        let receive = Receive { proto, source: from, destination: self.local, contents };
                        self.rtc.handle_input(Input::Receive(Instant::now(), receive))?;
                    }
                }
                message = said.recv() => match message {
                    Some(message) => self.signalled(message)?,
                    None => return Ok(()),
                },
                what = work.recv() => match what {
                    None | Some(Do::Vanish) => return Ok(()),
                    Some(what) => self.told(what)?,
                },
            }
        }
    }

    async fn drain(&mut self) -> Result<Instant> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(at) => return Ok(at),
                Output::Transmit(out) if self.plug_pulled || self.lost_out.takes(&out.contents) => drop(out),
                Output::Transmit(out) => self.link.send(out.destination, &out.contents).await?,
                Output::Event(event) => self.event(event)?,
            }
        }
    }

    fn event(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Connected => lock(&self.state).connected = true,
            Event::ChannelOpen(id, _) => {
                self.channel = Some(id);
                lock(&self.state).channel_open = true;
                self.want_to_offer();
            }
            Event::ChannelData(data) if data.binary => self.channel_message(&data.data)?,
            Event::ChannelData(data) => {
                lock(&self.state).texts.push(String::from_utf8_lossy(&data.data).into_owned());
            }
            Event::MediaAdded(added) => {
                self.media_changed(added.mid, added.direction);
                if added.kind == MediaKind::Video && added.direction == Direction::RecvOnly {
                    self.changes.push_back(Change::SendRecv { mid: added.mid });
                    self.want_to_offer();
                }
            }
            Event::MediaChanged(changed) => self.media_changed(changed.mid, changed.direction),
            Event::MediaData(data) => {
                let mut state = lock(&self.state);
                let track = state.tracks.entry(data.mid.to_string()).or_default();
                track.frames += 1;
                track.gaps += u64::from(!data.contiguous);
                track.codec = format!("{:?}", data.params.spec().codec);
                track.keyframes += u64::from(data.data.first().is_some_and(|first| first & 1 == 0));
                track.last = data.data.to_vec();
                track.sender_reports |= data.last_sender_info.is_some();
            }
            Event::MediaEgressStats(stats) => {
                let mut state = lock(&self.state);
                state.nacks = state.nacks.max(stats.nacks);
            }
            _ => {}
        }
        Ok(())
    }

    fn media_changed(&mut self, mid: Mid, direction: Direction) {
        // Without RTX str0m asks for nothing unless it is told to.
        if self.config.drop_incoming.is_some()
            && let Some(stream) = self.rtc.direct_api().stream_rx_by_mid(mid, None)
        {
            stream.suppress_nack(false);
        }
        let mut state = lock(&self.state);
        let track = state.tracks.entry(mid.to_string()).or_default();
        track.live = direction.is_receiving();
        if let Some((kind, sender)) = self.map.get(&mid.to_string()) {
            if track.sender != *sender || track.kind != *kind {
                (track.frames, track.gaps, track.keyframes) = (0, 0, 0);
            }
            (track.kind, track.sender) = (kind.clone(), sender.clone());
        }
    }

    fn channel_message(&mut self, data: &[u8]) -> Result<()> {
        match msgpack::read(data)? {
            Message::Ping => self.write_channel(false, &[2]),
            Message::Pong => lock(&self.state).pongs += 1,
            Message::Sdp(json) => self.description(&serde_json::from_str(&json)?, true)?,
            Message::Lock(granted) if self.config.manual_lock => lock(&self.state).locks.push(granted),
            Message::Lock(granted) => {
                self.asked = false;
                if granted {
                    self.offer()?;
                } else {
                    self.ask_at = Some(Instant::now() + LOCK_RETRY);
                }
            }
            Message::MediaMap(map) => {
                self.map = map;
                let mut state = lock(&self.state);
                state.media_maps += 1;
                // An offer over the WebSocket may overtake its map.
                for (mid, track) in state.tracks.iter_mut().filter(|(_, track)| track.kind.is_empty()) {
                    if let Some((kind, sender)) = self.map.get(mid) {
                        (track.kind, track.sender) = (kind.clone(), sender.clone());
                    }
                }
            }
            Message::Other(other) => return Err(anyhow!("unknown channel message {other}")),
        }
        Ok(())
    }

    fn signalled(&mut self, message: Received) -> Result<()> {
        match message {
            Received::Rtc(message) if message.kind == rtc::SDP => self.description(&message.json(), false)?,
            Received::Rtc(message) if message.kind == rtc::ICE => {
                let candidate = &message.json()["candidate"];
                let line = candidate["candidate"].as_str().context("no candidate")?;
                lock(&self.state).candidates += 1;
                if line.contains(if self.config.tcp { " tcp " } else { " udp " }) {
                    self.rtc.add_remote_candidate(Candidate::from_sdp_string(line)?);
                }
            }
            Received::Rtc(message) => return Err(anyhow!("unexpected rtc message {}", message.kind)),
            Received::Vad(message) => lock(&self.state).vad.push(message.kind == rtc::VOICE_ON),
            Received::Close { .. } => lock(&self.state).closed += 1,
        }
        Ok(())
    }

    fn description(&mut self, message: &Value, over_channel: bool) -> Result<()> {
        let sdp = message["sdp"].as_str().context("no sdp")?;
        // str0m hands out candidates of both protocols; only one of them has a socket here.
        let other = if self.config.tcp { " udp " } else { " tcp " };
        let keep = |line: &&str| !(line.starts_with("a=candidate") && line.contains(other));
        let sdp: String = sdp.lines().filter(keep).flat_map(|line| [line, "\r\n"]).collect();
        match message["type"].as_str() {
            Some("answer") => {
                lock(&self.state).last_exchange.1.clone_from(&sdp);
                let pending = self.pending.take().context("an answer without an offer")?;
                self.rtc.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(&sdp)?)?;
                if self.config.role_conflict && !lock(&self.state).connected {
                    self.rtc.direct_api().set_ice_controlling(false);
                }
                self.offered.clear();
                if lock(&self.state).channel_open && !self.config.manual_lock {
                    self.write_channel(false, &[8]);
                    // What is still to be said is said right behind it, without the lock.
                    if !self.changes.is_empty() {
                        return self.offer();
                    }
                }
                self.want_to_offer();
            }
            Some("offer") => {
                lock(&self.state).unannounced += sdp::unannounced(&sdp, &self.map);
                // We are the polite side: ours is taken back and made again.
                if self.pending.take().is_some() {
                    self.offered.drain(..).rev().for_each(|change| self.changes.push_front(change));
                }
                let answer = self.rtc.sdp_api().accept_offer(SdpOffer::from_sdp_string(&sdp)?)?;
                let answer = json!({"type": "answer", "sdp": answer.to_sdp_string()});
                self.send_description(&answer, over_channel);
                lock(&self.state).offers_answered += 1;
                self.want_to_offer();
            }
            other => return Err(anyhow!("a description of type {other:?}")),
        }
        Ok(())
    }

    fn want_to_offer(&mut self) {
        if self.config.manual_lock {
            return;
        }
        let open = lock(&self.state).channel_open;
        if !self.changes.is_empty() && open && self.pending.is_none() && !self.asked && self.ask_at.is_none() {
            self.ask_at = Some(Instant::now());
        }
    }

    fn offer(&mut self) -> Result<()> {
        self.offered = self.changes.drain(..).collect();
        let mut api = self.rtc.sdp_api();
        for change in self.offered.clone() {
            match change {
                Change::SendRecv { mid } => api.set_direction(mid, Direction::SendRecv),
                Change::RestartIce => drop(api.ice_restart(true)),
                Change::Add { name, kind, stream, rids, codec } => {
                    let layer = |rid: &&'static str| SimulcastLayer { rid: Rid::from(*rid), attributes: None };
                    let simulcast = (!rids.is_empty())
                        .then(|| Simulcast { send: rids.iter().map(layer).collect(), recv: Vec::new() });
                    let track = format!("track-{name}");
                    let mid = api.add_media(kind, Direction::SendOnly, Some(stream), Some(track), simulcast);
                    self.mids.insert(name, mid);
                    self.codecs.extend(codec.map(|codec| (mid.to_string(), codec)));
                }
                Change::Stop { name } => {
                    if let Some(mid) = self.mids.remove(&name) {
                        api.set_direction(mid, Direction::Inactive);
                    }
                }
            }
        }
        match api.apply() {
            Some((offer, pending)) => {
                self.pending = Some(pending);
                self.send_offer(offer, false);
            }
            None => self.write_channel(false, &[8]),
        }
        Ok(())
    }

    fn send_offer(&mut self, offer: SdpOffer, first: bool) {
        let mut sdp = sdp::only_codecs(&offer.to_sdp_string(), &self.codecs);
        if self.config.dtls_server {
            sdp = sdp.replace("a=setup:actpass", "a=setup:passive");
        }
        lock(&self.state).last_exchange.0.clone_from(&sdp);
        let over_channel = self.config.join.dc_signaling && !first;
        self.send_description(&json!({"type": "offer", "sdp": sdp}), over_channel);
    }

    fn send_description(&mut self, description: &Value, over_channel: bool) {
        if over_channel {
            let message = msgpack::sdp(&description.to_string());
            self.write_channel(false, &message);
        } else {
            self.node.rtc(&self.config.join, rtc::SDP, Some(description.clone()));
        }
    }

    fn told(&mut self, what: Do) -> Result<()> {
        match what {
            Do::AddTrack { name, kind, stream, rids, codec } => {
                self.changes.push_back(Change::Add { name, kind, stream, rids, codec });
                self.want_to_offer();
            }
            Do::StopTrack { name } => {
                self.changes.push_back(Change::Stop { name });
                self.want_to_offer();
            }
            Do::RestartIce => {
                self.changes.push_back(Change::RestartIce);
                self.want_to_offer();
            }
            Do::Frame { name, rid, codec, data, level } => self.frame(&name, rid, codec, &data, level),
            Do::Channel { text, data } => self.write_channel(text, &data),
            Do::Disconnect => self.rtc.close()?,
            Do::PullPlug => self.plug_pulled = true,
            Do::Vanish => {}
        }
        Ok(())
    }

    fn frame(&mut self, name: &str, rid: Option<&'static str>, codec: Option<&'static str>, data: &[u8], level: i8) {
        let Some(mid) = self.mids.get(name).copied() else { return };
        let (elapsed, now) = (self.started.elapsed(), Instant::now());
        let Some(writer) = self.rtc.writer(mid) else { return };
        let codec = codec.or(self.codecs.get(&mid.to_string()).copied());
        let fits = |name: String| codec.is_none_or(|codec| name.eq_ignore_ascii_case(codec));
        let params = writer.payload_params().find(|params| fits(format!("{:?}", params.spec().codec)));
        let Some(pt) = params.map(|params| params.pt()) else { return };
        let writer = writer.audio_level(level, true);
        let writer = if let Some(rid) = rid { writer.rid(Rid::from(rid)) } else { writer };
        // Before the connection is up frames are dropped.
        let _ = writer.write(pt, now, MediaTime::from(elapsed), data.to_vec());
    }

    fn write_channel(&mut self, text: bool, data: &[u8]) {
        if let Some(mut channel) = self.channel.and_then(|id| self.rtc.channel(id)) {
            let _ = channel.write(!text, data);
        }
    }
}
