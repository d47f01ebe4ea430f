//! What a participant hears: from str0m, over the data channel and over the WebSocket.
use super::Around;
use super::core::{Awaited, Core, Outside};
use crate::channel::{self, Message};
use crate::signal::{Received, rtc};
use crate::tally::{Arrival, Verdict};
use crate::traffic::{Source, begins_key_frame};
use crate::trailer::Trailer;
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::time::{Duration, Instant};
use str0m::media::{KeyframeRequestKind, MediaKind, Mid};
use str0m::rtp::RtpPacket;
use str0m::{Candidate, Event};

/// Chromium asks for a key frame when there is none to begin with, and again so much later.
const ASK_AGAIN: Duration = Duration::from_millis(300);

impl Core {
    pub(super) fn event(&mut self, event: Event, outside: Outside, around: &mut Around<'_>) -> Result<()> {
        match event {
            Event::RtpPacket(packet) => self.packet(&packet, outside, around),
            Event::ChannelOpen(id, _) => {
                self.channel = Some(id);
                self.open_at = Some(outside.at);
                around.measured.joined((outside.at - self.joined_at).as_micros());
                self.publishing = self.changes.is_empty();
                self.announce(around)?;
                self.want_to_offer(outside.at);
            }
            Event::ChannelData(data) if data.binary => self.channel_message(&data.data, outside.at, around)?,
            // A section of ours was added by us.
            Event::MediaAdded(added) if added.direction.is_receiving() && !self.is_ours(added.mid) => {
                self.track(added.mid, added.kind == MediaKind::Video, outside.at);
            }
            Event::MediaChanged(changed) => {
                let video = self.rtc.media(changed.mid).is_some_and(|media| media.kind() == MediaKind::Video);
                if changed.direction.is_receiving() && !self.is_ours(changed.mid) {
                    self.track(changed.mid, video, outside.at);
                } else {
                    self.awaited.retain(|awaited| awaited.mid != changed.mid);
                    self.shown.retain(|shown| *shown != changed.mid);
                }
            }
            Event::KeyframeRequest(request) => {
                let wanted = self.sources.iter_mut().filter(|source| source.is(request.mid, request.rid));
                wanted.for_each(Source::want_key_frame);
            }
            _ => {}
        }
        Ok(())
    }

    fn is_ours(&self, mid: Mid) -> bool {
        self.sections.iter().any(|(ours, _)| *ours == mid) || self.sources.iter().any(|source| source.mid() == mid)
    }

    /// A track has been announced.
    fn track(&mut self, mid: Mid, video: bool, now: Instant) {
        let known = self.awaited.iter().any(|awaited| awaited.mid == mid) || self.shown.contains(&mid);
        if !video || known {
            return;
        }
        // Browsers ask for what is missing with RTX and without; str0m without it only when it is told to.
        if let Some(stream) = self.rtc.direct_api().stream_rx_by_mid(mid, None) {
            stream.suppress_nack(false);
        }
        self.awaited.push(Awaited { mid, since: now, asked_at: None });
    }

    fn packet(&mut self, packet: &RtpPacket, outside: Outside, around: &mut Around<'_>) {
        // Padding.
        if packet.payload.is_empty() {
            return;
        }
        let Some(trailer) = Trailer::read(&packet.payload) else {
            self.tally.unreadable += 1;
            return;
        };
        let key_frame = trailer.stream.kind.is_video() && begins_key_frame(&packet.payload);
        if !self.awaited.is_empty() && trailer.stream.kind.is_video() {
            self.picture(packet, key_frame, outside.at, around);
        }
        let retransmitted = *packet.header.ssrc != outside.ssrc;
        let arrival = Arrival { at: outside.at, retransmitted, key_frame, asked_at: self.feedback_at };
        let verdict = self.tally.count((self.spec.call, self.spec.number), trailer, arrival, around.window);
        if let Verdict::Measured { latency, video } = verdict {
            around.measured.packet(latency, video);
        }
    }

    /// A packet of a picture, while some first pictures are waited for.
    fn picture(&mut self, packet: &RtpPacket, key_frame: bool, now: Instant, around: &mut Around<'_>) {
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_rx(&packet.header.ssrc) else { return };
        let mid = stream.mid();
        let Some(at) = self.awaited.iter().position(|awaited| awaited.mid == mid) else { return };
        if key_frame {
            let awaited = self.awaited.swap_remove(at);
            self.shown.push(mid);
            around.measured.key_frame((now - awaited.since).as_micros());
            return;
        }
        // A browser cannot show it, and asks.
        let awaited = &mut self.awaited[at];
        if awaited.asked_at.is_none_or(|asked| now - asked > ASK_AGAIN) {
            awaited.asked_at = Some(now);
            stream.request_keyframe(KeyframeRequestKind::Pli);
        }
    }

    fn channel_message(&mut self, data: &[u8], now: Instant, around: &Around<'_>) -> Result<()> {
        match channel::read(data).context("a message of the data channel cannot be read")? {
            Message::Ping => self.write_channel(&channel::PONG),
            Message::Sdp(json) => {
                let description: Value = serde_json::from_str(&json).context("a description is no JSON")?;
                self.description(now, &description, true, around)?;
            }
            Message::Lock(granted) => self.lock(now, granted, around)?,
            Message::Pong | Message::MediaMap(_) | Message::Other(_) => {}
        }
        Ok(())
    }

    pub(super) fn signalled(&mut self, now: Instant, message: Received, around: &Around<'_>) -> Result<()> {
        match message {
            Received::Rtc { kind: rtc::SDP, data, .. } => {
                let description: Value = serde_json::from_slice(&data).context("a description is no JSON")?;
                self.description(now, &description, false, around)?;
            }
            Received::Rtc { kind: rtc::ICE, data, .. } => {
                let message: Value = serde_json::from_slice(&data).context("a candidate is no JSON")?;
                let line = message["candidate"]["candidate"].as_str().context("a candidate without a line")?;
                if self.fits(line) {
                    self.rtc.add_remote_candidate(Candidate::from_sdp_string(line)?);
                }
            }
            Received::Close { .. } => self.closed = true,
            Received::Rtc { kind, .. } => bail!("an rtc message of type {kind}"),
            Received::Vad { .. } | Received::Hello => {}
        }
        Ok(())
    }

    /// Whether there is a socket for a candidate of the server's; with TCP the first one that fits is connected to.
    pub(super) fn fits(&mut self, line: &str) -> bool {
        let wanted = if self.spec.tcp { " tcp " } else { " udp " };
        let line = line.trim_start_matches("a=");
        if !line.to_ascii_lowercase().contains(wanted) {
            return false;
        }
        let Some(remote) = Candidate::from_sdp_string(line).ok().map(|candidate| candidate.addr()) else {
            return false;
        };
        // The server's own loopback is not ours, unless it is the same machine.
        let elsewhere = remote.ip().is_loopback() && !self.spec.local.is_loopback();
        if remote.is_ipv4() != self.spec.local.is_ipv4() || elsewhere {
            return false;
        }
        if !self.spec.tcp {
            return true;
        }
        if self.tcp_remote.is_none() {
            (self.tcp_remote, self.connect_to) = (Some(remote), Some(remote));
        }
        self.tcp_remote == Some(remote)
    }
}
