//! Which layer of which track a receiver gets, by what its way carries: decided when feedback has come, when tracks come
//! and go, and now and then.
use super::peer::{DECIDE_INTERVAL, Sending};
use super::thin::Thin;
use super::{Sink, Switch};
use crate::sfu::Layer;
use crate::sfu::allocation::{Demand, Grant};
use crate::sfu::bandwidth::Bitrate;
use std::time::Instant;

impl Switch {
    /// Chooses layers for a peer if it receives pictures.
    pub(super) fn decide(&mut self, now: Instant, key: usize, sink: &mut impl Sink) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let Some(mut sending) = peer.sending.take() else { return };
        sending.decide_at = now + DECIDE_INTERVAL;
        if sending.bandwidth.is_silent() {
            // Darkness says nothing of how much fits: when it ends, everything is as it was.
            peer.sending = Some(sending);
            return;
        }
        let receives = std::mem::take(&mut peer.receives);
        let mut voice = Bitrate::ZERO;
        sending.demands.clear();
        for (ssrc, place) in &receives {
            let Some(track) = self.tracks.get_mut(*place) else { continue };
            let rates = track.rates(now);
            let Some((receiver, _)) = track.receiver_and_kept(key, *ssrc) else { continue };
            match receiver.kind {
                // Nothing is known of it yet: it begins with its lowest layer.
                Some(_) if rates.iter().all(Option::is_none) => {}
                Some(kind) => sending.demands.push(Demand {
                    track: u64::from(*ssrc),
                    kind,
                    layers: rates,
                    awaits_keyframe: receiver.rewriter.awaits_keyframe() && receiver.thin.is_none(),
                }),
                None => voice = voice + rates.into_iter().flatten().sum(),
            }
        }
        let estimate = estimate(now, &sending, voice);
        let Sending { allocation, demands, grants, .. } = &mut *sending;
        allocation.update(now, estimate, voice, demands, grants);
        sending.bandwidth.set_wanted(now, sending.allocation.wanted());
        sending.pacer.set_rate(now, estimate, sending.allocation.wanted());
        let spent: Bitrate =
            sending.demands.iter().zip(&sending.grants).map(|(demand, grant)| spent(demand, *grant)).sum();
        sending.set_repair_rate(now, estimate, voice + spent);
        let pictures =
            receives.iter().filter(|(ssrc, _)| sending.demands.iter().any(|demand| demand.track == u64::from(*ssrc)));
        let mut wishes = Vec::new();
        for ((ssrc, place), grant) in pictures.zip(&sending.grants) {
            wishes.extend(self.grant(now, key, *ssrc, *place, *grant).map(|layer| (*place, layer)));
        }
        if let Some(peer) = self.peers.get_mut(key) {
            peer.receives = receives;
            peer.sending = Some(sending);
        }
        for (place, layer) in wishes {
            self.ask_for_keyframe(now, place, layer, sink);
        }
    }

    /// Gives a receiver what it has been granted; returns the layer that it needs a key frame of for that.
    fn grant(&mut self, now: Instant, key: usize, ssrc: u32, place: usize, grant: Grant) -> Option<Layer> {
        let (receiver, _) = self.tracks.get_mut(place)?.receiver_and_kept(key, ssrc)?;
        let rewriter = &mut receiver.rewriter;
        let was_paused = std::mem::replace(&mut receiver.is_paused, grant == Grant::Paused);
        // What was left out in between is a hole that the rewriter must not see.
        let was_broken = receiver.thin.as_ref().is_some_and(Thin::is_broken);
        match grant {
            Grant::Paused => {
                receiver.thin = None;
                rewriter.suspend();
                return None;
            }
            Grant::Full(_) => {
                receiver.thin = None;
                if was_broken {
                    rewriter.suspend();
                }
            }
            Grant::Thin(_, rate) => {
                let is_broken = rewriter.current().is_none();
                receiver.thin.get_or_insert_with(|| Thin::new(now, is_broken)).set_rate(now, rate);
            }
        }
        let layer = grant.layer()?;
        let is_new = rewriter.target() != layer;
        rewriter.set_target(layer);
        let wanted = match &mut receiver.thin {
            // Each key frame is paid for before the next is asked for.
            Some(thin) => (thin.is_broken() || is_new) && thin.has_room(now),
            None => rewriter.awaits_keyframe() && (is_new || was_broken || was_paused),
        };
        wanted.then_some(layer)
    }
}

/// What a grant takes of the way.
fn spent(demand: &Demand, grant: Grant) -> Bitrate {
    match grant {
        Grant::Paused => Bitrate::ZERO,
        Grant::Thin(_, rate) => rate,
        Grant::Full(layer) => demand.layers[usize::from(layer.0)].unwrap_or_default(),
    }
}

/// What the way is taken to carry. Before anything is known of it a newcomer gets all lowest layers, as if it were any
/// other way: the estimate begins low, and a picture that stands still at first is what everybody notices.
fn estimate(now: Instant, sending: &Sending, voice: Bitrate) -> Bitrate {
    let estimate = sending.bandwidth.estimate();
    if sending.is_settled(now) {
        return estimate;
    }
    let lowest: Bitrate =
        sending.demands.iter().filter_map(|demand| demand.layers.iter().flatten().next()).copied().sum();
    estimate.max(voice + lowest)
}
