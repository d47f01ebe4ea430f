//! Between whoever logs and what may be slow: a bounded queue and a thread that writes. Whoever logs never waits; what finds
//! the queue full is dropped and counted.
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that may wait: some 4000 lines of 250 bytes, seconds of the busiest log.
const CAPACITY: usize = 1024 * 1024;
/// How often a sink that nobody writes to looks after itself.
const TICK: Duration = Duration::from_secs(2);

static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines that nobody took in time, or that could not be written.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Where lines go in the end. Both may block.
pub(super) trait Sink: Send + 'static {
    /// One or more whole lines.
    fn write(&mut self, lines: &[u8]) -> io::Result<()>;
    /// Comes every few seconds.
    fn tick(&mut self) {}
    fn reopen(&mut self) {}
}

#[derive(Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    lost: u64,
    reopen: bool,
    writing: bool,
}

/// The queue; clones share it.
#[derive(Clone)]
pub(super) struct Queue(Arc<Shared>);

struct Shared {
    what: &'static str,
    state: Mutex<State>,
    wake: Condvar,
    drained: Condvar,
}

impl Queue {
    /// `what` the lines are for, in words.
    pub(super) fn new(what: &'static str) -> Self {
        let (state, wake, drained) = Default::default();
        Self(Arc::new(Shared { what, state, wake, drained }))
    }

    /// Starts the thread that writes.
    pub(super) fn start(&self, mut sink: impl Sink) -> io::Result<()> {
        let queue = self.clone();
        let thread = std::thread::Builder::new().name("log".into());
        thread.spawn(move || queue.write_to(&mut sink)).map(|_| ())
    }

    /// The file is opened again before the next line.
    pub(super) fn reopen(&self) {
        self.state().reopen = true;
        self.0.wake.notify_one();
    }

    /// Waits until all is written, but not for long.
    pub(super) fn flush(&self, patience: Duration) {
        let busy = |state: &mut State| state.writing || !state.lines.is_empty();
        let _ = self.0.drained.wait_timeout_while(self.state(), patience, busy);
    }

    /// Octets of the lines that wait.
    pub(super) fn bytes(&self) -> usize {
        self.state().bytes
    }

    fn push(&self, line: &[u8]) {
        let mut state = self.state();
        if state.bytes + line.len() > CAPACITY {
            state.lost += 1;
            DROPPED.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.bytes += line.len();
        state.lines.push_back(line.to_vec());
        drop(state);
        self.0.wake.notify_one();
    }

    fn write_to(&self, sink: &mut impl Sink) {
        let mut ticked = Instant::now();
        loop {
            let idle = |state: &mut State| state.lines.is_empty() && !state.reopen;
            let state = self.state();
            let (mut state, _) =
                self.0.wake.wait_timeout_while(state, TICK, idle).unwrap_or_else(PoisonError::into_inner);
            let reopen = std::mem::take(&mut state.reopen);
            let line = state.lines.pop_front();
            state.writing = line.is_some();
            state.bytes -= line.as_ref().map_or(0, Vec::len);
            let lost = if line.is_some() { std::mem::take(&mut state.lost) } else { 0 };
            drop(state);
            if reopen {
                sink.reopen();
            }
            if ticked.elapsed() >= TICK {
                sink.tick();
                ticked = Instant::now();
            }
            if let Some(line) = line
                && sink.write(&line).is_err()
            {
                DROPPED.fetch_add(1, Ordering::Relaxed);
            }
            if lost > 0 {
                tracing::warn!(lines = lost, "log lines were dropped: {} did not take them in time", self.0.what);
            }
            let mut state = self.state();
            state.writing = false;
            if state.lines.is_empty() {
                self.0.drained.notify_all();
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The subscriber writes each line at once.
impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Takes a line whenever it is told to.
    struct Slow(mpsc::Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Sink for Slow {
        fn write(&mut self, lines: &[u8]) -> io::Result<()> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.lock().expect("not poisoned").extend(lines);
            Ok(())
        }
    }

    #[test]
    fn whoever_logs_never_waits_and_what_is_too_much_is_counted() {
        let (go, wait) = mpsc::channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let mut queue = Queue::new("a test");
        queue.start(Slow(wait, written.clone())).expect("a thread");
        let (line, before) = ([b'x'; 1024], dropped());
        for _ in 0..2000 {
            assert_eq!(queue.write(&line).expect("never fails"), line.len());
        }
        assert!(dropped() - before >= 2000 - 1025, "{}", dropped() - before);
        queue.flush(Duration::from_millis(10));
        (0..3000).for_each(|_| go.send(()).expect("it waits"));
        queue.flush(Duration::from_secs(20));
        assert!(written.lock().expect("not poisoned").len() >= CAPACITY - 1024);
    }
}
