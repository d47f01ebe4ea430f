//! The end of the daemon: the first SIGTERM or SIGINT drains, the second or the deadline ends.
use std::io;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Where in its life the daemon is; it only ever moves forward.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum State {
    /// Calls come and go.
    Running,
    /// Running calls go on, new ones shall go elsewhere.
    Draining,
    /// Everything is closed now.
    Ending,
}

/// A handle on the state; clones see the same one.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Sender<State>);

impl Default for Shutdown {
    fn default() -> Self {
        Self(watch::Sender::new(State::Running))
    }
}

impl Shutdown {
    /// Listens for SIGTERM and SIGINT from now on. Draining takes `drain_timeout` at most, if there is one.
    pub fn on_signals(drain_timeout: Option<Duration>) -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = Self::default();
        let handle = shutdown.clone();
        tokio::spawn(async move {
            told(&mut terminate, &mut interrupt).await;
            tracing::info!(
                drain_timeout_s = drain_timeout.map(|limit| limit.as_secs()),
                "draining: told to end, and ends with the last call{}; to end at once, send SIGTERM again",
                at_the_latest(drain_timeout)
            );
            handle.advance(State::Draining);
            tokio::select! {
                () = told(&mut terminate, &mut interrupt) => tracing::info!("ending: told a second time"),
                () = limit(drain_timeout) => tracing::info!("ending: the time to drain is over"),
                () = handle.ending() => {},
            }
            handle.advance(State::Ending);
        });
        Ok(shutdown)
    }

    /// The state at this moment.
    pub fn state(&self) -> State {
        *self.0.borrow()
    }
    /// Everything has been drained, or something that cannot be lived without has failed.
    pub fn end(&self) {
        self.advance(State::Ending);
    }
    /// Waits until draining has begun.
    pub async fn draining(&self) {
        self.reached(State::Draining).await;
    }
    /// Waits until everything is to be closed.
    pub async fn ending(&self) {
        self.reached(State::Ending).await;
    }
    /// A receiver that sees every later state.
    pub fn subscribe(&self) -> watch::Receiver<State> {
        self.0.subscribe()
    }

    fn advance(&self, to: State) {
        self.0.send_if_modified(|state| {
            let forward = *state < to;
            *state = (*state).max(to);
            forward
        });
    }

    async fn reached(&self, wanted: State) {
        // The sender lives in `self`, so that there is always an answer.
        let _ = self.0.subscribe().wait_for(|state| *state >= wanted).await;
    }
}

/// `, at the latest at 2026-03-01T04:00:00Z`
fn at_the_latest(drain_timeout: Option<Duration>) -> String {
    let Some(timeout) = drain_timeout else { return ", however long that takes".into() };
    let end = jiff::SignedDuration::try_from(timeout).ok().and_then(|timeout| {
        let end = jiff::Timestamp::now().checked_add(timeout).ok()?;
        end.round(jiff::Unit::Second).ok()
    });
    // Farther away than time is counted: nobody waits for it.
    end.map_or_else(String::new, |end| format!(", at the latest at {end}"))
}

async fn limit(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => std::future::pending().await,
    }
}

async fn told(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_state_moves_only_forward_and_wakes_everybody() {
        let shutdown = Shutdown::default();
        let waiting = tokio::spawn({
            let shutdown = shutdown.clone();
            async move {
                shutdown.draining().await;
                shutdown.ending().await;
            }
        });
        shutdown.end();
        shutdown.advance(State::Draining);
        assert_eq!(shutdown.state(), State::Ending);
        waiting.await.expect("woken");
    }
}
