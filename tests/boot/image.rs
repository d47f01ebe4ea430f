//! The built image, its tools tree with QEMU and OVMF, and whether this machine can run guests itself.
use rtcd_tests::in_repository;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// One guest at a time: two would only slow each other down.
pub static ALONE: Mutex<()> = Mutex::const_new(());

/// A version of the image: `DIR/rtcd_VERSION`, to which `.raw`, `.efi` and so on are added.
pub struct Image(PathBuf);

impl Image {
    /// The newest in a directory.
    pub fn newest_in(directory: &Path) -> Self {
        let files = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
        let of_version = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "efi");
        let newest =
            files.filter(of_version).max_by_key(|path| path.metadata().and_then(|about| about.modified()).ok());
        let newest = newest.unwrap_or_else(|| panic!("no image in {}: run image/build --quick", directory.display()));
        Self(newest.with_extension(""))
    }

    /// What `image/build` made.
    pub fn built() -> Self {
        Self::newest_in(&in_repository("target/image"))
    }

    /// A file of it: `raw`, `efi`, ..
    pub fn file(&self, extension: &str) -> PathBuf {
        // Not with_extension: a version has dots.
        let mut name = self.0.clone().into_os_string();
        name.push(".");
        name.push(extension);
        name.into()
    }

    /// Its version.
    pub fn version(&self) -> &str {
        let name = self.0.file_name().and_then(|name| name.to_str()).expect("UTF-8");
        name.strip_prefix("rtcd_").expect("an image of ours")
    }

    /// A disk with it of 3 GiB; holes stay holes.
    pub fn disk(&self, path: &Path) {
        let copied = Command::new("cp").arg("--sparse=always").args([&self.file("raw"), path]).status();
        assert!(copied.is_ok_and(|status| status.success()), "the disk can be copied");
        grow(path, 3);
    }
}

/// Makes a disk bigger.
pub fn grow(path: &Path, gigabytes: u64) {
    let disk = fs::OpenOptions::new().write(true).open(path).expect("the disk can be opened");
    disk.set_len(gigabytes << 30).expect("the disk can be made bigger");
}

/// The tools tree that `image/build` has made.
pub fn tools(path: &str) -> PathBuf {
    in_repository("target/mkosi/tools").join(path)
}

/// QEMU of the tools tree without any device, run by the tree's own loader: its libc is newer than this machine's. It dies
/// with the thread that starts it.
pub fn qemu() -> Command {
    let libraries = tools("usr/lib/x86_64-linux-gnu").display().to_string();
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(tools("usr/lib64/ld-linux-x86-64.so.2"));
    command.args(["--library-path", &format!("{libraries}:{libraries}/systemd")]);
    command.arg(tools("usr/bin/qemu-system-x86_64")).stdin(Stdio::null());
    command.env("QEMU_MODULE_DIR", format!("{libraries}/qemu"));
    command.arg("-L").arg(tools("usr/share/qemu")).arg("-L").arg(tools("usr/share/seabios"));
    command.args(["-M", "q35", "-nodefaults", "-display", "none", "-no-reboot"]);
    command
}

/// KVM only if a kernel really prints its banner under it: `/dev/kvm` alone proves nothing. Of what is emulated, `qemu64`
/// is the cheapest.
pub fn accelerator() -> &'static [&'static str] {
    const EMULATED: &[&str] = &["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "qemu64"];
    const KVM: &[&str] = &["-accel", "kvm", "-cpu", "host"];
    static WORKS: LazyLock<bool> = LazyLock::new(|| {
        let kernel = Image::built().file("vmlinuz");
        let mut probe = qemu();
        probe.args(KVM).args(["-m", "256", "-serial", "stdio", "-append", "console=ttyS0 panic=-1", "-kernel"]);
        let Ok(mut probe) = probe.arg(kernel).stdout(Stdio::piped()).stderr(Stdio::null()).spawn() else {
            return false;
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while matches!(probe.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(100));
        }
        let _ = probe.kill();
        let output = probe.wait_with_output().map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&output).contains("Linux version")
    });
    let there = fs::OpenOptions::new().write(true).open("/dev/kvm").is_ok();
    if there && *WORKS { KVM } else { EMULATED }
}
