//! One line or screen of the machine. Nothing here ever waits: what the other side does not take is kept, and thrown away when it
//! has not been taken for long.
use super::draw::Size;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, read, write};
use rustix::termios::{
    ControlModes, InputModes, LocalModes, OptionalActions, OutputModes, QueueSelector, SpecialCodeIndex, isatty,
    tcflush, tcgetattr, tcgetwinsize, tcsetattr,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// Who takes nothing for this long gets a fresh start.
const STUCK: Duration = Duration::from_secs(20);
/// More is never waiting: some answers and a panel.
const MOST: usize = 64 << 10;

/// An open terminal.
#[derive(Debug)]
pub struct Tty {
    fd: OwnedFd,
    waiting: Vec<u8>,
    since: Instant,
}

impl Tty {
    /// Opens it without becoming its session, and without waiting for a carrier.
    pub fn open(path: &Path, now: Instant) -> io::Result<Self> {
        let fd = open(path, OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
        let tty = Self { fd, waiting: Vec::new(), since: now };
        tty.set_modes()?;
        // What was typed before anybody listened is meant for nobody.
        let _ = tcflush(&tty.fd, QueueSelector::IFlush);
        Ok(tty)
    }

    /// Keys come one by one, without echo, signals or flow control; whoever else writes here has its lines as before.
    pub fn set_modes(&self) -> io::Result<()> {
        if !isatty(&self.fd) {
            return Ok(());
        }
        let before = tcgetattr(&self.fd)?;
        let mut modes = before.clone();
        modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN;
        modes.input_modes -=
            InputModes::IXON | InputModes::IXOFF | InputModes::ICRNL | InputModes::INLCR | InputModes::IGNCR;
        modes.output_modes |= OutputModes::OPOST | OutputModes::ONLCR;
        modes.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
        // Nothing typed is no end.
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        let is_same = modes.local_modes == before.local_modes
            && modes.input_modes == before.input_modes
            && modes.output_modes == before.output_modes
            && modes.control_modes == before.control_modes
            && modes.special_codes[SpecialCodeIndex::VMIN] == before.special_codes[SpecialCodeIndex::VMIN];
        if !is_same {
            tcsetattr(&self.fd, OptionalActions::Now, &modes)?;
        }
        Ok(())
    }

    /// What it says of itself, else the usual.
    pub fn size(&self) -> Size {
        match tcgetwinsize(&self.fd) {
            Ok(size) if size.ws_col >= 20 && size.ws_row >= 6 => {
                Size { columns: size.ws_col.into(), rows: size.ws_row.into() }
            }
            _ => Size::USUAL,
        }
    }

    /// Whether everything has been taken.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds text; what is too much is left out as a whole.
    pub fn say(&mut self, now: Instant, text: &str) {
        if self.is_idle() {
            self.since = now;
        }
        if self.waiting.len() + text.len() <= MOST {
            self.waiting.extend_from_slice(text.as_bytes());
        }
    }

    /// Writes what is taken now. Whether nothing was thrown away; an error when the terminal is gone.
    pub fn flush(&mut self, now: Instant) -> io::Result<bool> {
        while !self.is_idle() {
            match write(&self.fd, &self.waiting) {
                Ok(0) | Err(Errno::AGAIN) => break,
                Ok(len) => {
                    self.waiting.drain(..len);
                    self.since = now;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if self.is_idle() || now.duration_since(self.since) < STUCK {
            return Ok(true);
        }
        self.waiting.clear();
        let _ = tcflush(&self.fd, QueueSelector::OFlush);
        Ok(false)
    }

    /// What was typed; empty when nothing was.
    pub fn typed(&self) -> io::Result<Vec<u8>> {
        let mut buffer = [0; 256];
        match read(&self.fd, &mut buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(len) => Ok(buffer[..len].to_vec()),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Tty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        // To close a serial line waits for what it has not sent, for half a minute.
        let _ = tcflush(&self.fd, QueueSelector::OFlush);
    }
}
