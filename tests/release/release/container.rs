//! The container where little is allowed, and how it ends.
use crate::podman::{API, Container, IMAGE, MEDIA, with_the_image};
use anyhow::Result;
use rtcd_tests::daemon::wait_for;
use rtcd_tests::mattermost::Mattermost;
use rtcd_tests::peer::{Peer, PeerConfig};
use rtcd_tests::plugin::Plugin;
use rtcd_tests::world::VOICE;
use std::process::ExitStatus;

/// Two participants that hear each other.
pub struct Call {
    _node: Mattermost,
    ann: Peer,
    bob: Peer,
    _speaking: Box<dyn std::any::Any>,
}

impl Call {
    pub async fn begin() -> Result<Self> {
        let node = Mattermost::connect(&Plugin::new(API, "mattermost")).await?;
        let ann = Peer::join(&node, PeerConfig::new("call", "ann"), MEDIA).await?;
        let bob = Peer::join(&node, PeerConfig::new("call", "bob"), MEDIA).await?;
        ann.add_voice();
        let speaking = Box::new(ann.stream("voice", VOICE));
        bob.wait_track("voice", "ann").await?;
        Ok(Self { _node: node, ann, bob, _speaking: speaking })
    }

    fn frames(&self) -> u64 {
        self.bob.track("voice", "ann").map_or(0, |track| track.frames)
    }

    /// Everybody leaves.
    pub async fn end(self) -> Result<()> {
        self.ann.leave().await?;
        self.bob.leave().await
    }

    /// Waits for a second of voice more.
    pub async fn goes_on(&self) -> Result<()> {
        let wanted = self.frames() + 50;
        self.bob.wait("more voice", |state| state.tracks.values().any(|track| track.frames >= wanted)).await
    }
}

pub fn in_a_runtime<T>(work: impl Future<Output = Result<T>>) -> T {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(work).expect("it works")
}

const OPEN: &str = "-d --name rtcd -e RTCD_API_SECURITY_ALLOWSELFREGISTRATION=true";

#[test]
#[ignore = "needs the release files and podman: tests/run"]
fn a_read_only_root_any_user_and_nothing_to_write_to_do_not_keep_it_from_serving() {
    with_the_image(|podman| {
        let in_memory = "cannot be written: clients are registered in memory alone";
        for (options, memory) in [
            ("--read-only", false),
            ("--user 1234", false),
            ("--read-only --read-only-tmpfs=false", true),
            (
                "--read-only --read-only-tmpfs=false --user 1234 --unsetenv-all --cap-drop=all --security-opt=no-new-privileges",
                true,
            ),
            ("--user 0", false),
        ] {
            let container = podman.start(&format!("{OPEN} -e RTCD_LOGGER_ENABLEFILE=true {options} {IMAGE}"));
            in_a_runtime(async {
                let call = Call::begin().await?;
                call.goes_on().await
            });
            let log = container.log();
            assert_eq!(log.contains(in_memory), memory, "{options}: {log}");
        }
    });
}

#[test]
#[ignore = "needs the release files and podman: tests/run"]
fn where_the_only_log_cannot_be_written_the_console_has_it() {
    with_the_image(|podman| {
        let silent = "-e RTCD_LOGGER_ENABLECONSOLE=false -e RTCD_LOGGER_ENABLEFILE=true";
        let container = podman.start(&format!("{OPEN} {silent} {IMAGE}"));
        wait_for("the lines", || container.log().contains("\"msg\":\"ready\""));
        assert!(container.log().contains("the log goes to standard output until it can"), "{}", container.log());
    });
}

#[test]
#[ignore = "needs the release files and podman: tests/run"]
fn a_volume_keeps_the_clients_that_one_command_makes() {
    with_the_image(|podman| {
        // As in image/compose/compose.yaml.
        let line = format!(
            "-d --name rtcd --read-only --cap-drop=all --security-opt=no-new-privileges -v clients:/opt/rtcd/data \
             -e RTCD_STORE_DATASOURCE=/opt/rtcd/data/db -e RTCD_LOGGER_ENABLEFILE=false {IMAGE}"
        );
        let client = |words: &str| {
            podman.say(&[&["exec", "rtcd", "./rtcd", "client"][..], &words.split(' ').collect::<Vec<_>>()].concat())
        };
        let container = podman.start(&line);
        assert!(container.log().contains("rtcd client add"), "{}", container.log());
        let url = client("add mattermost --host 127.0.0.1");
        let (id_and_key, host) =
            url.trim().strip_prefix("http://").and_then(|rest| rest.split_once('@')).expect("a URL");
        let (id, key) = id_and_key.split_once(':').expect("an id and a key");
        assert_eq!((id, host), ("mattermost", "127.0.0.1:8045"));
        drop(container);

        let _container = podman.start(&line);
        assert_eq!(client("list").trim(), "mattermost");
        let plugin = Plugin { auth_key: key.to_owned(), ..Plugin::new(API, id) };
        in_a_runtime(async { Ok(plugin.dial().await.map(drop)?) });
    });
}

/// What Linux has learnt since 3.10, the kernel of RHEL 7: a machine that does not know it says so.
const YOUNGER_THAN_LINUX_3_10: [&str; 32] = [
    "bpf",
    "clone3",
    "close_range",
    "copy_file_range",
    "epoll_pwait2",
    "execveat",
    "faccessat2",
    "fchmodat2",
    "futex_waitv",
    "getrandom",
    "io_pgetevents",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "landlock_create_ruleset",
    "memfd_create",
    "membarrier",
    "mlock2",
    "openat2",
    "pidfd_getfd",
    "pidfd_open",
    "pidfd_send_signal",
    "pkey_alloc",
    "preadv2",
    "process_madvise",
    "pwritev2",
    "renameat2",
    "rseq",
    "sched_setattr",
    "seccomp",
    "statx",
    "userfaultfd",
];

#[test]
#[ignore = "needs the release files and podman: tests/run"]
fn it_serves_with_the_system_calls_of_linux_3_10() {
    with_the_image(|podman| {
        let enosys = 38;
        let profile = serde_json::json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": YOUNGER_THAN_LINUX_3_10, "action": "SCMP_ACT_ERRNO", "errnoRet": enosys}],
        });
        let path = podman.dir().join("old.json");
        std::fs::write(&path, profile.to_string()).expect("written");
        let container = podman.start(&format!("{OPEN} --security-opt seccomp={} {IMAGE}", path.display()));
        in_a_runtime(async { Call::begin().await?.goes_on().await });
        assert!(container.log().contains("ready"));
    });
}

#[test]
#[ignore = "needs the release files and podman: tests/run"]
fn docker_stop_waits_for_the_end_of_the_call_and_no_longer_than_told() {
    with_the_image(|podman| {
        let container = podman.start(&format!("{OPEN} {IMAGE}"));
        let ended = in_a_runtime(async {
            let call = Call::begin().await?;
            let stopping = container.stop("120");
            tokio::task::block_in_place(|| wait_for("the drain", || container.log().contains("waiting for sessions")));
            call.goes_on().await?;
            assert!(!stopping.is_finished(), "the call still runs");
            call.end().await?;
            Ok(tokio::task::block_in_place(|| stopping.join().expect("it ran")))
        });
        assert_eq!(exit_of(&container, ended), "0");
        drop(container);

        let container = podman.start(&format!("{OPEN} {IMAGE}"));
        let ended = in_a_runtime(async {
            let call = Call::begin().await?;
            let stopping = container.stop("3");
            call.goes_on().await?;
            Ok(tokio::task::block_in_place(|| stopping.join().expect("it ran")))
        });
        assert_eq!(exit_of(&container, ended), "137");
    });
}

pub fn exit_of(container: &Container<'_>, stopped: ExitStatus) -> String {
    assert!(stopped.success(), "{stopped}");
    assert_eq!(container.inspect("{{.State.Running}}"), "false");
    container.inspect("{{.State.ExitCode}}")
}
