//! How a worker leaves what it has to another process, goes on where another one was, or where it was itself when it hit a bug.
use super::Worker;
use crate::handover::cells::Remains;
use crate::plane::handover::{ConnectionRecord, Left, Meeting, SocketRecord, WorkerRecord, WorkerStart, inode};
use crate::plane::remains;
use crate::plane::sockets::Kind;
use rtcd_media::sfu::switch::SwitchStart;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;
use tokio::sync::oneshot;

impl Worker {
    /// Takes what other workers still have for it, then leaves everything to another process.
    pub(super) fn leave(mut self, meeting: &Meeting, left: oneshot::Sender<Left>, frame: &mut [u8]) {
        for round in 1..=3 {
            meeting.wait(round);
            let now = Instant::now();
            self.take_messages(now, frame);
            self.finish(now);
        }
        let now = Instant::now();
        let mut record = WorkerRecord { switch: self.switch.write(now, &mut self.io), ..WorkerRecord::default() };
        self.io.flush();
        self.io.write_connections(now);
        self.io.close_relays();
        self.tell_control();
        let mut descriptors = Vec::new();
        for (number, socket) in self.io.sockets.drain(..).enumerate() {
            if let Ok(address) = socket.local_addr() {
                record.sockets.push(SocketRecord { inode: inode(&socket), kind: Kind::Udp, number, address });
                descriptors.push(socket.into());
            }
        }
        for (number, listener) in self.acceptor.into_listeners().into_iter().enumerate() {
            if let Ok(address) = listener.local_addr() {
                record.sockets.push(SocketRecord { inode: inode(&listener), kind: Kind::Tcp, number, address });
                descriptors.push(listener.into());
            }
        }
        for (id, connection) in self.io.take_connections() {
            let (remote, is_known) = (connection.remote(), connection.deadline.is_none());
            let (stream, read, unsent) = connection.leave();
            record.connections.push(ConnectionRecord { inode: inode(&stream), id, remote, is_known, read, unsent });
            descriptors.push(stream.into());
        }
        // From here on it is the other process's to say how far they are.
        self.keep.wipe();
        // Whoever wanted it has given up waiting.
        let _ = left.send(Left { record, descriptors });
    }

    /// Goes on where the worker of another process was.
    pub(super) fn start(&mut self, now: Instant, start: WorkerStart) {
        if start.lacks_socket {
            self.io.shared.balance.withdraw(self.io.id);
        }
        for (number, socket) in start.sockets {
            self.take_socket(number, socket);
        }
        for (number, listener) in start.listeners {
            self.take_listener(now, number, listener);
        }
        for (id, connection) in start.connections {
            self.io.adopt_connection(id, connection);
        }
        let is_crash = start.switch.is_crash;
        self.switch.start(start.written, start.switch);
        if is_crash {
            self.resume(now);
        } else {
            self.switch.resume_peers(now);
        }
    }

    /// Suspends data channels as they get ready.
    pub(super) fn suspend(&mut self, now: Instant) {
        let Some((until, done)) = &mut self.suspending else { return };
        if *until <= now && done.is_some() {
            let sessions = self.switch.unready();
            tracing::warn!(sessions, "data channels in the middle of something lose what is under way");
        }
        if self.switch.suspend(now, *until <= now)
            && let Some(done) = done.take()
        {
            // Whoever waited has given up.
            let _ = done.send(());
        }
    }

    /// Those who go on behind a death say nothing before it is written down where they begin.
    fn resume(&mut self, now: Instant) {
        self.keep.begin(now, &mut self.switch);
        self.switch.resume_peers(now);
        self.switch.ask_for_pictures(now, &mut self.io);
    }

    /// The switch is broken: a new one goes on from what was written down of its peers. Sockets and connections stay.
    pub(super) fn begin_again(&mut self) {
        tracing::error!("a worker begins again, from what it has written down");
        let now = Instant::now();
        let read = || self.keep.handle().ok().and_then(Remains::of).map(|remains| remains::peers(&remains));
        // What is read may be what is broken.
        let kept = catch_unwind(AssertUnwindSafe(read)).ok().flatten().unwrap_or_default();
        self.switch.begin_again(now, SwitchStart::of(kept.into_iter().map(|kept| kept.peer)));
        self.keep.forget_records();
        self.resume(now);
    }
}
