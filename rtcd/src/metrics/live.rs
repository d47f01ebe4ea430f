//! Series of clients: there at zero when a client comes, gone when nothing of it is live any more.
use super::{
    AuthRefusal, ConnState, Direction, ErrorKind, Inner, MediaType, MessageName, Metrics, SIGNAL_REFUSALS, TrackType,
};
use crate::ids::ClientId;
use prometheus::HistogramVec;
use std::sync::PoisonError;

/// What of a client is live.
#[derive(Default)]
pub(super) struct Live {
    pub(super) connections: usize,
    pub(super) sessions: usize,
}

impl Inner {
    /// Those that have a group and nothing else.
    fn group_histograms(&self) -> [&HistogramVec; 7] {
        [
            &self.connection_time,
            &self.dc_open_time,
            &self.lock_grab_time,
            &self.lock_locked_time,
            &self.client_loss_rate,
            &self.client_rtt,
            &self.client_jitter,
        ]
    }
}

impl Metrics {
    /// Counters are there, at zero, before they count: a rate needs two points.
    pub(super) fn begin_counting(&self) {
        let inner = &self.0;
        ConnState::ALL.iter().for_each(|state| drop(inner.conn_states.with_label_values(&[state.as_str()])));
        SIGNAL_REFUSALS.iter().for_each(|reason| drop(inner.signal_refused.with_label_values(&[*reason])));
        AuthRefusal::ALL.iter().for_each(|reason| drop(inner.auth_refused.with_label_values(&[reason.as_str()])));
    }

    /// The same for what is counted of a client.
    fn begin_counting_client(&self, client: &str) {
        let inner = &self.0;
        ErrorKind::ALL.iter().for_each(|kind| drop(inner.errors.with_label_values(&[client, kind.as_str()])));
        for name in MessageName::ALL {
            for direction in name.directions() {
                drop(inner.ws_messages.with_label_values(&[client, name.as_str(), direction.as_str()]));
            }
        }
        for histogram in inner.group_histograms() {
            drop(histogram.with_label_values(&[client]));
        }
        for kind in MediaType::ALL {
            drop(inner.writes_time.with_label_values(&[client, kind.as_str()]));
        }
    }

    pub(super) fn live(&self, client: &ClientId, change: impl FnOnce(&mut Live)) {
        let mut live = self.0.live.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = live.entry(client.clone()).or_insert_with(|| {
            self.begin_counting_client(client.as_str());
            Live::default()
        });
        change(entry);
        if entry.connections == 0 && entry.sessions == 0 {
            live.remove(client);
            self.before().forget(client);
            self.forget(client.as_str());
        }
    }

    /// Drops all series of a client. Removing one that never was is not an error that anybody must hear of.
    fn forget(&self, client: &str) {
        let inner = &self.0;
        let _ = inner.sessions.remove_label_values(&[client]);
        let _ = inner.ws_connections.remove_label_values(&[client]);
        for histogram in inner.group_histograms() {
            let _ = histogram.remove_label_values(&[client]);
        }
        for kind in MediaType::ALL {
            let _ = inner.writes_time.remove_label_values(&[client, kind.as_str()]);
        }
        for kind in TrackType::ALL {
            for direction in Direction::ALL {
                let _ = inner.tracks.remove_label_values(&[client, direction.as_str(), kind.as_str()]);
            }
        }
        for kind in ErrorKind::ALL {
            let _ = inner.errors.remove_label_values(&[client, kind.as_str()]);
        }
        for name in MessageName::ALL {
            for direction in Direction::ALL {
                let _ = inner.ws_messages.remove_label_values(&[client, name.as_str(), direction.as_str()]);
            }
        }
    }
}
