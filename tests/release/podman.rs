//! A container runtime with a storage of its own, and containers in it.
use crate::files::{architecture, file, said};
use nix::sched::{CloneFlags, unshare};
use rtcd_tests::calls::they_meet;
use rtcd_tests::daemon::{temp_dir, wait_for};
use rtcd_tests::http;
use rtcd_tests::namespace::{ADDRESS, with_a_network_of_its_own};
use rtcd_tests::plugin::Plugin;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

/// As the setup guide calls the image.
pub const IMAGE: &str = "mattermost/rtcd:latest";
/// Where the API of every container is: they all have the network namespace of their test.
pub const API: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8045);
/// Where its media are.
pub const MEDIA: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(ADDRESS), 8443);

/// The runtime; whatever runs in it ends with this value.
pub struct Podman {
    dir: PathBuf,
}

/// Runs `test` with a runtime that has the release's image, in a network where all ports are free.
pub fn with_the_image(test: impl FnOnce(&Podman) + Send) {
    with_a_runtime(|podman| {
        podman.load(&file(&format!("rtcd-container-{}.tar", architecture())));
        test(podman);
    });
}

/// The same with no image yet.
pub fn with_a_runtime(test: impl FnOnce(&Podman) + Send) {
    // Copies of the image and a browser are a lot for a small machine.
    static ONE: Mutex<()> = Mutex::new(());
    let _alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    with_a_network_of_its_own(|| {
        // No control groups: the machine's need not be writable, and one of a runtime's own is not wanted.
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
        for line in ["--make-rprivate /", "-t tmpfs tmpfs /sys/fs/cgroup"] {
            assert!(
                Command::new("mount").args(line.split(' ')).status().expect("mount runs").success(),
                "mount {line}"
            );
        }
        let dir = temp_dir("podman");
        test(&Podman { dir });
    });
}

impl Podman {
    /// `podman` with these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("podman");
        for (option, place) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(option).arg(self.dir.join(place));
        }
        command
            .args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file"])
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    pub fn say(&self, arguments: &[&str]) -> String {
        said(&mut self.command(arguments))
    }

    /// Loads an archive; the image gets the guide's name, too.
    pub fn load(&self, archive: &Path) {
        let loaded = self.say(&["load", "-q", "-i", &archive.display().to_string()]);
        let name = loaded.trim().rsplit(' ').next().unwrap_or_default().to_owned();
        self.say(&["tag", &name, &format!("docker.io/{IMAGE}")]);
    }

    /// A directory for what is mounted.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `docker run ..` as it is written: `line` goes on behind these words.
    fn run(&self, line: &str) -> Command {
        // What the sandbox of a build machine allows; the network is that of the test.
        let mut command = self.command(&["run", "--cgroups=disabled", "--network=host", "--pull=never"]);
        command.args(["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024", "--log-driver=k8s-file"]);
        command.args(line.split_whitespace());
        command
    }

    /// Runs a container until it ends by itself.
    pub fn run_to_end(&self, line: &str) -> Output {
        self.run(line).output().expect("podman runs")
    }

    /// Starts a container of the name `rtcd` that is there until the value is dropped, and waits for its API.
    pub fn start(&self, line: &str) -> Container<'_> {
        said(&mut self.run(line));
        let container = Container(self);
        wait_for("the API", || {
            assert_eq!(container.inspect("{{.State.Running}}"), "true", "{}", container.log());
            http::request(API, "GET", "/version", None, None).is_ok_and(|answer| answer.status == 200)
        });
        container
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.command(&["rm", "-f", "-t", "0", "-a"]).output();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// The container `rtcd`.
pub struct Container<'a>(&'a Podman);

impl Container<'_> {
    /// What it has logged so far, on standard output and standard error.
    pub fn log(&self) -> String {
        let output = self.0.command(&["logs", "rtcd"]).output().expect("podman runs");
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    pub fn inspect(&self, format: &str) -> String {
        self.0.say(&["inspect", "--format", format, "rtcd"]).trim().to_owned()
    }

    /// `docker stop`, which goes on beside.
    pub fn stop(&self, seconds: &str) -> JoinHandle<ExitStatus> {
        let mut command = self.0.command(&["stop", "-t", seconds, "rtcd"]);
        std::thread::spawn(move || command.stdout(Stdio::null()).status().expect("podman runs"))
    }

    /// Two participants and two browsers have a call through it.
    pub fn carries_a_call(&self, plugin: &Plugin) {
        let call = they_meet(plugin, MEDIA, "a-call", false, self.0.dir());
        tokio::runtime::Runtime::new().expect("a runtime").block_on(call).expect("a call");
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the container ---\n{}--- end of log ---", self.log());
        }
        let _ = self.0.command(&["rm", "-f", "-t", "0", "rtcd"]).output();
    }
}
