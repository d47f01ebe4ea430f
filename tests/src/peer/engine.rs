//! The life of a str0m participant: socket, clock, signalling and what a test wants, in one loop.
mod hearing;
mod negotiation;

use super::link::{Datagram, Links, Loss, is_media};
use super::{Do, PeerConfig, State, lock};
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
use str0m::net::{Protocol, Receive};
use str0m::{Input, Output, Rtc, RtcConfig};
use tokio::sync::mpsc;

/// Clients ping each second.
const PING: Duration = Duration::from_secs(1);
/// How long to wait before the lock is asked for again.
const LOCK_RETRY: Duration = Duration::from_millis(100);

pub(super) struct Engine {
    rtc: Rtc,
    links: Links,
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
    /// What comes over these or would leave over them is swallowed.
    dark: Vec<Protocol>,
    /// The only codec of a section of ours, by mid.
    codecs: HashMap<String, &'static str>,
    lost: Loss,
}

impl Engine {
    pub(super) async fn new(
        node: Mattermost,
        config: PeerConfig,
        state: Arc<Mutex<State>>,
        media: SocketAddr,
    ) -> Result<Self> {
        let links = Links::open(&config, media).await?;
        let now = Instant::now();
        let lost = Loss::every(config.drop_incoming);
        let mut settings = RtcConfig::new();
        if config.udp && config.tcp {
            // With another path at hand browsers give one up in seconds: here after eight checks in some three.
            settings.set_initial_stun_rto(Duration::from_millis(100));
            settings.set_max_stun_rto(Duration::from_millis(500));
            settings.set_max_stun_retransmits(8);
        }
        let mut rtc = settings.build(now);
        for candidate in links.candidates()? {
            rtc.add_local_candidate(candidate);
        }
        Ok(Self {
            rtc,
            links,
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
            dark: Vec::new(),
            codecs: HashMap::new(),
            lost,
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
        for candidate in self.links.candidates()? {
            let candidate = json!({"candidate": candidate.to_sdp_string(), "sdpMid": "0", "sdpMLineIndex": 0});
            self.node.rtc(&self.config.join, rtc::ICE, Some(candidate));
        }
        self.send_offer(offer, true);
        loop {
            let timeout = self.drain().await?;
            if !self.rtc.is_alive() {
                return self.wait_close(said).await;
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
                datagram = self.links.receive() => match datagram {
                    Ok(datagram) => self.received(datagram)?,
                    Err(error) => {
                        lock(&self.state).error = Some(format!("{error:#}"));
                        return self.wait_close(said).await;
                    }
                },
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

    /// The daemon said goodbye; Mattermost hears of it in its own way, maybe later.
    async fn wait_close(&mut self, mut said: mpsc::UnboundedReceiver<Received>) -> Result<()> {
        while let Some(message) = said.recv().await {
            if matches!(message, Received::Close { .. }) {
                self.signalled(message)?;
            }
        }
        Ok(())
    }

    fn received(&mut self, datagram: Datagram) -> Result<()> {
        let Datagram { protocol: proto, from: source, to: destination, bytes } = datagram;
        if self.dark.contains(&proto) || self.lost.takes(&bytes) {
            return Ok(());
        }
        if is_media(&bytes) {
            let mut state = lock(&self.state);
            let count = if proto == Protocol::Tcp { &mut state.media_over_tcp } else { &mut state.media_over_udp };
            *count += 1;
        }
        if let Ok(contents) = bytes.as_slice().try_into() {
            let receive = Receive { proto, source, destination, contents };
            self.rtc.handle_input(Input::Receive(Instant::now(), receive))?;
        }
        Ok(())
    }

    async fn drain(&mut self) -> Result<Instant> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(at) => return Ok(at),
                Output::Transmit(out) if self.dark.contains(&out.proto) => drop(out),
                Output::Transmit(out) => self.links.send(&out).await?,
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
            Do::Darken(protocol) => self.dark.push(protocol),
            Do::MendUdp => {
                self.dark.retain(|protocol| *protocol != Protocol::Udp);
                // The path may have been given up: it is checked anew, as browsers do when an interface is up again.
                if let Some(candidate) = self.links.udp_candidate()? {
                    self.rtc.direct_api().invalidate_candidate(&candidate);
                    self.rtc.add_local_candidate(candidate);
                }
            }
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
