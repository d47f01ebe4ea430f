//! systemd's descriptor store, in a thread of the test.
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::sys::stat::fstat;
use nix::unistd::dup2_raw;
use rtcd_tests::daemon::{Daemon, DaemonConfig, temp_dir, wait_for};
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, IntoRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

fn inode(fd: &OwnedFd) -> u64 {
    fstat(fd).expect("it is open").st_ino
}

/// What systemd does: keeps descriptors under their names, and closes a barrier when it has read all before.
pub struct Keeper {
    path: PathBuf,
    kept: Arc<Mutex<Vec<(String, OwnedFd)>>>,
}

impl Keeper {
    /// One with nothing in it.
    pub fn new() -> Self {
        let path = temp_dir("notify").join("socket");
        let socket = UnixDatagram::bind(&path).expect("a socket can be bound");
        let kept: Arc<Mutex<Vec<(String, OwnedFd)>>> = Arc::default();
        let store = kept.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            let mut room = nix::cmsg_space!([std::os::fd::RawFd; 253]);
            loop {
                let mut slices = [IoSliceMut::new(&mut buffer)];
                let flags = MsgFlags::MSG_CMSG_CLOEXEC;
                let Ok(got) = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut room), flags) else { return };
                let mut descriptors = Vec::new();
                for message in got.cmsgs().expect("room was enough") {
                    if let ControlMessageOwned::ScmRights(received) = message {
                        #[allow(unsafe_code, reason = "the kernel has just made them for us")]
                        descriptors.extend(received.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
                    }
                }
                let len = got.bytes;
                let told = String::from_utf8_lossy(&buffer[..len]).into_owned();
                let name = told.lines().find_map(|line| line.strip_prefix("FDNAME=")).unwrap_or_default().to_owned();
                let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
                if told.contains("FDSTOREREMOVE=1") {
                    store.retain(|(known, _)| *known != name);
                } else if told.contains("FDSTORE=1") {
                    // What it has already under another name is passed over.
                    descriptors.retain(|fd| store.iter().all(|(_, known)| inode(known) != inode(fd)));
                    store.extend(descriptors.into_iter().map(|fd| (name.clone(), fd)));
                }
            }
        });
        Self { path, kept }
    }

    /// Kinds of names, without their numbers.
    pub fn names(&self) -> Vec<String> {
        let kind = |name: &str| name.split('-').next().unwrap_or_default().to_owned();
        let mut names: Vec<String> = self.kept().iter().map(|(name, _)| kind(name)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether what only one process has written down is kept.
    fn is_of_one_process(&self) -> bool {
        let kept = self.kept();
        let mut names = kept.iter().map(|(name, _)| name).filter(|name| name.starts_with("written-"));
        names.next().is_none_or(|first| names.all(|name| name == first))
    }

    fn kept(&self) -> MutexGuard<'_, Vec<(String, OwnedFd)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a daemon with all that is kept, as systemd does.
    pub fn start(&self, config: &DaemonConfig) -> Daemon {
        let config = config.clone().env("NOTIFY_SOCKET", &self.path.display().to_string());
        let kept = self.kept();
        // Out of the way of the places that they are passed in.
        let copies = kept.iter().map(|(_, fd)| fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(200)).expect("a copy"));
        let passed: Vec<RawFd> = copies.collect();
        let names: Vec<&str> = kept.iter().map(|(name, _)| name.as_str()).collect();
        let (count, names) = (passed.len().to_string(), names.join(":"));
        let places = passed.clone();
        let daemon = Daemon::start_with(config.no_wait(), |command| {
            let program = command.get_program().to_owned();
            let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
            let variables: Vec<_> =
                command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
            let directory = command.get_current_dir().expect("it has one").to_owned();
            let log = std::fs::File::options().append(true).open(directory.join("log")).expect("the log is there");
            // A shell knows the number of the process that it becomes.
            *command = Command::new("/bin/sh");
            command.arg("-c").arg("LISTEN_PID=$$ exec \"$0\" \"$@\"").arg(program).args(arguments);
            command.env_clear().envs(variables).envs([("LISTEN_FDS", &count), ("LISTEN_FDNAMES", &names)]);
            command.current_dir(directory).stdin(std::process::Stdio::null());
            command.stdout(log.try_clone().expect("a second handle")).stderr(log);
            let place = move || {
                for (to, from) in (3..).zip(&places) {
                    #[allow(unsafe_code, reason = "between fork and exec nobody else has descriptors here")]
                    let placed = unsafe { dup2_raw(BorrowedFd::borrow_raw(*from), to) }?;
                    let _ = placed.into_raw_fd();
                }
                Ok(())
            };
            #[allow(unsafe_code, reason = "it calls nothing but dup2(2)")]
            unsafe {
                command.pre_exec(place);
            }
        });
        for fd in passed {
            nix::unistd::close(fd).expect("it was open");
        }
        daemon
    }

    /// Another handle on the memory, at its beginning.
    pub fn memory(&self) -> OwnedFd {
        let kept = self.kept();
        let (_, memory) = kept.iter().find(|(name, _)| name == "calls").expect("it is kept");
        let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
        std::fs::File::open(path).expect("it can be opened").into()
    }

    /// Something that was left by another process.
    pub fn keep(&self, name: &str, fd: OwnedFd) {
        self.kept().push((name.into(), fd));
    }

    /// Waits until there are these and no others, and nothing is left of processes before.
    pub fn wait_names<const N: usize>(&self, names: [&str; N]) {
        wait_for(&format!("{names:?} to be kept"), || self.names() == names && self.is_of_one_process());
    }

    /// Starts a daemon that knows systemd, and waits until it serves.
    pub fn start_ready(&self, config: &DaemonConfig) -> Daemon {
        let mut daemon = self.start(config);
        daemon.wait_log("ready");
        daemon
    }
}
