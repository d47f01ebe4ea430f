//! What should have come, and did not.
use super::ByKind;
use crate::player::Outcome;
use crate::run::Plan;
use crate::traffic::Sent;
use crate::trailer::StreamKey;
use serde::Serialize;
use std::collections::HashMap;

/// Packets that should have come, and did not.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Loss {
    /// Sent in the window, once for each who should get it.
    pub expected: u64,
    /// Did not come within a second.
    pub lost: u64,
    /// Of what was expected.
    pub percent: f64,
    /// Participants that something did not come to.
    pub participants: u32,
}

/// What participants who were there all the time should have got of streams in one encoding is what was sent; of others it is
/// what lies between the packets that came.
pub(super) fn losses(plan: &Plan, outcomes: &[Outcome]) -> ByKind<Loss> {
    let mut sent: HashMap<u32, Vec<(StreamKey, Sent)>> = HashMap::new();
    for played in outcomes.iter().flat_map(|outcome| &outcome.played) {
        sent.entry(played.call).or_default().extend(&played.sent);
    }
    let (mut voice, mut video, mut all) = (Loss::default(), Loss::default(), Loss::default());
    for played in outcomes.iter().flat_map(|outcome| &outcome.played) {
        let before = (voice.lost, video.lost);
        let heard = |key: StreamKey| played.tally.streams.iter().find(|heard| heard.key == key);
        for (key, sent) in sent.get(&played.call).into_iter().flatten() {
            if key.sender == played.number {
                continue;
            }
            let received = heard(*key).map_or(0, |heard| heard.received);
            // Who came later, in place of another one, may still wait for a first picture when the window begins.
            let founder = played.number < plan.total();
            let expected = if played.whole && founder && key.layer == 0 {
                u64::from(sent.count)
            } else {
                heard(*key).map_or(0, |heard| heard.expected)
            };
            let loss = if key.kind.is_video() { &mut video } else { &mut voice };
            loss.expected += expected;
            loss.lost += expected.saturating_sub(received);
        }
        voice.participants += u32::from(voice.lost > before.0);
        video.participants += u32::from(video.lost > before.1);
        all.participants += u32::from((voice.lost, video.lost) != before);
    }
    let done = |loss: Loss| Loss { percent: 100.0 * loss.lost as f64 / loss.expected.max(1) as f64, ..loss };
    (all.expected, all.lost) = (voice.expected + video.expected, voice.lost + video.lost);
    ByKind { voice: done(voice), video: done(video), all: done(all) }
}
