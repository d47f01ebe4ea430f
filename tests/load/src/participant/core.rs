//! What a participant is without its socket: str0m, what it wants to offer, what it sends and what it hears.
use super::negotiation::Change;
use super::{Around, Spec};
use crate::channel;
use crate::node::Say;
use crate::signal::rtc;
use crate::tally::Tally;
use crate::traffic::Source;
use anyhow::Result;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use str0m::change::SdpPendingOffer;
use str0m::channel::ChannelId;
use str0m::media::Mid;
use str0m::net::{Protocol, Receive, Transmit};
use str0m::{Candidate, Input, Output, Rtc, RtcConfig};

/// Clients ping each second.
const PING: Duration = Duration::from_secs(1);
/// How long to wait before the lock is asked for again.
pub(super) const LOCK_RETRY: Duration = Duration::from_millis(100);
/// How long the answer to an offer may take before it is taken back and made again: what holds the lock for longer loses it.
const OFFER_PATIENCE: Duration = Duration::from_secs(10);
/// How long an answer of the lock may take before it is asked for anew.
pub(super) const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// str0m wants to be called at once for much that has time; so much later a packet has come, most of the times, and has done it.
const SOON: Duration = Duration::from_millis(5);

/// Video that was announced, and whose first key frame has not come.
#[derive(Clone, Copy)]
pub(super) struct Awaited {
    pub(super) mid: Mid,
    pub(super) since: Instant,
    /// When it was asked for last.
    pub(super) asked_at: Option<Instant>,
}

/// A datagram from the network, as far as its outside tells.
#[derive(Clone, Copy)]
pub(super) struct Outside {
    pub(super) at: Instant,
    /// What SRTP shows of its stream.
    pub(super) ssrc: u32,
}

/// All of a participant but its socket.
pub struct Core {
    /// Who.
    pub spec: Spec,
    /// What it has heard.
    pub tally: Tally,
    /// What it sends.
    pub sources: Vec<Source>,
    /// When it said that it joins.
    pub joined_at: Instant,
    /// When its data channel opened.
    pub open_at: Option<Instant>,
    /// All that it sends is flowing.
    pub publishing: bool,
    /// The server said that the session has ended.
    pub closed: bool,
    /// The media port that it wants a TCP connection to.
    pub connect_to: Option<SocketAddr>,
    /// The one that it has taken.
    pub(super) tcp_remote: Option<SocketAddr>,
    pub(super) outgoing: Vec<Transmit>,
    pub(super) wake_at: Instant,
    pub(super) rtc: Rtc,
    pub(super) channel: Option<ChannelId>,
    pub(super) pending: Option<SdpPendingOffer>,
    pub(super) changes: Vec<Change>,
    /// What the pending offer is about: offered again if it is taken back.
    pub(super) offered: Vec<Change>,
    /// Video that was announced, and whose first key frame is waited for.
    pub(super) awaited: Vec<Awaited>,
    /// Video whose first key frame has come.
    pub(super) shown: Vec<Mid>,
    /// What was offered with these sections flows when the answer has come.
    pub(super) sections: Vec<(Mid, usize)>,
    /// When the lock is asked for.
    pub(super) ask_at: Option<Instant>,
    /// It has been asked for.
    pub(super) asked: bool,
    /// The last RTCP packet to the server: it may have asked for what is missing.
    pub(super) feedback_at: Option<Instant>,
    /// When the pending offer was made.
    pub(super) offered_at: Instant,
    ping_at: Instant,
    rtc_at: Instant,
}

impl Core {
    pub(super) fn new(spec: Spec, candidate: Option<Candidate>, now: Instant, around: &Around<'_>) -> Result<Self> {
        // What browsers of Calls speak; other codecs would only make the descriptions longer.
        let config = RtcConfig::new().clear_codecs().enable_opus(true, false).enable_vp8(true).set_rtp_mode(true);
        let mut core = Self {
            changes: (0..spec.sections.len()).map(|section| Change { section }).collect(),
            spec,
            tally: Tally::default(),
            sources: Vec::new(),
            joined_at: now,
            open_at: None,
            publishing: false,
            closed: false,
            connect_to: None,
            tcp_remote: None,
            outgoing: Vec::new(),
            wake_at: now,
            rtc: config.build(now),
            channel: None,
            pending: None,
            offered: Vec::new(),
            awaited: Vec::new(),
            shown: Vec::new(),
            sections: Vec::new(),
            ask_at: None,
            asked: false,
            feedback_at: None,
            offered_at: now,
            ping_at: now + PING,
            rtc_at: now,
        };
        around.say(Say::Join { who: core.spec.who.clone(), player: around.player, slot: around.slot })?;
        if let Some(candidate) = candidate {
            // It is known at once, and travels ahead of the offer.
            let line = serde_json::json!({"candidate": candidate.to_sdp_string(), "sdpMid": "0", "sdpMLineIndex": 0});
            core.say(rtc::ICE, Some(line.to_string()), around)?;
            core.add_local(candidate);
        }
        core.offer_channel(around)?;
        Ok(core)
    }

    pub(super) fn add_local(&mut self, candidate: Candidate) {
        self.rtc.add_local_candidate(candidate);
    }

    pub(super) fn say(&self, kind: i64, data: Option<String>, around: &Around<'_>) -> Result<()> {
        around.say(Say::Rtc { who: self.spec.who.clone(), kind, data })
    }

    /// Something has come from the network.
    pub(super) fn datagram(
        &mut self,
        now: Instant,
        proto: Protocol,
        source: SocketAddr,
        destination: SocketAddr,
        bytes: &[u8],
        around: &mut Around<'_>,
    ) -> Result<()> {
        let Ok(contents) = bytes.try_into() else { return Ok(()) };
        self.rtc.handle_input(Input::Receive(now, Receive { proto, source, destination, contents }))?;
        let ssrc = bytes.get(8..12).and_then(|ssrc| ssrc.try_into().ok()).map_or(0, u32::from_be_bytes);
        self.drain(Outside { at: now, ssrc }, around)?;
        self.wake_at = self.next_wake(now);
        Ok(())
    }

    /// Does what is due.
    pub(super) fn timeout(&mut self, now: Instant, around: &mut Around<'_>) -> Result<()> {
        if self.ping_at <= now {
            self.ping_at = now + PING;
            self.write_channel(&channel::PING);
        }
        if self.open_at.is_some() && self.pending.is_some() && self.offered_at + OFFER_PATIENCE <= now {
            around.measured.unanswered += 1;
            self.take_back();
            self.write_channel(&channel::UNLOCK);
            self.want_to_offer(now);
        }
        if self.ask_at.is_some_and(|at| at <= now) {
            // An answer that never comes: asked again.
            self.ask_at = Some(now + LOCK_PATIENCE);
            self.asked = true;
            self.write_channel(&channel::LOCK);
        }
        for source in &mut self.sources {
            if source.next_at <= now {
                source.send(&mut self.rtc, now, around.window);
            }
        }
        self.rtc.handle_input(Input::Timeout(now))?;
        self.drain(Outside { at: now, ssrc: 0 }, around)?;
        self.wake_at = self.next_wake(now);
        Ok(())
    }

    fn drain(&mut self, outside: Outside, around: &mut Around<'_>) -> Result<()> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(at) => {
                    self.rtc_at = at;
                    return Ok(());
                }
                Output::Transmit(transmit) => {
                    // RTCP, by RFC 5761.
                    if matches!(&*transmit.contents, [128..=191, 192..=223, ..]) {
                        self.feedback_at = Some(outside.at);
                    }
                    self.outgoing.push(transmit);
                }
                Output::Event(event) => self.event(event, outside, around)?,
            }
        }
    }

    fn next_wake(&self, now: Instant) -> Instant {
        let mut wake = self.rtc_at.max(now + SOON).min(self.ping_at);
        if let Some(at) = self.ask_at {
            wake = wake.min(at);
        }
        self.sources.iter().fold(wake, |wake, source| wake.min(source.next_at))
    }

    /// What keeps it from sending what it should.
    pub fn waits_for(&self) -> &'static str {
        match (self.pending.is_some(), self.asked) {
            (true, _) => "its offer was not answered",
            (false, true) => "its wish for the signalling lock was not answered",
            (false, false) => "it was refused the signalling lock again and again",
        }
    }

    /// Whether str0m has given up, or said goodbye.
    pub fn is_alive(&self) -> bool {
        self.rtc.is_alive()
    }

    pub(super) fn write_channel(&mut self, data: &[u8]) {
        if let Some(mut channel) = self.channel.and_then(|id| self.rtc.channel(id)) {
            let _ = channel.write(true, data);
        }
    }
}
