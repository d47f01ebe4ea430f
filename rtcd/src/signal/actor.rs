//! The signalling actor: the one task around [`Signalling`]. It has the clock, the queues, the plane and the metrics, and
//! decides nothing. What wakes it: an [`Input`], an [`Event`] of the plane, a description that has been read, a deadline.
//! Nothing here waits for anybody.
use super::keep::Keep;
use super::outgoing::Outgoing;
use super::reading::{self, Outcome};
use super::signalling::{Count, Envelope, Output, Sample, Signalling};
use super::{Input, Leaving, Legacy, Settings, Status};
use crate::handover::control::ControlMemory;
use crate::metrics::Metrics;
use crate::plane::{PlaneHandle, command as plane, handover};
use rtcd_media::sfu::command::{Event, WorkerId};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// Descriptions that are read at the same time.
const MAX_READERS: usize = 4;

/// How long descriptions that are being read may still take when another process is to go on.
const LAST_READING: Duration = Duration::from_millis(250);

/// The longest sleep: the watchdog wants to see that the actor lives.
const MAX_SLEEP: Duration = Duration::from_millis(500);

pub(super) struct Actor {
    signalling: Signalling,
    outgoing: Outgoing,
    plane: PlaneHandle,
    metrics: Metrics,
    outcomes: mpsc::UnboundedSender<Outcome>,
    status: watch::Sender<Status>,
    heartbeat: Arc<AtomicU64>,
    keep: Keep,
}

impl Actor {
    pub(super) fn new(
        settings: Settings,
        plane: PlaneHandle,
        metrics: Metrics,
        status: watch::Sender<Status>,
        heartbeat: Arc<AtomicU64>,
        outcomes: mpsc::UnboundedSender<Outcome>,
        memory: ControlMemory,
    ) -> Self {
        // Half of the cores at most: the rest is for media.
        let readers = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() / 2).clamp(1, MAX_READERS);
        let signalling = Signalling::new(settings, plane.workers().count(), readers);
        let keep = Keep::new(memory);
        Self { signalling, outgoing: Outgoing::default(), plane, metrics, outcomes, status, heartbeat, keep }
    }

    pub(super) async fn run(
        mut self,
        mut inputs: mpsc::Receiver<Input>,
        mut events: mpsc::Receiver<Event>,
        mut outcomes: mpsc::UnboundedReceiver<Outcome>,
    ) {
        loop {
            self.heartbeat.fetch_add(1, Ordering::Relaxed);
            tokio::select! {
                input = inputs.recv() => match input {
                    Some(Input::Leave(leaving)) => return self.leave(leaving, events, outcomes).await,
                    Some(input) => self.take(input),
                    // The last handle has gone: the process is ending.
                    None => break,
                },
                event = events.recv() => match event {
                    Some(event) => {
                        if !event.is_droppable() {
                            self.keep.changed();
                        }
                        self.step(|signalling, now| signalling.handle_event(now, event));
                    }
                    None => break,
                },
                // The actor holds a sender: there is no end.
                Some(outcome) = outcomes.recv() => {
                    self.keep.changed();
                    self.step(|signalling, now| signalling.handle_description_read(now, outcome));
                }
                () = tokio::time::sleep(self.sleep()) => {}
            }
            self.take_turns();
            self.step(|signalling, now| signalling.handle_timeout(now));
            self.keep.turn(Instant::now(), &self.signalling);
        }
    }

    /// Goes on where another process has been; the plane has begun before.
    pub(super) fn begin(&mut self, legacy: Legacy) {
        let workers = self.plane.workers().count();
        let place = |worker| handover::place(worker, workers);
        self.step(|signalling, now| signalling.start(legacy.written, now, legacy.record, place));
        if let Some(survivors) = legacy.survivors {
            self.step(|signalling, now| signalling.survive(now, &survivors));
        }
        self.keep.changed();
        self.keep.turn(Instant::now(), &self.signalling);
    }

    /// Does what there is to do, then nothing more: what the plane still tells is taken in, and what it would lead to is done
    /// by the other process.
    async fn leave(
        mut self,
        leaving: Leaving,
        mut events: mpsc::Receiver<Event>,
        mut outcomes: mpsc::UnboundedReceiver<Outcome>,
    ) {
        let Leaving { held, plane_ended, record } = leaving;
        let done = async {
            while self.signalling.is_reading() {
                let Some(outcome) = outcomes.recv().await else { break };
                self.step(|signalling, now| signalling.handle_description_read(now, outcome));
                self.take_turns();
            }
        };
        if tokio::time::timeout(LAST_READING, done).await.is_err() {
            tracing::warn!("descriptions that are still being read are lost");
        }
        // Whoever asked has given up.
        let _ = held.send(());
        let _ = plane_ended.await;
        while let Ok(event) = events.try_recv() {
            let now = Instant::now();
            self.guarded(|actor| actor.signalling.handle_event(now, event));
        }
        let _ = record.send(self.signalling.write(Instant::now()));
    }

    fn sleep(&self) -> Duration {
        let now = Instant::now();
        let next = self.signalling.next_timeout(now);
        let next = next.into_iter().chain(self.keep.next_timeout()).min();
        next.map_or(MAX_SLEEP, |at| at.saturating_duration_since(now)).min(MAX_SLEEP)
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Connected { client, conn, outgoing } => {
                self.outgoing.connect(conn.clone(), outgoing);
                self.step(|signalling, now| signalling.handle_connected(now, client, conn));
            }
            Input::Disconnected { client, conn } => {
                self.outgoing.disconnect(&conn);
                self.step(|signalling, _| signalling.handle_disconnected(client, &conn));
            }
            Input::Message { conn, message, room: _room } => {
                self.keep.changed();
                self.step(|signalling, now| signalling.handle_message(now, conn, message));
            }
            Input::Sessions { client, call, reply } => {
                // Whoever asked may have gone.
                let _ = reply.send(self.signalling.sessions(&client, &call));
            }
            // Whoever asked may have gone.
            Input::Describe(reply) => drop(reply.send(self.signalling.describe(Instant::now()))),
            // The same.
            Input::Tally(reply) => drop(reply.send(self.signalling.tally())),
            Input::Advertise(candidates) => self.step(|signalling, _| signalling.set_candidates(candidates)),
            Input::SetPeers(peers) => self.step(|signalling, _| signalling.set_peers(peers)),
            Input::AdvertiseRelays(relays) => self.step(|signalling, _| signalling.set_relays(relays)),
            Input::ClientGone(client) => self.step(|signalling, now| signalling.handle_client_gone(now, &client)),
            Input::SetDraining(draining) => self.step(|signalling, _| signalling.set_draining(draining)),
            // Taken by `run`.
            Input::Leave(_) => {}
            Input::Stop { if_idle, done } => {
                let stops = !if_idle || self.signalling.status().sessions == 0;
                if stops {
                    self.step(|signalling, now| signalling.handle_stop(now));
                }
                // Whoever asked may have gone.
                let _ = done.send(stops);
            }
        }
    }

    /// One by one: what a turn has cost decides whose is the next.
    fn take_turns(&mut self) {
        let mut taken = true;
        while taken {
            taken = false;
            self.step(|signalling, now| taken = signalling.take_turn(now));
        }
    }

    /// Tells [`Signalling`] of one thing, does what it wants done, and charges the time to whom it was for.
    fn step(&mut self, handle: impl FnOnce(&mut Signalling, Instant)) {
        let begun = Instant::now();
        self.guarded(|actor| handle(&mut actor.signalling, begun));
        self.guarded(Self::perform_outputs);
        let now = Instant::now();
        self.signalling.charge(now, now.saturating_duration_since(begun));
        let status = self.signalling.status();
        self.status.send_if_modified(|known| std::mem::replace(known, status) != status);
    }

    /// A bug that one message hits must not end everybody's calls: it is logged (by the panic hook, too) and outlived.
    fn guarded(&mut self, handle: impl FnOnce(&mut Self)) {
        if std::panic::catch_unwind(AssertUnwindSafe(|| handle(self))).is_err() {
            tracing::error!("a bug in signalling: the message that hit it was dropped");
        }
    }

    fn perform_outputs(&mut self) {
        while let Some(output) = self.signalling.poll_output() {
            if !matches!(output, Output::Count(_)) {
                self.keep.changed();
            }
            match output {
                Output::Message(Envelope { client, conn, session, message }) => {
                    if let Err(message) = self.outgoing.send(&conn, message) {
                        self.signalling.handle_refused(Envelope { client, conn, session, message });
                    }
                }
                Output::Disconnect(conn) => self.outgoing.disconnect(&conn),
                Output::Command { worker, command } => self.send(worker, command),
                Output::Measure { worker, track, group, kind } => {
                    let writes = self.metrics.writes_time(&group, kind);
                    self.send(worker, plane::Command::Measure { track, writes });
                }
                Output::Read { id, channel, bytes } => reading::spawn(id, channel, bytes, self.outcomes.clone()),
                Output::Count(count) => self.count(count),
            }
        }
    }

    fn send(&self, worker: WorkerId, command: impl Into<plane::Command>) {
        if let Err(error) = self.plane.send(worker, command) {
            // The worker hangs: the watchdog will see it, too.
            tracing::error!(%error, "command dropped");
        }
    }

    fn count(&self, count: Count) {
        let metrics = &self.metrics;
        match count {
            Count::Disconnected(client) => metrics.ws_disconnected(&client),
            Count::SessionJoined(group) => metrics.session_joined(&group),
            Count::SessionEnded(group) => metrics.session_ended(&group),
            Count::TrackStarted(group, direction, kind) => metrics.track_started(&group, direction, kind),
            Count::TrackEnded(group, direction, kind) => metrics.track_ended(&group, direction, kind),
            Count::ConnState(state) => metrics.conn_state(state),
            Count::Error(group, kind) => metrics.error(&group, kind),
            Count::Waited(time) => metrics.signal_queue_time(time.as_secs_f64()),
            Count::Refused(reason) => metrics.signal_refused(reason),
            Count::CallWhileDraining => metrics.call_while_draining(),
            Count::Sample(group, sample) => match sample {
                Sample::Connected(time) => metrics.connection_time(&group, time.as_secs_f64()),
                Sample::ChannelOpen(time) => metrics.dc_open_time(&group, time.as_secs_f64()),
                Sample::LockGrabbed(time) => metrics.lock_grab_time(&group, time.as_secs_f64()),
                Sample::LockHeld(time) => metrics.lock_locked_time(&group, time.as_secs_f64()),
                Sample::LossRate(share) => metrics.client_loss_rate(&group, share),
                Sample::RoundTripTime(seconds) => metrics.client_rtt(&group, seconds),
                Sample::Jitter(seconds) => metrics.client_jitter(&group, seconds),
            },
        }
    }
}
