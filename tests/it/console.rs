//! The appliance's panel (`provision console`) at terminals of the test, with a real rtcd behind it.
use anyhow::Result;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rtcd_tests::daemon::{binary, temp_dir, wait_for};
use rtcd_tests::world::World;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

/// More than the silence that a key has around it.
const SILENCE: Duration = Duration::from_millis(300);

/// The end of a line where somebody reads and types.
struct Terminal {
    path: PathBuf,
    master: File,
    said: Arc<Mutex<Vec<u8>>>,
    /// As a terminal that is there whoever opens it.
    line: File,
}

impl Terminal {
    fn new() -> Self {
        // No program that a test starts inherits an end of it.
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).expect("a terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("it can be opened");
        let path = PathBuf::from(ptsname_r(&master).expect("it has a name"));
        let line = File::options().read(true).write(true).custom_flags(libc::O_NOCTTY).open(&path).expect("opened");
        Self { path, master: File::from(OwnedFd::from(master)), said: Arc::default(), line }
    }

    /// Somebody reads.
    fn read(self) -> Self {
        let (mut from, said) = (self.master.try_clone().expect("a second handle"), self.said.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = from.read(&mut buffer) {
                said.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..len]);
            }
        });
        self
    }

    /// Nobody reads, and there is no room left.
    fn stuck(self) -> Self {
        let flags = OFlag::from_bits_retain(fcntl(&self.line, FcntlArg::F_GETFL).expect("asked"));
        fcntl(&self.line, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).expect("set");
        while (&self.line).write(&[b'x'; 512]).is_ok() {}
        self
    }

    fn raw(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// All that was said, with one space between words and without what only moves a cursor or colours.
    fn said(&self) -> String {
        let raw = self.raw();
        let mut pieces = raw.split('\x1b');
        let first = pieces.next().unwrap_or_default();
        let rest = pieces.filter_map(|piece| Some(piece.split_once(|c: char| c.is_ascii_alphabetic())?.1));
        let text = rest.fold(first.to_owned(), |text, piece| text + piece);
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn wait(&self, what: &str) {
        wait_for(&format!("{what:?} at {}, where stands:\n{}", self.path.display(), self.raw()), || {
            self.said().contains(what)
        });
    }

    fn press(&mut self, keys: &[u8]) {
        self.master.write_all(keys).expect("typed");
    }
}

/// A directory that stands for the machine, and the panel.
struct Panel {
    root: PathBuf,
    child: Option<Child>,
}

impl Panel {
    fn new() -> Self {
        let this = Self { root: temp_dir("console"), child: None };
        this.write("etc/os-release", "PRETTY_NAME=\"Debian GNU/Linux 13\"\nIMAGE_VERSION=\"1.2.3\"\n");
        this.write("proc/sys/kernel/hostname", "rtcd-1\n");
        this
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn start(&mut self, lines: &[&Path], screens: &[&Path]) {
        let mut command = Command::new(binary().with_file_name("provision"));
        command.arg("console").arg("--root").arg(&self.root).env_clear().stdin(Stdio::null());
        command.args(lines.iter().flat_map(|path| ["--line".as_ref(), path.as_os_str()]));
        command.args(screens.iter().flat_map(|path| ["--screen".as_ref(), path.as_os_str()]));
        self.child = Some(command.spawn().expect("the panel can be started"));
    }

    /// It ends when it is told to, whatever its terminals do.
    fn stop(&mut self) {
        let child = self.child.as_mut().expect("started");
        kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).expect("told");
        let mut ended = None;
        wait_for("the panel's end", || {
            ended = child.try_wait().expect("it can be asked");
            ended.is_some()
        });
        assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
    }
}

impl Drop for Panel {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.root);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_console_has_the_state_calls_and_keys_and_none_waits_for_another() -> Result<()> {
    let world = World::start().await?;
    let mut panel = Panel::new();
    let store = world.daemon.variables()["RTCD_STORE_DATASOURCE"].clone();
    let configuration = format!(
        "[api]\nhttp.listen_address = '{}'\nsecurity.allow_self_registration = true\n[store]\ndata_source = '{store}'\n",
        world.daemon.api_addr()
    );
    panel.write("run/rtcd/rtcd.toml", &configuration);
    let (mut line, mut screen, stuck) = (Terminal::new().read(), Terminal::new().read(), Terminal::new().stuck());
    panel.start(&[&stuck.path, &line.path], &[&screen.path]);

    for terminal in [&line, &screen] {
        terminal.wait("Mattermost Calls rtcd appliance 1.2.3 ");
        terminal.wait(&format!("are told udp {}", world.media()));
        terminal.wait(&format!("Mattermost is told http://{}", world.daemon.api_addr()));
        terminal.wait("Now 0 calls, 0 sessions");
        terminal.wait("Keys: l link for whoever cannot connect");
    }
    line.wait("State ready Next nothing: Mattermost is connected");
    assert!(!line.said().contains("Debian") && !line.raw().contains('\x1b'), "{}", line.raw());

    let (ann, bob) = (world.join("ann").await?, world.join("bob").await?);
    screen.wait("Now 1 call, 2 sessions");
    // A counter is no reason to write all of it again, and Enter is.
    assert_eq!(line.said().matches("State ready").count(), 1, "{}", line.raw());
    line.press(b"\r");
    line.wait("Now 1 call, 2 sessions");

    sleep(SILENCE);
    line.press(b"l");
    line.wait("or when rtcd is restarted.");
    let said = line.said();
    let url = said.split_whitespace().find(|word| word.starts_with("https://127.0.0.1:")).expect("an address");
    let token = url.rsplit('/').next().expect("it ends with the token");
    let page = world.daemon.request("GET", &format!("/check/{token}"), None, None);
    assert!(page.status == 200 && token.len() == 32, "{url}: {}", page.text());
    assert!(!world.daemon.log().contains(token) && !screen.said().contains(token), "it is for whoever has asked");

    // Noise, a paste, a change of mind; then the word, which erases nothing here.
    for rubbish in [&b"\x1b[A\xff\x00"[..], b"rerase\n", b"lecr", b"q"] {
        line.press(rubbish);
        sleep(SILENCE);
    }
    assert!(!line.said().contains("Factory reset:"), "{}", line.raw());
    line.press(b"r");
    line.wait("Type the word erase and Enter within 30 s.");
    line.press(b"eraze\r");
    line.wait("> Nothing has been erased.");
    sleep(SILENCE);
    screen.press(b"r");
    screen.wait("Type the word erase and Enter within 30 s.");
    screen.press(b"erase\r");
    screen.wait("Nothing has been erased: this is not the machine's own root.");
    // Any key: the panel is back.
    let before = screen.said().matches("State ").count();
    sleep(SILENCE);
    screen.press(b" ");
    wait_for("the panel", || screen.said().matches("State ").count() > before);

    panel.stop();
    drop((ann, bob));
    Ok(())
}

#[test]
fn mistakes_are_there_in_full_and_nothing_that_a_terminal_obeys() {
    let mut panel = Panel::new();
    panel.write("proc/sys/kernel/hostname", "rtcd\x1b]0;x\x07");
    let (line, screen) = (Terminal::new().read(), Terminal::new().read());
    panel.start(&[&line.path], &[&screen.path]);
    line.wait("State starting");
    let mistake = "line 5, column 5: rtcd.rtc.ice_prot_udp: unknown key; did you mean rtcd.rtc.ice_port_udp?";
    let status = serde_json::json!({
        "ready": false, "at": 0, "keys": [], "notices": ["odd\u{1b}[31m"],
        "error": format!("user-data has 2 mistakes:\n  {mistake}\n  line 6: \u{1b}[2J\u{9b}: unknown"),
    });
    panel.write("run/provision/status.json", &status.to_string());
    for terminal in [&line, &screen] {
        terminal.wait("State");
        terminal.wait(mistake);
        terminal.wait("line 6: ?[2J?: unknown");
    }
    line.wait("State unconfigured Next correct the user data");
    assert!(line.raw().bytes().all(|byte| matches!(byte, b'\r' | b'\n' | b' '..=b'~')), "{:?}", line.raw());
    assert!(!screen.raw().contains("[31mNotice") && !screen.raw().contains("\x1b[2J"), "{:?}", screen.raw());
    panel.stop();
}

#[test]
fn a_line_that_is_gone_is_opened_again_when_it_is_back() {
    let mut panel = Panel::new();
    let (gone, there) = (Terminal::new(), Terminal::new().read());
    let link = panel.root.join("line");
    std::os::unix::fs::symlink(&gone.path, &link).expect("made");
    panel.start(&[&link, &there.path], &[]);
    there.wait("State starting");
    drop(gone);
    let back = Terminal::new().read();
    fs::remove_file(&link).expect("removed");
    std::os::unix::fs::symlink(&back.path, &link).expect("made");
    back.wait("State starting");
    panel.stop();
}
