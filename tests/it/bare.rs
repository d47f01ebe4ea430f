//! `image/install-bare` on machines as admins have them, below a root of their own: nothing is started.
use rtcd_tests::daemon::{binary, temp_dir};
use rtcd_tests::in_repository;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A root directory, gone when the test is.
struct Machine(PathBuf);

impl Machine {
    fn new() -> Self {
        Self(temp_dir("bare"))
    }
    /// What the installer says.
    fn install(&self, more: &[&str]) -> String {
        let mut install = Command::new(in_repository("image/install-bare"));
        let output = install.arg("--root").arg(&self.0).args(more).arg(binary()).output().expect("it can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }
    fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }
    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("made");
        fs::write(path, text).expect("written");
    }
    fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }
    /// What is kept of this file or directory.
    fn kept(&self, path: &str) -> Option<PathBuf> {
        let path = self.path(path);
        let start = format!("{}.bak-", path.file_name()?.to_str()?);
        let mut all = fs::read_dir(path.parent()?).ok()?.flatten().map(|entry| entry.path());
        all.find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&start)))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const UNIT: &str = "etc/systemd/system/rtcd.service";
const SPECIAL: &str = "etc/systemd/system/rtcd.service.d/50-paths.conf";
/// The mark of a program that Go has made.
const ORIGINAL: &str = "\x7fELF ... Go build ID: \"x\" ...";

fn effective(program: &Path, config: &Path) -> String {
    let printed = Command::new(program).arg("--config").arg(config).arg("--print-config").env_clear().output();
    String::from_utf8_lossy(&printed.expect("it runs").stdout).into_owned()
}

#[test]
fn a_fresh_machine_gets_the_places_of_the_setup_guide() {
    let machine = Machine::new();
    let said = machine.install(&[]);
    assert!(said.contains("Nobody can register yet"), "{said}");
    let config = machine.path("opt/rtcd/rtcd.toml");
    let passwd = machine.read("etc/passwd");
    let user = passwd.lines().find(|line| line.starts_with("mattermost:")).expect("mattermost is among them");
    for (path, mode) in [("opt/rtcd/rtcd.toml", 0o600), ("opt/rtcd/data/db", 0o700)] {
        let about = fs::metadata(machine.path(path)).expect(path);
        assert_eq!((about.mode() & 0o7777, Some(&*about.uid().to_string())), (mode, user.split(':').nth(2)), "{path}");
    }
    let unit = machine.read(UNIT);
    assert!(unit.contains("\nExecStart=/opt/rtcd/rtcd --config /opt/rtcd/rtcd.toml "), "{unit}");
    assert!(!unit.contains("Environment=") && !machine.has(SPECIAL), "the file has the last word: {unit}");
    let printed = effective(&machine.path("opt/rtcd/rtcd"), &config);
    for line in ["data_source = \"/opt/rtcd/data/db\"", "enable_file = false"] {
        assert!(printed.contains(line), "{line}: {printed}");
    }
    let root = format!("--root={}", machine.0.display());
    let judged = ["security", "--offline=yes", "--threshold=14", &root, "rtcd.service"];
    let judged = Command::new("systemd-analyze").args(judged).output().expect("systemd-analyze is installed");
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
    assert!(machine.has("etc/sysctl.d/60-rtcd.conf"));

    // Run again it leaves alone what the admin has written.
    fs::write(&config, "rtc.ice_port_udp = 8444\nstore.data_source = 'here'\n").expect("written");
    let said = machine.install(&[]);
    assert!(!said.contains("kept ") && !said.contains("is new"), "{said}");
    assert!(effective(&machine.path("opt/rtcd/rtcd"), &config).contains("ice_port_udp = 8444"));

    machine.install(&["--remove"]);
    assert!(config.exists() && !machine.has("opt/rtcd/rtcd") && !machine.has(UNIT));
}

#[test]
fn the_original_at_the_guides_places_is_taken_over_with_copies_of_everything() {
    let machine = Machine::new();
    let file = "[store]\ndata_source = \"/opt/rtcd/data/db\"\n[api]\nsecurity.allow_self_registration = true\n";
    let unit = "[Service]\nType=simple\nUser=mattermost\nGroup=mattermost\n\
        ExecStart=/opt/rtcd/rtcd --config /opt/rtcd/rtcd.toml\nRestart=always\nLimitNOFILE=65536\n";
    machine.write("opt/rtcd/rtcd", ORIGINAL);
    machine.write("opt/rtcd/rtcd.toml", file);
    machine.write("opt/rtcd/data/db/000000000.data", "entries");
    machine.write(UNIT, unit);
    let said = machine.install(&[]);
    for kept in ["/opt/rtcd/rtcd", "/opt/rtcd/data/db", "/etc/systemd/system/rtcd.service"] {
        assert!(said.contains(&format!("kept {kept} as {kept}.bak-")), "{said}");
    }
    assert_eq!(machine.read("opt/rtcd/rtcd.toml"), file, "the admin's file is left alone");
    assert_eq!(machine.read("opt/rtcd/data/db/000000000.data"), "entries");
    assert!(fs::read(machine.path("opt/rtcd/rtcd")).expect("there") == fs::read(binary()).expect("there"));
    assert!(machine.read(UNIT).contains("Type=notify") && !machine.has(SPECIAL), "{}", machine.read(UNIT));
    assert!(machine.kept("opt/rtcd/data/db").expect("a copy").join("000000000.data").exists());

    // A second run has nothing to keep, and the way back leads to the original.
    assert!(!machine.install(&[]).contains("kept "));
    machine.install(&["--remove"]);
    assert_eq!((machine.read("opt/rtcd/rtcd"), machine.read(UNIT)), (ORIGINAL.to_owned(), unit.to_owned()));
}

#[test]
fn what_is_special_about_the_admins_unit_goes_on_to_hold() {
    let machine = Machine::new();
    machine.write("usr/local/bin/rtcd", ORIGINAL);
    machine.write("srv/calls/rtcd.toml", "[rtc]\nice_port_udp = 443\n[store]\ndata_source = '/home/calls/db'\n");
    machine.write(
        UNIT,
        "[Service]\nType=simple\nUser=calls\nExecStart=/usr/local/bin/rtcd \\\n  -config=/srv/calls/rtcd.toml\n\
        Environment=RTCD_LOGGER_ENABLEFILE=false\nLimitNOFILE=100000\n",
    );
    machine.write("etc/passwd", "calls:x:990:990::/:/bin/false\n");
    machine.install(&[]);
    let check = || {
        let special = machine.read(SPECIAL);
        for line in [
            "ExecStart=/usr/local/bin/rtcd --config /srv/calls/rtcd.toml --drain-timeout 4h",
            "User=calls",
            "Group=calls",
            "Environment=RTCD_LOGGER_ENABLEFILE=false",
            "LimitNOFILE=100000",
            "ProtectHome=no",
            "AmbientCapabilities=CAP_NET_BIND_SERVICE",
        ] {
            assert_eq!(special.lines().filter(|found| *found == line).count(), 1, "{line}: {special}");
        }
    };
    check();
    assert_eq!(fs::metadata(machine.path(SPECIAL)).expect("there").permissions().mode() & 0o777, 0o600);
    assert!(machine.kept("usr/local/bin/rtcd").is_some() && !machine.has("opt/rtcd/rtcd"));
    // Run again, when the unit is ours.
    machine.install(&[]);
    check();
}
