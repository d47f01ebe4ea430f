//! What a worker counts; read as snapshots by whoever reports.
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        /// Counters of one worker. Only the worker adds, anybody reads.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: AtomicU64,)+
        }
        impl Counters {
            /// Names, meanings and values.
            pub fn snapshot(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), concat!($($doc),+).trim_ascii(), self.$name.load(Relaxed))),+]
            }
        }
    };
}

counters! {
    /// Datagrams received on the media ports.
    received,
    /// Datagrams sent from the media ports.
    sent,
    /// Datagrams that the kernel did not take.
    send_refused,
    /// Datagrams that did not fit into a receive buffer.
    too_long,
    /// Datagrams from addresses that no authentic check has come from.
    stray,
    /// STUN messages that are malformed, not authentic or for nobody here.
    stun_refused,
    /// STUN requests without credentials that were answered.
    stun_anonymous,
    /// STUN requests without credentials beyond the rate limit or shorter than the answer.
    stun_limited,
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
    /// RTP packets forwarded to receivers.
    forwarded,
    /// RTP packets sent again upon NACK.
    retransmitted,
    /// NACKed packets that are no longer in the cache or beyond the budget.
    retransmit_missed,
    /// RTCP packets that are longer than a datagram may be.
    rtcp_dropped,
    /// Key frame requests sent to senders.
    keyframe_requests,
    /// Packets handed over to another worker.
    handed_over,
    /// Hand-overs to a worker whose queue was full.
    handover_dropped,
    /// Packets that a slow TCP connection did not take.
    tcp_dropped,
    /// Packets that had waited for a slow TCP connection until they were of no use.
    tcp_stale,
    /// Packets of media that lay unread while the process stood still.
    media_stale,
    /// TCP connections refused or closed before an authentic check.
    tcp_refused,
    /// TCP connections of strangers that made room for newer ones.
    tcp_evicted,
    /// Times that no connection could be accepted, as descriptors or memory had run out.
    accept_failed,
    /// Events that control was too slow for.
    events_dropped,
    /// Panics that ended a session.
    panics,
}

/// Adds one. There is a single writer, so a plain load and store would do; the compiler makes of this one instruction.
#[inline]
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
