//! What a switch counts. Plain numbers: whoever runs it publishes them.

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        /// Counters of one switch.
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }
        impl Counters {
            /// Names and meanings, in the order of [`values`](Self::values).
            pub const NAMES: &[(&str, &str)] = &[$((stringify!($name), concat!($($doc),+))),+];
            /// The numbers.
            pub fn values(&self) -> [u64; Self::NAMES.len()] {
                [$(self.$name),+]
            }
            /// Adds what was counted before, by the names of [`NAMES`](Self::NAMES); a name that is none is passed over.
            pub fn add(&mut self, counted: &[(String, u64)]) {
                for (name, value) in counted {
                    match name.as_str() {
                        $(stringify!($name) => self.$name = self.$name.saturating_add(*value),)+
                        _ => {}
                    }
                }
            }
        }
    };
}

counters! {
    /// Datagrams from addresses that no authentic check has come from.
    stray,
    /// Datagrams that arrived at another worker than their participant's, which handed them over: those by which a newcomer is
    /// known, until the kernel has been told where the others go; more of them where it takes no such word, or has no room for all.
    misrouted,
    /// STUN messages that are malformed, not authentic or for nobody here.
    stun_refused,
    /// STUN requests without credentials that were answered.
    stun_anonymous,
    /// STUN requests without credentials beyond the rate limit or shorter than the answer.
    stun_limited,
    /// Connectivity checks sent to open the way for a participant's own.
    opening_checks,
    /// The same beyond the rate limit.
    opening_limited,
    /// DTLS datagrams with something in them that is malformed, forged or more than is looked at.
    dtls_refused,
    /// SRTP packets that are not authentic or malformed.
    srtp_refused,
    /// SRTP packets that were seen before.
    srtp_replayed,
    /// RTP packets of streams that no description announced.
    rtp_unknown,
    /// RTP packets of streams that others had just taken the place of.
    rtp_superseded,
    /// RTP packets that passed the mute gate of none.
    rtp_gated,
    /// RTP packets that were missing and came inside of an RTX stream.
    rtx_repaired,
    /// RTX packets that are padding, or carry what is here already.
    rtx_useless,
    /// RTP packets forwarded to receivers.
    forwarded,
    /// RTP packets sent again upon NACK.
    retransmitted,
    /// NACKed packets that are no longer in the cache or beyond the budget.
    retransmit_missed,
    /// Packets sent a second time without being asked for, to receivers whose way loses some.
    repeated,
    /// Packets of padding, sent to find out how much a way carries.
    padding,
    /// Packets of pictures that waited for their turn until they were of no use.
    paced_dropped,
    /// RTCP packets that are longer than a datagram may be.
    rtcp_dropped,
    /// Key frame requests sent to senders.
    keyframe_requests,
    /// Packets of media that lay unread while the process stood still.
    media_stale,
    /// Packets of media that had lain unread for too long, as the worker could not keep up: pictures first.
    media_late,
    /// Packets of pictures left out for receivers while the worker cannot keep up, with those that do not fit their ways.
    shed,
    /// Panics that ended a session.
    panics,
}
