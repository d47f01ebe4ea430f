//! Which layer of which track one receiver gets. Voice comes first, then screens, then cameras: of all of them the lowest
//! layers before a higher one of any (contract, section 5).
//!
//! A layer that does not fit is left at once; one that would fit again is taken after a while, which grows each time that
//! it was taken too early.
use super::bandwidth::Bitrate;
use super::{Layer, MAX_LAYERS};
use crate::footprint::{Footprint, flat};
use crate::handover::Age;
use serde::{Deserialize, Serialize};
use serde_with::serde_as;
use std::time::{Duration, Instant};

/// The reference compares the estimate with this part of a layer's measured rate, which has its peaks in it.
const FITS: f64 = 0.9;
/// A layer that is taken up must fit as a whole.
const FITS_MORE: f64 = 1.0;
/// A layer that is sent is left at once below this part of its rate, ...
const NEVER_FITS: f64 = 0.75;
/// ... and if it has not fitted for so long: an estimate dips when a key frame passes, and is probed anew within two seconds.
const PATIENCE: Duration = Duration::from_secs(3);
/// After a layer was left, none is taken up for this long: at first, and at most.
const MIN_BACK_OFF: Duration = Duration::from_secs(5);
const MAX_BACK_OFF: Duration = Duration::from_secs(60);
/// The growth with each layer that was left this soon after it was taken up; after so long without, it shrinks again.
const BACK_OFF_GROWTH: f64 = 1.5;
const TOO_SOON: Duration = Duration::from_secs(15);
/// The lowest layer is taken up again after this part of the back-off: no picture is worse than a poor one.
const RESUMES_SOONER: f64 = 5.0;
/// A rate below this carries no pictures worth the name.
const LEAST_THIN: Bitrate = Bitrate::kbit(30);

/// What a track shows. The order is that of importance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// A screen.
    Screen,
    /// A camera.
    Camera,
}

/// What one track asks for. Among tracks of a kind the earlier one is more important.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The receiver's name of the track, the same for as long as it receives it.
    pub track: u64,
    /// What it shows.
    pub kind: Kind,
    /// The measured rate of each layer that is alive, lowest first.
    pub layers: [Option<Bitrate>; MAX_LAYERS],
    /// The layer that was granted last still waits for its key frame: the receiver sees another.
    pub awaits_keyframe: bool,
}

/// What one track gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grant {
    /// Nothing.
    Paused,
    /// Of a layer that does not fit as many frames as fit within this rate.
    Thin(Layer, Bitrate),
    /// All of a layer.
    Full(Layer),
}

impl Grant {
    /// The layer, if it gets one.
    pub fn layer(self) -> Option<Layer> {
        match self {
            Self::Paused => None,
            Self::Thin(layer, _) | Self::Full(layer) => Some(layer),
        }
    }

    /// Higher is more: 0 for nothing, 1 for some frames, then layers.
    fn level(self) -> u8 {
        match self {
            Self::Paused => 0,
            Self::Thin(..) => 1,
            Self::Full(layer) => 2 + layer.0,
        }
    }
}

/// A track that has been granted something.
#[serde_as]
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Granted {
    track: u64,
    grant: Grant,
    /// When it last got more.
    #[serde_as(as = "Option<Age>")]
    raised: Option<Instant>,
}

/// The choice for one receiver.
#[serde_as]
#[derive(Debug, Serialize, Deserialize)]
pub struct Allocation {
    granted: Vec<Granted>,
    wanted: Bitrate,
    back_off: Duration,
    /// Nothing is taken up before.
    #[serde_as(as = "Option<Age>")]
    up_from: Option<Instant>,
    /// When something last had to be left.
    #[serde_as(as = "Option<Age>")]
    lowered: Option<Instant>,
    /// Since when what is sent has not quite fitted.
    #[serde_as(as = "Option<Age>")]
    tight: Option<Instant>,
}

impl Default for Allocation {
    fn default() -> Self {
        Self {
            granted: Vec::new(),
            wanted: Bitrate::ZERO,
            back_off: MIN_BACK_OFF,
            up_from: None,
            lowered: None,
            tight: None,
        }
    }
}

impl Allocation {
    /// What would be sent if there were room.
    pub fn wanted(&self) -> Bitrate {
        self.wanted
    }

    /// What a track was granted last.
    pub fn grant(&self, track: u64) -> Option<Grant> {
        self.granted.iter().find(|granted| granted.track == track).map(|granted| granted.grant)
    }

    /// When to [`update`](Self::update) again even if nothing changes.
    pub fn next_timeout(&self) -> Option<Instant> {
        let patience = self.tight.map(|since| since + PATIENCE);
        [patience, self.up_from].into_iter().flatten().min()
    }

    /// Decides anew; call it when the estimate, a rate or a demand has changed. `voice` is what sound takes. Fills `grants`
    /// with one for each demand, in their order.
    pub fn update(
        &mut self,
        now: Instant,
        estimate: Bitrate,
        voice: Bitrate,
        demands: &[Demand],
        grants: &mut Vec<Grant>,
    ) {
        self.granted.retain(|granted| demands.iter().any(|demand| demand.track == granted.track));
        let pictures: Bitrate = demands.iter().filter_map(Demand::top).sum();
        self.wanted = if pictures > Bitrate::ZERO { voice + pictures } else { Bitrate::ZERO };
        let keeps = self.keeps(now, estimate, voice, demands);
        let rises = self.up_from.is_none_or(|from| from <= now);
        if rises {
            self.up_from = None;
        }
        let pause = self.back_off.div_f64(RESUMES_SOONER);
        let resumes = self.lowered.is_none_or(|lowered| now.saturating_duration_since(lowered) >= pause);
        let chooser = Chooser { granted: &self.granted, demands, keeps, rises, resumes };
        chooser.choose(estimate.less(voice), grants);
        self.note(now, demands, grants);
    }

    /// The part of a layer's rate that must fit so that it goes on being sent.
    fn keeps(&mut self, now: Instant, estimate: Bitrate, voice: Bitrate, demands: &[Demand]) -> f64 {
        let sent = |demand: &Demand| match self.grant(demand.track)? {
            Grant::Full(layer) => demand.rate(layer),
            _ => None,
        };
        let sent: Bitrate = demands.iter().filter_map(sent).sum();
        if voice + sent.times(FITS) <= estimate || sent == Bitrate::ZERO {
            self.tight = None;
            return NEVER_FITS;
        }
        let since = *self.tight.get_or_insert(now);
        if now.saturating_duration_since(since) >= PATIENCE { FITS } else { NEVER_FITS }
    }

    /// Remembers what was granted, and learns from it when to grant more.
    fn note(&mut self, now: Instant, demands: &[Demand], grants: &[Grant]) {
        let (mut is_lowered, mut was_too_soon) = (false, false);
        for (demand, grant) in demands.iter().zip(grants) {
            let Some(granted) = self.granted.iter_mut().find(|granted| granted.track == demand.track) else {
                self.granted.push(Granted { track: demand.track, grant: *grant, raised: None });
                continue;
            };
            let before = std::mem::replace(&mut granted.grant, *grant);
            if grant.level() > before.level() {
                granted.raised = Some(now);
            } else if grant.level() < before.level() && demand.is_alive(before) {
                is_lowered = true;
                let soon = |raised: Instant| now.saturating_duration_since(raised) < TOO_SOON;
                was_too_soon |= granted.raised.take().is_some_and(soon);
            }
        }
        if !is_lowered {
            return;
        }
        self.tight = None;
        let rested = self
            .lowered
            .replace(now)
            .is_some_and(|last| now.saturating_duration_since(last) > self.back_off + TOO_SOON);
        if was_too_soon {
            self.back_off = self.back_off.mul_f64(BACK_OFF_GROWTH).min(MAX_BACK_OFF);
        } else if rested {
            self.back_off = self.back_off.div_f64(BACK_OFF_GROWTH).max(MIN_BACK_OFF);
        }
        self.up_from = Some(now + self.back_off);
    }
}

/// Leaves no more of what was granted than fits into `budget`, for as long as this is said: the higher layers go first, then
/// what is less important.
pub fn trim(mut budget: Bitrate, demands: &[Demand], grants: &mut [Grant]) {
    let lowest = |demand: &Demand, grant: Grant| demand.alive().next().filter(|_| grant.layer().is_some());
    let mut reserved: Bitrate =
        demands.iter().zip(&*grants).filter_map(|(demand, grant)| Some(lowest(demand, *grant)?.1)).sum();
    for (at, demand) in by_importance(demands) {
        let Some(grant) = grants.get_mut(at) else { continue };
        let Some((lowest, least)) = lowest(demand, *grant) else { continue };
        reserved = reserved.less(least);
        // Those behind it have their lowest layers before this one has a higher one.
        let room = budget.less(reserved);
        let fits = |(layer, rate): &(Layer, Bitrate)| Some(*layer) <= grant.layer() && *rate <= room;
        let (layer, whole) = demand.alive().rev().find(fits).unwrap_or((lowest, least));
        let limit = if let Grant::Thin(_, limit) = *grant { limit } else { whole };
        let rate = whole.min(limit).min(budget);
        *grant = match rate {
            rate if rate == whole => Grant::Full(layer),
            rate if rate >= LEAST_THIN => Grant::Thin(layer, rate),
            _ => Grant::Paused,
        };
        budget = budget.less(rate);
    }
}

/// Screens before cameras, else as they came.
fn by_importance(demands: &[Demand]) -> impl Iterator<Item = (usize, &Demand)> {
    let of = |kind| demands.iter().enumerate().filter(move |(_, demand)| demand.kind == kind);
    of(Kind::Screen).chain(of(Kind::Camera))
}

impl Demand {
    /// The rate of its highest layer.
    pub fn top(&self) -> Option<Bitrate> {
        self.layers.iter().rev().flatten().next().copied()
    }

    fn rate(&self, layer: Layer) -> Option<Bitrate> {
        self.layers.get(usize::from(layer.0)).copied().flatten()
    }

    fn is_alive(&self, grant: Grant) -> bool {
        grant.layer().is_some_and(|layer| self.rate(layer).is_some())
    }

    /// The layers that are alive, lowest first.
    fn alive(&self) -> impl DoubleEndedIterator<Item = (Layer, Bitrate)> + '_ {
        let layers = self.layers.iter().enumerate();
        layers.filter_map(|(layer, rate)| rate.map(|rate| (Layer(layer as u8), rate)))
    }
}

/// One decision.
struct Chooser<'a> {
    granted: &'a [Granted],
    demands: &'a [Demand],
    keeps: f64,
    /// Whether a higher layer may be taken up, and the lowest one.
    rises: bool,
    resumes: bool,
}

impl Chooser<'_> {
    /// Spends `budget`.
    fn choose(&self, mut budget: Bitrate, grants: &mut Vec<Grant>) {
        grants.clear();
        grants.resize(self.demands.len(), Grant::Paused);
        // What is really left, for a part of a layer: a layer that is judged by nine tenths of its rate takes all of it.
        let mut left = budget;
        let mut is_spent = false;
        for (at, demand) in by_importance(self.demands) {
            let Some((layer, rate)) = demand.alive().next() else { continue };
            let cost = self.cost(demand, Grant::Full(layer), rate).filter(|cost| !is_spent && *cost <= budget);
            if let Some(cost) = cost {
                budget = budget.less(cost);
                left = left.less(rate);
                grants[at] = Grant::Full(layer);
            } else if !is_spent && left >= LEAST_THIN {
                grants[at] = Grant::Thin(layer, left.min(rate));
                is_spent = true;
            } else {
                // Whoever is less important must not get all of a layer in place of a part of this one.
                is_spent = true;
            }
        }
        for (at, demand) in by_importance(self.demands).filter(|_| !is_spent) {
            let Some(lowest) = demand.alive().next() else { continue };
            let paid = self.cost(demand, Grant::Full(lowest.0), lowest.1).unwrap_or_default();
            let higher = demand.alive().rev().filter(|(layer, _)| *layer != lowest.0);
            let mut costs =
                higher.filter_map(|(layer, rate)| Some((layer, self.cost(demand, Grant::Full(layer), rate)?)));
            if let Some((layer, cost)) = costs.find(|(_, cost)| *cost <= budget + paid) {
                budget = (budget + paid).less(cost);
                grants[at] = Grant::Full(layer);
            }
        }
    }

    /// What must be left of the estimate for this grant; `None` if it is not the time for it.
    fn cost(&self, demand: &Demand, grant: Grant, rate: Bitrate) -> Option<Bitrate> {
        let before = self.granted.iter().find(|granted| granted.track == demand.track).map(|granted| granted.grant);
        match before {
            // A new track, or one whose layer has stopped, takes what fits at once.
            None => Some(rate.times(FITS)),
            Some(before) if before != Grant::Paused && !demand.is_alive(before) => Some(rate.times(FITS)),
            Some(before) if grant.level() <= before.level() => Some(rate.times(self.keeps)),
            // From one key frame that has not come to the wait for the next would show nothing at all.
            Some(_) => {
                let is_lowest = demand.alive().next().map(|(layer, _)| layer) == grant.layer();
                let is_time = if is_lowest { self.resumes } else { self.rises };
                (is_time && !demand.awaits_keyframe).then(|| rate.times(FITS_MORE))
            }
        }
    }
}

impl Footprint for Allocation {
    fn heap_bytes(&self) -> usize {
        flat(&self.granted)
    }
}

#[cfg(test)]
mod tests;
