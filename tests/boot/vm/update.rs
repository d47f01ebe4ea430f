//! Boot 5: a version that serves takes over without ending a call; one that does not is given up; a forged one is refused.
use crate::image::{ALONE, Image};
use crate::machine::{Hardware, Machine, ports};
use crate::vm::serve::user_data;
use anyhow::Result;
use rtcd_tests::daemon::temp_dir;
use rtcd_tests::in_repository;
use rtcd_tests::mattermost::Mattermost;
use rtcd_tests::peer::{Peer, PeerConfig};
use rtcd_tests::plugin::Plugin;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "boots a machine, which needs an image: tests/run"]
async fn boot_5_takes_a_good_version_gives_up_a_broken_one_and_refuses_forgeries() -> Result<()> {
    let _alone = ALONE.lock().await;
    let dir = temp_dir("updates");
    let (key, forger) = (Key::new(&dir.join("key")), Key::new(&dir.join("forger")));
    let first = release(&dir, "1.0.0", &key, &[]);
    release(&dir, "2.0.0", &key, &[]);
    let broken = dir.join("broken");
    let drop_in = broken.join("usr/lib/systemd/system/rtcd.service.d/90-broken.conf");
    fs::create_dir_all(drop_in.parent().expect("below"))?;
    fs::write(&drop_in, "[Service]\nExecStart=\nExecStart=/bin/false\n")?;
    release(&dir, "3.0.0", &key, &["--", "--extra-tree", &broken.display().to_string()]);

    let site = dir.join("site");
    let url = format!("http://10.0.2.2:{}/", serve(&site));
    let disk = dir.join("disk.raw");
    first.disk(&disk);
    let ports = ports();
    let update = format!("update: {{url: \"{url}\", auto: true, window: \"00:00-23:59\"}}\n");
    let start_with = |user_data, instance_id| {
        Machine::start(&disk, ports, &Hardware { seed: Some((user_data, instance_id)), ..Hardware::default() })
    };
    let start = || start_with(user_data(ports.1, &update), "updated");
    let mut machine = start();
    machine.wait_ready("boot 5, version 1");
    machine.wait_for("systemctl is-active rtcd-healthcheck");
    let plugin = Plugin::new(machine.api(), "mattermost");
    let node = Mattermost::connect(&plugin).await?;

    publish(&dir.join("2.0.0"), &site);
    forger.sign(&site);
    is_refused(&mut machine, "a signature by somebody else", "DOWNLOAD INVALID: Signature verification failed");
    publish(&dir.join("2.0.0"), &site);
    spoil(&site);
    is_refused(&mut machine, "a file that is not what was signed", "DOWNLOAD INVALID: Checksum");
    assert_eq!(machine.sh("cat /usr/lib/os-release | grep IMAGE_VERSION").trim(), "IMAGE_VERSION=\"1.0.0\"");

    publish(&dir.join("2.0.0"), &site);
    let ann = Peer::join(&node, PeerConfig::new("call", "ann"), machine.media()).await?;
    machine.sh("systemctl start --no-block rtcd-update");
    machine.wait_for("systemctl show -P StatusText rtcd | grep '^draining: 1 calls, 1 sessions left$'");
    assert!(ann.state().error.is_none() && ann.state().closed == 0, "the call goes on");
    ann.leave().await?;
    machine.wait_end();
    machine.done();

    // The first boot of version 2, and the admin has made a mistake.
    let mut machine = start_with("#cloud-config\nrtcd: {api: {htpp: {}}}\n".to_owned(), "mistaken");
    machine.wait_ready("boot 5, version 2 with a mistake");
    machine.wait_panel("rtcd.api.htpp: unknown");
    machine.wait_panel("rtcd runs with what was said before");
    is_version(&mut machine, "2.0.0");
    // Blessed all the same: no longer counted.
    machine.wait_for("test -e /boot/EFI/Linux/rtcd_2.0.0.efi");
    machine.wait_for("systemctl is-active rtcd");
    plugin.dial().await.expect("a client that registered with version 1 is still known");
    machine.tell("systemctl poweroff");
    machine.wait_end();
    machine.done();

    let mut machine = start();
    machine.wait_ready("boot 5, version 2");
    is_version(&mut machine, "2.0.0");
    plugin.dial().await.expect("a client that registered with version 1 is still known");

    publish(&dir.join("3.0.0"), &site);
    machine.sh("systemctl start --no-block rtcd-update");
    machine.wait_end();
    machine.done();
    for attempt in 1..=3 {
        let mut machine = start();
        machine.wait_end();
        println!("boot 5, version 3: attempt {attempt} has ended itself");
        machine.done();
    }
    let mut machine = start();
    machine.wait_ready("boot 5, back");
    is_version(&mut machine, "2.0.0");
    plugin.dial().await.expect("the client is known all the time");
    machine.wait_for("test -e /boot/EFI/Linux/rtcd_3.0.0+0-3.efi");
    let ended = machine.sh("journalctl -u rtcd-rollback -o cat --no-pager | grep -c '^Starting rtcd-rollback'");
    assert_eq!(ended.trim(), "3", "each attempt has ended itself");
    // It is not tried again every night.
    machine.wait_for("systemctl is-active rtcd-healthcheck");
    machine.sh("systemctl start rtcd-update");
    let said = machine.sh("journalctl -b -u rtcd-update -o cat --no-pager");
    assert!(said.contains("this version has been tried and did not serve"), "{said}");
    is_version(&mut machine, "2.0.0");
    machine.done();
    fs::remove_dir_all(dir)?;
    Ok(())
}

fn is_version(machine: &mut Machine, version: &str) {
    let release = machine.sh("cat /usr/lib/os-release");
    assert!(release.contains(&format!("IMAGE_VERSION=\"{version}\"")), "{release}");
}

fn is_refused(machine: &mut Machine, what: &str, why: &str) {
    let (status, _) = machine.run("systemctl start rtcd-update");
    let said =
        machine.sh("journalctl _SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID rtcd-update) -o cat --no-pager");
    assert_ne!(status, 0, "{what}: {said}");
    assert!(said.contains("not updated: systemd-sysupdate refused"), "{what}: {said}");
    assert!(said.lines().any(|line| line.contains(why)), "{what}: {said}");
    machine.sh("systemctl reset-failed rtcd-update");
}

/// A GnuPG key of its own.
struct Key(PathBuf);

impl Key {
    fn new(home: &Path) -> Self {
        fs::DirBuilder::new().mode(0o700).create(home).expect("made");
        let key = Self(home.to_owned());
        key.gpg(&["--quick-generate-key", "releases of a test", "ed25519", "sign", "never"]);
        key.gpg(&["--output", &key.file(), "--export-secret-keys"]);
        key
    }

    fn file(&self) -> String {
        self.0.join("secret.key").display().to_string()
    }

    fn sign(&self, site: &Path) {
        let sums = site.join("SHA256SUMS").display().to_string();
        self.gpg(&["--detach-sign", "--output", &format!("{sums}.gpg"), &sums]);
    }

    fn gpg(&self, arguments: &[&str]) {
        let mut gpg = Command::new("gpg");
        gpg.args(["--batch", "--yes", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]);
        // A socket's path may not be long: the temporary directory is short enough.
        let status = gpg.arg("--homedir").arg(&self.0).args(arguments).status();
        assert!(status.expect("gpg is installed").success(), "gpg {arguments:?}");
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(&self.0).args(["--kill", "all"]).status();
    }
}

/// Builds a version with all its release files.
fn release(dir: &Path, version: &str, key: &Key, more: &[&str]) -> Image {
    let output = dir.join(version);
    let mut build = Command::new(in_repository("image/build"));
    build.args(["--version", version, "--sign", &key.file(), "--output", &output.display().to_string()]).args(more);
    let built = build.output().expect("image/build can be started");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Image::newest_in(&output)
}

/// Puts what systemd-sysupdate fetches of a release on the site, in place of what was there.
fn publish(release: &Path, site: &Path) {
    let _ = fs::remove_dir_all(site);
    fs::create_dir_all(site).expect("made");
    for entry in fs::read_dir(release).expect("the release is there").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("SHA256SUMS") || name.ends_with(".efi") || (name.contains(".root") && name.ends_with(".xz"))
        {
            fs::copy(entry.path(), site.join(name)).expect("copied");
        }
    }
}

/// The last byte of the kernel image, which comes last: the partitions are written by then, and count for nothing.
fn spoil(site: &Path) {
    let files = fs::read_dir(site).expect("the site is there").flatten().map(|entry| entry.path());
    let kernel = files.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "efi"));
    let kernel = kernel.expect("there is a kernel");
    let mut bytes = fs::read(&kernel).expect("readable");
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    fs::write(kernel, bytes).expect("written");
}

/// A plain web server of one directory.
fn serve(site: &Path) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let site = site.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let site = site.clone();
            std::thread::spawn(move || answer(stream, &site));
        }
    });
    port
}

fn answer(mut stream: TcpStream, site: &Path) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let name = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
    let found = (!name.contains("..")).then(|| fs::read(site.join(name)).ok()).flatten();
    let (status, body) = match found {
        Some(body) => ("200 OK", body),
        None => ("404 Not Found", Vec::new()),
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    stream.write_all(&body)
}
