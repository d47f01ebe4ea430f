//! Descriptions: what a participant offers, and what it answers to the offers of the daemon.
use super::Engine;
use crate::peer::{lock, sdp};
use crate::plugin::rtc;
use anyhow::{Context as _, Result, anyhow};
use rtcd_load::channel;
use serde_json::{Value, json};
use std::time::Instant;
use str0m::change::{SdpAnswer, SdpOffer};
use str0m::media::{Direction, MediaKind, Mid, Rid, Simulcast, SimulcastLayer};

/// Something to be offered.
#[derive(Clone)]
pub(super) enum Change {
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

impl Engine {
    pub(super) fn description(&mut self, message: &Value, over_channel: bool) -> Result<()> {
        let sdp = message["sdp"].as_str().context("no sdp")?;
        // str0m would check the daemon's candidates of all protocols; not all of them have a socket here.
        let keep = |line: &&str| !line.starts_with("a=candidate") || self.links.fits(line);
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

    pub(super) fn want_to_offer(&mut self) {
        if self.config.manual_lock {
            return;
        }
        let open = lock(&self.state).channel_open;
        if !self.changes.is_empty() && open && self.pending.is_none() && !self.asked && self.ask_at.is_none() {
            self.ask_at = Some(Instant::now());
        }
    }

    pub(super) fn offer(&mut self) -> Result<()> {
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

    pub(super) fn send_offer(&mut self, offer: SdpOffer, first: bool) {
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
            let message = channel::sdp(&description.to_string());
            self.write_channel(false, &message);
        } else {
            self.node.rtc(&self.config.join, rtc::SDP, Some(description.clone()));
        }
    }
}
