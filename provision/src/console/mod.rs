//! `provision console`: a panel on every console of the machine, and a few keys. Nobody logs in there; whoever has the console has
//! this.
//!
//! The way of what is shown: [`look`] (in a thread of its own, which may be slow) -> [`facts`] -> [`state`] -> [`panel`] ->
//! [`draw`] -> [`terminal`] -> [`tty`]. What is typed goes the other way: [`tty`] -> [`keys`] -> [`answers`], each in a thread of
//! its own. The loop here waits for all of them and never for one.
mod answers;
mod bounded;
mod budget;
mod consoles;
mod daemon;
mod draw;
mod facts;
mod keys;
mod look;
mod panel;
mod state;
mod terminal;
mod text;
mod tty;
mod units;

use crate::cli::Consoles;
use crate::exit_code::ExitCode;
use keys::Wish;
use look::Look;
use panel::Panel;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};
use terminal::{Kind, Terminal};

/// How often facts and the list of consoles are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// A look takes no more than this share of the time, as far as that is possible: rtcd describes each call, and a large one is
/// work.
const SHARE: u32 = 20;
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Facts that are older are said to be old: several answers may take as long as they may, and a pause follows.
const OLD: Duration = Duration::from_secs(120);

/// What the loop hears from its threads.
enum Heard {
    Facts(Box<Panel>, Option<PathBuf>),
    Answer(PathBuf, u64, Vec<String>),
}

/// The whole of it: until SIGTERM.
struct Show {
    options: Consoles,
    terminals: BTreeMap<PathBuf, Terminal>,
    panel: Option<(Instant, Panel)>,
    store: Option<PathBuf>,
    tell: Sender<Heard>,
    heard: Receiver<Heard>,
    bell: UnixStream,
    ring: UnixStream,
    asked: u64,
}

/// Shows the panel until it is told to end; with `--once` on standard output, and no more.
pub fn run(options: Consoles) -> ExitCode {
    if options.once {
        let panel = Panel::of(&Look::new(&options.root).look());
        let text = draw::log(&panel, draw::Size::USUAL.columns);
        return io::stdout().write_all(text.as_bytes()).map_or(ExitCode::System, |()| ExitCode::Success);
    }
    match Show::new(options).and_then(|mut show| show.run()) {
        Ok(()) => ExitCode::Success,
        Err(error) => {
            tracing::error!(%error, "no panel");
            ExitCode::System
        }
    }
}

impl Show {
    fn new(options: Consoles) -> io::Result<Self> {
        let (tell, heard) = channel();
        let (bell, ring) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        ring.set_nonblocking(true)?;
        Ok(Self { options, terminals: BTreeMap::new(), panel: None, store: None, tell, heard, bell, ring, asked: 0 })
    }

    fn run(&mut self) -> io::Result<()> {
        let told_to_end = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
            signal_hook::flag::register(signal, told_to_end.clone())?;
            signal_hook::low_level::pipe::register(signal, self.ring.try_clone()?)?;
        }
        self.look()?;
        let mut listed = None;
        while !told_to_end.load(Ordering::Relaxed) {
            let now = Instant::now();
            if listed.is_none_or(|at| now >= at + LOOK) {
                listed = Some(now);
                self.list(now);
            }
            self.hear(now);
            self.show(now);
            self.wait(now + LOOK)?;
            self.read(Instant::now());
        }
        Ok(())
    }

    /// A thread that looks at everything, again and again.
    fn look(&self) -> io::Result<()> {
        let (root, tell, ring) = (self.options.root.clone(), self.tell.clone(), self.ring.try_clone()?);
        thread::Builder::new().name("look".into()).spawn(move || {
            let mut look = Look::new(&root);
            loop {
                let began = Instant::now();
                let panel = Panel::of(&look.look());
                if tell.send(Heard::Facts(Box::new(panel), look.store())).is_err() {
                    return;
                }
                let _ = (&ring).write(&[0]);
                thread::sleep((began.elapsed() * SHARE).clamp(LOOK, LONGEST_PAUSE));
            }
        })?;
        Ok(())
    }

    /// Opens what is new in the list of consoles, and what could not be opened before.
    fn list(&mut self, now: Instant) {
        let wanted = self.wanted();
        self.terminals.retain(|path, _| wanted.iter().any(|(one, _)| one == path));
        for (path, kind) in wanted {
            if !self.terminals.contains_key(&path)
                && let Ok(terminal) = Terminal::open(&path, kind, now)
            {
                self.terminals.insert(path, terminal);
            }
        }
    }

    fn wanted(&self) -> Vec<(PathBuf, Kind)> {
        let Consoles { root, line, screen, .. } = &self.options;
        if !line.is_empty() || !screen.is_empty() {
            let lines = line.iter().map(|path| (path.clone(), Kind::Line));
            return lines.chain(screen.iter().map(|path| (path.clone(), Kind::Screen))).collect();
        }
        consoles::of_kernel(root)
    }

    fn hear(&mut self, now: Instant) {
        let mut buffer = [0; 64];
        while matches!((&self.bell).read(&mut buffer), Ok(len) if len > 0) {}
        while let Ok(heard) = self.heard.try_recv() {
            match heard {
                Heard::Facts(panel, store) => {
                    self.panel = Some((now, *panel));
                    self.store = store;
                }
                Heard::Answer(path, number, said) => {
                    if let Some(terminal) = self.terminals.get_mut(&path) {
                        terminal.answered(now, number, &said);
                    }
                }
            }
        }
    }

    /// A terminal that is gone is opened again when it is back.
    fn show(&mut self, now: Instant) {
        let Some((at, panel)) = &self.panel else { return };
        let mut panel = panel.clone();
        if now >= *at + OLD {
            panel.is_old();
        }
        self.terminals.retain(|_, terminal| terminal.show(now, &panel).is_ok());
    }

    fn wait(&self, at_most: Instant) -> io::Result<()> {
        let until =
            self.terminals.values().filter_map(Terminal::next_timeout).min().map_or(at_most, |at| at.min(at_most));
        let mut fds = vec![PollFd::new(&self.bell, PollFlags::IN)];
        fds.extend(self.terminals.values().map(|terminal| {
            let (tty, writes) = terminal.tty();
            PollFd::new(tty, if writes { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN })
        }));
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn read(&mut self, now: Instant) {
        let mut wishes = Vec::new();
        self.terminals.retain(|path, terminal| {
            let typed = terminal.read(now);
            let typed_alone = terminal.handle_timeout(now);
            wishes.extend(
                typed.as_ref().ok().copied().flatten().into_iter().chain(typed_alone).map(|wish| (path.clone(), wish)),
            );
            typed.is_ok()
        });
        for (path, wish) in wishes {
            self.obey(now, path, wish);
        }
    }

    fn obey(&mut self, now: Instant, path: PathBuf, wish: Wish) {
        let Some(terminal) = self.terminals.get_mut(&path) else { return };
        match wish {
            Wish::Panel => return terminal.again(),
            Wish::AskReset | Wish::KeepAll => return terminal.answer(now, &answers::at_once(wish)),
            Wish::Link | Wish::Errors | Wish::Check | Wish::Reset => {}
        }
        self.asked += 1;
        let number = self.asked;
        if !terminal.may_ask(now, number, answers::DEADLINE) {
            return;
        }
        let (store, is_real, tell) = (self.store.clone(), self.options.root == Path::new("/"), self.tell.clone());
        let ring = self.ring.try_clone();
        let answer = move || {
            let said = answers::answer(wish, store.as_deref(), is_real);
            let _ = tell.send(Heard::Answer(path, number, said));
            let _ = ring.and_then(|mut ring| ring.write(&[0]));
        };
        if let Err(error) = thread::Builder::new().name("answer".into()).spawn(answer) {
            tracing::warn!(%error, "a key is not answered");
        }
    }
}
