//! Packets that did not get where they were meant to go, by reason, in words: what the counters of the plane say one by one.

/// A counter of the plane, and why what it counts was dropped.
const REASONS: [(&str, &str); 19] = [
    ("send_refused", "the kernel did not take it"),
    ("receive_dropped", "this machine was too busy to read it"),
    ("too_long", "longer than any packet of a call"),
    ("relay_dropped", "the TURN server has no allocation for it"),
    ("handover_dropped", "another worker was too busy"),
    ("tcp_dropped", "a slow TCP connection did not take it"),
    ("tcp_stale", "it waited too long for a slow TCP connection"),
    ("paced_dropped", "it waited too long for a receiver with a narrow way"),
    ("rtcp_dropped", "a report was too long"),
    ("events_dropped", "signalling was too busy"),
    ("media_stale", "the process stood still"),
    ("media_late", "this machine was too busy for pictures: it had lain unread"),
    ("shed", "this machine was too busy for pictures: left out for a receiver"),
    ("rtp_gated", "its sender is muted or its track not announced"),
    ("rtp_unknown", "no description announced its stream"),
    ("srtp_refused", "media that is not authentic"),
    ("srtp_replayed", "media that was seen before"),
    ("stun_refused", "a connectivity check that is not authentic"),
    ("stray", "from an address that no check has come from"),
];

/// `reason` and number, for each.
pub(super) fn by_reason(plane: &[(&str, &str, u64)]) -> impl Iterator<Item = (&'static str, u64)> {
    REASONS.iter().filter_map(|(name, reason)| {
        let (.., value) = plane.iter().find(|(known, ..)| known == name)?;
        Some((*reason, *value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plane::counters::Counters;
    use rtcd_media::sfu::switch;

    #[test]
    fn every_reason_has_a_counter_of_the_plane() {
        let own = Counters::default().snapshot();
        for (name, _) in REASONS {
            let of_switch = switch::Counters::NAMES.iter().any(|(known, _)| *known == name);
            assert!(of_switch || own.iter().any(|(known, ..)| *known == name), "{name}");
        }
    }
}
