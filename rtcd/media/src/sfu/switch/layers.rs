//! Which layer of which track a receiver gets, by what its way carries: decided when feedback has come, when tracks come
//! and go, and now and then.
use super::peer::{DECIDE_INTERVAL, Sending};
use super::{Sink, Switch};
use crate::sfu::Layer;
use crate::sfu::allocation::{Demand, Grant, trim};
use crate::sfu::bandwidth::Bitrate;
use std::time::Instant;

/// Where everything is to go out twice, room for that is looked for, and a little more.
const TWICE: f64 = 2.2;

impl Switch {
    /// Chooses layers for a peer if it receives pictures.
    pub(super) fn decide(&mut self, now: Instant, key: usize, sink: &mut impl Sink) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let Some(mut sending) = peer.sending.take() else { return };
        sending.decide_at = now + DECIDE_INTERVAL;
        sending.decided_by = sending.bandwidth.estimate();
        if sending.bandwidth.is_silent() {
            // Darkness says nothing of how much fits: when it ends, everything is as it was.
            peer.sending = Some(sending);
            return;
        }
        let repeats = peer.repetition.is_on(now);
        let receives = std::mem::take(&mut peer.receives);
        let mut voice = Bitrate::ZERO;
        sending.demands.clear();
        for (ssrc, place) in &receives {
            let Some(track) = self.tracks.get_mut(*place) else { continue };
            let rates = track.rates(now);
            let Some(receiver) = track.receiver(key, *ssrc) else { continue };
            match receiver.kind {
                // Nothing is known of it yet: it begins with its lowest layer.
                Some(_) if rates.iter().all(Option::is_none) => {}
                Some(kind) => sending.demands.push(Demand {
                    track: u64::from(*ssrc),
                    kind,
                    layers: rates,
                    awaits_keyframe: receiver.admission.awaits_keyframe() && !receiver.admission.is_limited(),
                }),
                None => voice = voice + rates.into_iter().flatten().sum(),
            }
        }
        let estimate = estimate(now, &sending, voice);
        let Sending { allocation, demands, grants, .. } = &mut *sending;
        allocation.update(now, estimate, voice, demands, grants);
        if self.overload.is_on() {
            let pictures: Bitrate = demands.iter().filter_map(Demand::top).sum();
            trim(pictures.times(self.overload.share_of(key)), demands, grants);
        }
        let wanted = sending.allocation.wanted();
        let sought = match repeats {
            // What a way has room for beside what there is time for is not asked.
            _ if self.overload.is_on() => wanted.min(sending.bandwidth.estimate()),
            true => wanted.times(TWICE),
            false => wanted,
        };
        sending.bandwidth.set_wanted(now, sought);
        let whole = estimate.max(sending.bandwidth.estimate());
        sending.pacer.set_rate(now, whole, sending.allocation.wanted());
        let spent: Bitrate =
            sending.demands.iter().zip(&sending.grants).map(|(demand, grant)| spent(demand, *grant)).sum();
        sending.set_repair_rate(now, whole, voice, voice + spent);
        let pictures =
            receives.iter().filter(|(ssrc, _)| sending.demands.iter().any(|demand| demand.track == u64::from(*ssrc)));
        let mut wishes = Vec::new();
        for ((ssrc, place), grant) in pictures.zip(&sending.grants) {
            if *grant == Grant::Paused {
                sending.pacer.retain(|held| held.ssrc() != *ssrc);
            }
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
        let receiver = self.tracks.get_mut(place)?.receiver(key, ssrc)?;
        let admission = &mut receiver.admission;
        let was_paused = std::mem::replace(&mut receiver.is_paused, grant == Grant::Paused);
        let was_broken = admission.is_limited() && admission.is_broken();
        let limit = match grant {
            Grant::Paused => {
                admission.interrupt();
                return None;
            }
            Grant::Full(_) => None,
            Grant::Thin(_, rate) => Some(rate),
        };
        admission.set_limit(now, limit);
        let layer = grant.layer()?;
        let is_new = admission.set_target(layer);
        let wanted = if admission.is_limited() {
            // Each key frame is paid for before the next is asked for.
            (admission.is_broken() || is_new) && admission.has_room(now)
        } else {
            admission.awaits_keyframe() && (is_new || was_broken || was_paused)
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
    let estimate = sending.without_repair(sending.bandwidth.estimate());
    if sending.is_settled(now) {
        return estimate;
    }
    let lowest: Bitrate =
        sending.demands.iter().filter_map(|demand| demand.layers.iter().flatten().next()).copied().sum();
    estimate.max(voice + lowest)
}
