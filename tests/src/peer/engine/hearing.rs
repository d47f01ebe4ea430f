//! What a str0m participant hears: from str0m, over the data channel, and from Mattermost.
use super::negotiation::Change;
use super::{Engine, LOCK_RETRY};
use crate::peer::lock;
use crate::plugin::{Received, rtc};
use anyhow::{Context as _, Result, anyhow};
use rtcd_load::channel::{self, Message};
use std::time::Instant;
use str0m::media::{Direction, MediaKind, Mid};
use str0m::{Candidate, Event};

impl Engine {
    pub(super) fn event(&mut self, event: Event) -> Result<()> {
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
        match channel::read(data)? {
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

    pub(super) fn signalled(&mut self, message: Received) -> Result<()> {
        match message {
            Received::Rtc(message) if message.kind == rtc::SDP => self.description(&message.json(), false)?,
            Received::Rtc(message) if message.kind == rtc::ICE => {
                let candidate = &message.json()["candidate"];
                let line = candidate["candidate"].as_str().context("no candidate")?;
                lock(&self.state).candidates += 1;
                if self.links.fits(line) {
                    self.rtc.add_remote_candidate(Candidate::from_sdp_string(line)?);
                }
            }
            Received::Rtc(message) => return Err(anyhow!("unexpected rtc message {}", message.kind)),
            Received::Vad(message) => lock(&self.state).vad.push(message.kind == rtc::VOICE_ON),
            Received::Close { .. } => lock(&self.state).closed += 1,
        }
        Ok(())
    }
}
