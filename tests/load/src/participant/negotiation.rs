//! Descriptions: what a participant offers, and what it answers.
use super::Around;
use super::core::{Core, LOCK_RETRY};
use crate::channel;
use crate::signal::rtc;
use crate::traffic::Source;
use crate::trailer::Kind;
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use str0m::change::{SdpAnswer, SdpOffer};
use str0m::media::{Direction, MediaKind, Mid, Rid, Simulcast, SimulcastLayer};

/// A browser's encoder needs some time for its first picture; that is what lets ScreenOn and VideoOn, which come over the
/// WebSocket, be there before the first packet.
const ENCODER: Duration = Duration::from_millis(200);
/// Participants do not all send their pictures in the same moment: each begins so much later than the one before it.
const STAGGER: Duration = Duration::from_micros(1370);

/// One of the sections of the participant's spec that it wants to offer.
#[derive(Clone, Copy)]
pub(super) struct Change {
    pub(super) section: usize,
}

impl Core {
    /// The first offer: the data channel alone, over the WebSocket.
    pub(super) fn offer_channel(&mut self, around: &Around<'_>) -> Result<()> {
        let mut api = self.rtc.sdp_api();
        self.channel = Some(api.add_channel("calls-dc".into()));
        let (offer, pending) = api.apply().context("there is nothing to offer")?;
        self.pending = Some(pending);
        let offer = json!({"type": "offer", "sdp": offer.to_sdp_string()});
        self.say(rtc::SDP, Some(offer.to_string()), around)
    }

    pub(super) fn description(
        &mut self,
        now: Instant,
        message: &Value,
        over_channel: bool,
        around: &Around<'_>,
    ) -> Result<()> {
        let sdp = message["sdp"].as_str().context("a description without sdp")?;
        let mut kept = String::with_capacity(sdp.len());
        for line in sdp.lines() {
            match line.strip_prefix("a=candidate:") {
                // str0m would check those of all protocols, and there is one socket.
                Some(_) if !self.fits(line) => {}
                _ => kept.extend([line, "\r\n"]),
            }
        }
        match message["type"].as_str() {
            Some("answer") => self.answered(now, &kept, around),
            Some("offer") => {
                // We are the polite side: ours is taken back and made again.
                self.take_back();
                let answer = self.rtc.sdp_api().accept_offer(SdpOffer::from_sdp_string(&kept)?)?;
                let answer = json!({"type": "answer", "sdp": answer.to_sdp_string()});
                self.describe(&answer.to_string(), over_channel, around)?;
                self.want_to_offer(now);
                Ok(())
            }
            other => bail!("a description of type {other:?}"),
        }
    }

    /// A pending offer of ours is void; what it was about is to be offered again.
    pub(super) fn take_back(&mut self) {
        if self.pending.take().is_some() {
            self.sections.clear();
            self.changes.append(&mut self.offered);
        }
    }

    fn answered(&mut self, now: Instant, sdp: &str, around: &Around<'_>) -> Result<()> {
        // One that has been taken back by now.
        let Some(pending) = self.pending.take() else { return Ok(()) };
        self.rtc.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(sdp)?)?;
        if self.open_at.is_none() {
            return Ok(());
        }
        self.write_channel(&channel::UNLOCK);
        for change in std::mem::take(&mut self.offered) {
            match self.spec.sections[change.section][0].kind {
                Kind::Voice => self.say(rtc::UNMUTE, None, around)?,
                // After the offer that carries it.
                Kind::Camera => {
                    let stream = json!({ "videoStreamID": self.stream_id(change.section) });
                    self.say(rtc::VIDEO_ON, Some(stream.to_string()), around)?;
                }
                Kind::Screen => {}
            }
        }
        for (mid, section) in std::mem::take(&mut self.sections) {
            self.begin(now, mid, section);
        }
        self.publishing = self.changes.is_empty();
        self.want_to_offer(now);
        Ok(())
    }

    /// Packets of a section flow from now on.
    fn begin(&mut self, now: Instant, mid: Mid, section: usize) {
        let video = self.spec.sections[section][0].kind.is_video();
        let Some(media) = self.rtc.media(mid) else { return };
        let remote = media.remote_pts().to_vec();
        let params = self.rtc.codec_config().iter().find(|params| {
            params.spec().codec.is_video() == video && (remote.is_empty() || remote.contains(&params.pt()))
        });
        let Some(pt) = params.map(|params| params.pt()) else { return };
        // Within a picture's time.
        let later = ENCODER + STAGGER * (self.spec.number % 36);
        for shape in &self.spec.sections[section] {
            self.sources.push(Source::new(*shape, self.spec.call, self.spec.number, mid, pt, now + later));
        }
    }

    pub(super) fn want_to_offer(&mut self, now: Instant) {
        let free = self.pending.is_none() && !self.asked && self.ask_at.is_none();
        if !self.changes.is_empty() && self.open_at.is_some() && free {
            self.ask_at = Some(now);
        }
    }

    /// Says what is going to be shown, ahead of the offer that carries it.
    pub(super) fn announce(&self, around: &Around<'_>) -> Result<()> {
        for change in &self.changes {
            if self.spec.sections[change.section][0].kind == Kind::Screen {
                let stream = json!({ "screenStreamID": self.stream_id(change.section) });
                self.say(rtc::SCREEN_ON, Some(stream.to_string()), around)?;
            }
        }
        Ok(())
    }

    /// The server gave the lock, or did not.
    pub(super) fn lock(&mut self, now: Instant, granted: bool, around: &Around<'_>) -> Result<()> {
        self.asked = false;
        self.ask_at = None;
        if granted {
            self.offer(now, around)
        } else {
            self.ask_at = Some(now + LOCK_RETRY);
            Ok(())
        }
    }

    fn offer(&mut self, now: Instant, around: &Around<'_>) -> Result<()> {
        self.offered = std::mem::take(&mut self.changes);
        self.offered_at = now;
        let mut sections = Vec::new();
        let streams: Vec<String> = self.offered.iter().map(|change| self.stream_id(change.section)).collect();
        let mut api = self.rtc.sdp_api();
        for (change, stream) in self.offered.iter().zip(streams) {
            let shapes = &self.spec.sections[change.section];
            let kind = if shapes[0].kind.is_video() { MediaKind::Video } else { MediaKind::Audio };
            let layers: Vec<_> = shapes
                .iter()
                .filter_map(|shape| Some(SimulcastLayer { rid: Rid::from(shape.rid?), attributes: None }))
                .collect();
            let simulcast = (!layers.is_empty()).then(|| Simulcast { send: layers, recv: Vec::new() });
            let track = format!("track-of-{stream}");
            sections
                .push((api.add_media(kind, Direction::SendOnly, Some(stream), Some(track), simulcast), change.section));
        }
        let applied = api.apply();
        self.sections = sections;
        let Some((offer, pending)) = applied else {
            self.write_channel(&channel::UNLOCK);
            return Ok(());
        };
        self.pending = Some(pending);
        let offer = json!({"type": "offer", "sdp": offer.to_sdp_string()});
        self.describe(&offer.to_string(), true, around)
    }

    fn describe(&mut self, json: &str, over_channel: bool, around: &Around<'_>) -> Result<()> {
        if over_channel {
            self.write_channel(&channel::sdp(json));
            return Ok(());
        }
        self.say(rtc::SDP, Some(json.to_owned()), around)
    }

    fn stream_id(&self, section: usize) -> String {
        format!("{:?}-of-{}", self.spec.sections[section][0].kind, self.spec.who.session_id)
    }
}
