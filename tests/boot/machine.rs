//! A virtual machine with the shipped image. Nothing of a test is baked into it: a shell on a virtio port arrives as a
//! credential of the firmware (SMBIOS type 11), and what it runs on a volume of its own.
use crate::image::{self, accelerator, tools};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rtcd_tests::daemon::{free_port, temp_dir};
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// An emulated boot takes 20 to 130 s, by what else the processors do.
const BOOT: Duration = Duration::from_secs(300);
/// Anything that a shell does.
const COMMAND: Duration = Duration::from_secs(120);
/// What no good boot says.
const BAD: [&str; 4] = ["Kernel panic", "emergency mode", "ordering cycle", "is corrupted"];
/// `-uuid`, which becomes the machine id.
const UUID: &str = "11111111-2222-4333-8444-555555555555";

/// Root's shell, once rtcd has been started or has not. The image's own programs go before those of the volume.
const SHELL: &str = "[Unit]
After=rtcd.service provision.service
[Service]
ExecStartPre=/bin/sh -c 'test -e /run/tools/busybox || { mkdir -p /run/tools /run/applets && mount -t vfat -o ro LABEL=tools /run/tools && /run/tools/busybox --install -s /run/applets; }'
Environment=PATH=/usr/sbin:/usr/bin:/run/applets:/run/tools
ExecStart=/bin/sh -c 'echo READY; exec /bin/sh'
StandardInput=file:/dev/virtio-ports/rtcd.test
StandardOutput=file:/dev/virtio-ports/rtcd.test
StandardError=inherit
Restart=always
RestartSec=1
";

/// Programs of the tools tree that the image has no use for.
const TOOLS: [&str; 2] = ["busybox", "systemd-analyze"];

/// What is special about a machine.
#[derive(Default)]
pub struct Hardware {
    /// A `cidata` volume with this user data and this instance id.
    pub seed: Option<(String, &'static str)>,
    /// `network-config` on that volume.
    pub network_config: Option<String>,
    /// Credentials beside those of the test: name and text.
    pub credentials: Vec<(&'static str, &'static str)>,
    /// The guest's address that the ports lead to; without it the one that QEMU gives by DHCP.
    pub address: Option<&'static str>,
    /// `sys_vendor` of the firmware.
    pub vendor: Option<&'static str>,
    /// Without a serial line: nothing is heard of its console.
    pub no_serial: bool,
    /// Firmware that knows Secure Boot, with this file as its memory; without it one that forgets and checks nothing.
    pub secure_boot: Option<PathBuf>,
    /// A program that answers one HTTP request at 169.254.169.254 on standard input and output.
    pub metadata: Option<PathBuf>,
}

/// A running machine; it ends with this value.
pub struct Machine {
    child: Child,
    dir: PathBuf,
    ports: (u16, u16),
    console: Arc<Mutex<Vec<String>>>,
    keyboard: ChildStdin,
    shell: UnixStream,
    heard: Vec<u8>,
    started: Instant,
    /// The test has seen what it wanted.
    done: bool,
}

/// Two ports of this machine that lead to the API and to the media port of the guest.
pub fn ports() -> (u16, u16) {
    (free_port(), free_port())
}

impl Machine {
    /// Switches one on: UEFI, the image's own boot loader.
    pub fn start(disk: &Path, ports: (u16, u16), hardware: &Hardware) -> Self {
        let dir = temp_dir("vm");
        let ovmf = tools("usr/share/OVMF");
        let vars = hardware.secure_boot.clone().unwrap_or_else(|| dir.join("vars.fd"));
        if !vars.exists() {
            fs::copy(ovmf.join("OVMF_VARS_4M.fd"), &vars).expect("OVMF is in the tools tree");
        }
        let mut qemu = image::qemu();
        let serial = if hardware.no_serial { "none" } else { "stdio" };
        qemu.args(accelerator()).args(["-smp", "2", "-m", "1024", "-uuid", UUID, "-serial", serial]);
        let code = ovmf.join(if hardware.secure_boot.is_some() {
            // Its memory is out of reach of everybody but the firmware itself.
            qemu.args(["-machine", "smm=on", "-global", "driver=cfi.pflash01,property=secure,value=on"]);
            "OVMF_CODE_4M.secboot.fd"
        } else {
            "OVMF_CODE_4M.fd"
        });
        qemu.args(["-drive", &format!("if=pflash,format=raw,unit=0,readonly=on,file={}", code.display())]);
        qemu.args(["-drive", &format!("if=pflash,format=raw,unit=1,file={}", vars.display())]);
        qemu.args(["-drive", &format!("if=none,id=disk,format=raw,cache=unsafe,file={}", disk.display())]);
        qemu.args(["-device", "virtio-blk-pci,drive=disk,bootindex=1", "-device", "virtio-rng-pci"]);
        qemu.args(["-netdev", &network(ports, hardware), "-device", "virtio-net-pci,netdev=net,romfile="]);
        let socket = dir.join("shell");
        qemu.args(["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=shell,name=rtcd.test"]);
        qemu.args(["-chardev", &format!("socket,id=shell,server=on,wait=off,path={}", socket.display())]);
        credential(&mut qemu, "systemd.extra-unit.rtcd-test.service", SHELL);
        credential(&mut qemu, "systemd.unit-dropin.multi-user.target", "[Unit]\nWants=rtcd-test.service\n");
        for (name, text) in &hardware.credentials {
            credential(&mut qemu, name, text);
        }
        if let Some(vendor) = hardware.vendor {
            qemu.args(["-smbios", &format!("type=1,manufacturer={vendor}")]);
        }
        if let Some((user_data, instance_id)) = &hardware.seed {
            let seed = dir.join("seed");
            fs::create_dir(&seed).expect("made");
            fs::write(seed.join("meta-data"), format!("instance-id: {instance_id}\n")).expect("written");
            fs::write(seed.join("user-data"), user_data).expect("written");
            if let Some(text) = &hardware.network_config {
                fs::write(seed.join("network-config"), text).expect("written");
            }
            let volume = format!("driver=vvfat,node-name=seed,label=cidata,read-only=on,dir={}", seed.display());
            qemu.args(["-blockdev", &volume, "-device", "virtio-blk-pci,drive=seed"]);
        }
        let volume = dir.join("tools");
        fs::create_dir(&volume).expect("made");
        for name in TOOLS {
            fs::copy(tools("usr/bin").join(name), volume.join(name)).expect("the tools tree has it");
        }
        let volume = format!("driver=vvfat,node-name=tools,label=tools,read-only=on,dir={}", volume.display());
        qemu.args(["-blockdev", &volume, "-device", "virtio-blk-pci,drive=tools"]);
        let child = qemu.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("QEMU starts: image/build has made the tools tree");
        let keyboard = child.stdin.take().expect("piped");
        let console = Arc::new(Mutex::new(Vec::new()));
        follow(child.stdout.take().expect("piped"), console.clone());
        follow(child.stderr.take().expect("piped"), console.clone());
        let deadline = Instant::now() + COMMAND;
        let shell = loop {
            match UnixStream::connect(&socket) {
                Ok(shell) => break shell,
                Err(error) => {
                    let ended = !matches!(child.try_wait(), Ok(None));
                    assert!(!ended && Instant::now() < deadline, "{error}: {:?}", console.lock());
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        };
        shell.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout can be set");
        Self { child, dir, ports, console, keyboard, shell, heard: Vec::new(), started: Instant::now(), done: false }
    }

    /// Where the API is reached.
    pub fn api(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.ports.0).into()
    }

    /// Where media are sent.
    pub fn media(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.ports.1).into()
    }

    /// Waits for the shell; what it cost is printed, never judged.
    pub fn wait_ready(&mut self, what: &str) {
        self.hear("READY\n", BOOT);
        let (wall, cpu) = (self.started.elapsed().as_secs_f64(), self.cpu());
        println!("{what}: ready after {wall:.1} s, {cpu:.1} s of CPU, by {}", accelerator()[1]);
    }

    /// Whether the shell has come up, or says anything else.
    pub fn has_shell(&mut self) -> bool {
        let mut buffer = [0; 64];
        matches!(self.shell.read(&mut buffer), Ok(len) if len > 0)
    }

    /// What a command prints, and its exit status.
    pub fn run(&mut self, command: &str) -> (i32, String) {
        self.tell(&format!("{{ {command}\n}} 2>&1 </dev/null; echo \"@END $?\""));
        let mut said = self.hear("@END ", COMMAND);
        let status = self.hear("\n", COMMAND);
        said.truncate(said.len() - "@END ".len());
        (status.trim().parse().expect("an exit status"), said)
    }

    /// What a command prints that has to succeed.
    pub fn sh(&mut self, command: &str) -> String {
        let (status, said) = self.run(command);
        assert_eq!(status, 0, "{command}\n{said}");
        said
    }

    /// Repeats a command until it succeeds.
    pub fn wait_for(&mut self, command: &str) -> String {
        let deadline = Instant::now() + COMMAND;
        loop {
            let (status, said) = self.run(command);
            if status == 0 {
                return said;
            }
            assert!(Instant::now() < deadline, "waited in vain for: {command}\n{said}\n{}", self.console());
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Says something to the shell and does not wait for an answer.
    pub fn tell(&mut self, line: &str) {
        self.shell.write_all(format!("{line}\n").as_bytes()).expect("the shell listens");
    }

    fn hear(&mut self, end: &str, patience: Duration) -> String {
        let deadline = Instant::now() + patience;
        let mut buffer = [0; 64 << 10];
        loop {
            if let Some(at) = self.heard.windows(end.len()).position(|window| window == end.as_bytes()) {
                let said: Vec<_> = self.heard.drain(..at + end.len()).collect();
                return String::from_utf8_lossy(&said).into_owned();
            }
            let bad = self.lines().into_iter().find(|line| BAD.iter().any(|bad| line.contains(bad)));
            assert!(bad.is_none(), "{bad:?}\n{}", self.console());
            let heard = String::from_utf8_lossy(&self.heard).into_owned();
            assert!(Instant::now() < deadline, "waited in vain for {end:?}, heard {heard:?}\n{}", self.console());
            match self.shell.read(&mut buffer) {
                Ok(0) => panic!("the machine has ended, waiting for {end:?}\n{}", self.console()),
                Ok(len) => self.heard.extend_from_slice(&buffer[..len]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => panic!("{error}, waiting for {end:?}\n{}", self.console()),
            }
        }
    }

    /// Waits until the machine has switched itself off, or has begun a restart: then QEMU ends.
    pub fn wait_end(&mut self) {
        self.wait("the machine's end", || self.has_ended().then_some(()));
    }

    /// Whether QEMU is gone and its last words are read: then nobody else holds the lines.
    fn has_ended(&self) -> bool {
        Arc::strong_count(&self.console) == 1
    }

    /// The end of a test that went well. Every other end shows the console: by a panic, and by an error too.
    pub fn done(mut self) {
        self.done = true;
    }

    /// Waits for a line on the serial console.
    pub fn wait_console(&self, what: &str) -> String {
        self.wait(what, || {
            let ended = self.has_ended();
            let found = self.lines().into_iter().find(|line| line.contains(what));
            assert!(!ended || found.is_some(), "the machine has ended without {what:?}\n{}", self.console());
            found
        })
    }

    /// Waits for what the status panel says on the serial console, wherever it breaks its lines.
    pub fn wait_panel(&self, what: &str) {
        self.wait(what, || {
            let ended = self.has_ended();
            let all = self.lines();
            let words: Vec<_> = all.iter().flat_map(|line| line.split_whitespace()).collect();
            let found = words.join(" ").contains(what.trim());
            assert!(!ended || found, "the machine has ended without {what:?}\n{}", self.console());
            found.then_some(())
        });
    }

    /// A key on the serial console.
    pub fn press(&mut self, key: &str) {
        self.keyboard.write_all(key.as_bytes()).and_then(|()| self.keyboard.flush()).expect("QEMU reads");
    }

    fn wait<T>(&self, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + BOOT;
        loop {
            if let Some(found) = found() {
                return found;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what:?}\n{}", self.console());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// All lines of the serial console so far, without colours.
    pub fn lines(&self) -> Vec<String> {
        self.console.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The end of the console, for messages.
    fn console(&self) -> String {
        let lines = self.lines();
        let tail = lines.iter().skip(lines.len().saturating_sub(40));
        tail.fold("the console ends with:\n".to_owned(), |mut text, line| {
            let _ = writeln!(text, "  {line}");
            text
        })
    }

    /// CPU time of QEMU: other than wall time it compares between runs on a busy machine.
    fn cpu(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
        // utime and stime (proc(5)), in the ticks of 10 ms that user space sees.
        fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !self.done {
            eprintln!("{}", self.console());
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn network((api, media): (u16, u16), hardware: &Hardware) -> String {
    let guest = hardware.address.unwrap_or_default();
    let mut network = format!(
        "user,id=net,hostfwd=tcp:127.0.0.1:{api}-{guest}:8045,hostfwd=udp:127.0.0.1:{media}-{guest}:8443,hostfwd=tcp:127.0.0.1:{media}-{guest}:8443"
    );
    if let Some(program) = &hardware.metadata {
        // The address has to lie inside of the network.
        let range = "net=169.254.0.0/16,dhcpstart=169.254.2.15";
        let _ = write!(network, ",{range},guestfwd=tcp:169.254.169.254:80-cmd:{}", program.display());
    }
    network
}

fn credential(qemu: &mut Command, name: &str, value: &str) {
    let value = STANDARD.encode(value);
    qemu.args(["-smbios", &format!("type=11,value=io.systemd.credential.binary:{name}={value}")]);
}

/// Notes what comes line by line, without what only moves a cursor or colours.
fn follow(from: impl std::io::Read + Send + 'static, console: Arc<Mutex<Vec<String>>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let line = plain(&String::from_utf8_lossy(&line));
            console.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    });
}

fn plain(line: &str) -> String {
    let mut pieces = line.split('\u{1b}');
    let first = pieces.next().unwrap_or_default().to_owned();
    // Behind the escape: a bracket, numbers, and the letter that ends it.
    let rest = |piece: &str| piece.split_once(|c: char| c.is_ascii_alphabetic()).map(|(_, rest)| rest.to_owned());
    pieces.filter_map(rest).fold(first, |text, piece| text + &piece).replace('\r', "")
}
