//! What a worker counts; read as snapshots by whoever reports.
use rtcd_media::sfu::switch;
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
    /// Datagrams that the kernel dropped, as no worker read them in time.
    receive_dropped,
    /// Datagrams that did not fit into a receive buffer.
    too_long,
    /// Datagrams received by way of TURN servers.
    relay_received,
    /// Datagrams sent by way of TURN servers.
    relay_sent,
    /// Packets for a TURN server that has no allocation for us any more, or that were too long for it.
    relay_dropped,
    /// Packets handed over to another worker.
    handed_over,
    /// Hand-overs to a worker whose queue was full.
    handover_dropped,
    /// Packets that a slow TCP connection did not take.
    tcp_dropped,
    /// Packets that had waited for a slow TCP connection until they were of no use.
    tcp_stale,
    /// TCP connections refused or closed before an authentic check.
    tcp_refused,
    /// TCP connections of strangers that made room for newer ones.
    tcp_evicted,
    /// Browsers on the media's TCP port that were passed on to the check page.
    web_passed,
    /// Browsers that were not, as no link to the page is alive or too many wait.
    web_refused,
    /// Times that no connection could be accepted, as descriptors or memory had run out.
    accept_failed,
    /// Events that control was too slow for.
    events_dropped,
}

/// Adds one. There is a single writer, so a plain load and store would do; the compiler makes of this one instruction.
#[inline]
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// What a worker's switch has counted, for others to read.
#[derive(Debug)]
pub struct Published([AtomicU64; switch::Counters::NAMES.len()]);

impl Default for Published {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; switch::Counters::NAMES.len()])
    }
}

impl Published {
    /// The counters as they are now.
    pub fn store(&self, counters: &switch::Counters) {
        self.0.iter().zip(counters.values()).for_each(|(published, value)| published.store(value, Relaxed));
    }
    /// Names, meanings and values.
    pub fn snapshot(&self) -> Vec<(&'static str, &'static str, u64)> {
        let names = switch::Counters::NAMES.iter();
        names.zip(&self.0).map(|((name, doc), value)| (*name, doc.trim_ascii(), value.load(Relaxed))).collect()
    }
}
