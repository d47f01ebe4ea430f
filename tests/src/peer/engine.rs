//! The life of a str0m participant: socket, clock, signalling and what a test wants, in one loop.
mod hearing;
mod negotiation;

use super::link::{Link, Loss};
use super::{Do, PeerConfig, State};
use crate::mattermost::Mattermost;
use crate::plugin::{Received, rtc};
use anyhow::{Context as _, Result};
use negotiation::Change;
use serde_json::json;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use str0m::change::SdpPendingOffer;
use str0m::channel::ChannelId;
use str0m::media::{MediaTime, Mid, Rid};
use str0m::net::{Protocol, Receive, TcpType};
use str0m::{Candidate, Input, Output, Rtc, RtcConfig};
use tokio::sync::mpsc;

/// Clients ping each second.
const PING: Duration = Duration::from_secs(1);
/// How long to wait before the lock is asked for again.
const LOCK_RETRY: Duration = Duration::from_millis(100);

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
