//! A server that is started for the table: in a directory of its own, on free ports of the loopback interface.
use crate::api::{Api, random};
use anyhow::{Context as _, Result, bail};
use std::fs::{self, DirBuilder, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long the start may take, and the end.
const PATIENCE: Duration = Duration::from_secs(15);
/// Where a media port is looked for: both servers want one below 49152.
const MEDIA_PORTS: std::ops::Range<u16> = 20_000..48_000;

/// It runs until it is dropped.
pub struct Server {
    child: Child,
    directory: PathBuf,
    api: SocketAddr,
}

impl Server {
    /// Starts a program that takes the variables of rtcd.
    pub fn start(program: &Path) -> Result<Self> {
        let program = program.canonicalize().with_context(|| format!("{}: no such program", program.display()))?;
        let directory = std::env::temp_dir().join(format!("rtcd-load-{}", random(6)?));
        DirBuilder::new().mode(0o700).create(&directory).with_context(|| format!("{}", directory.display()))?;
        let api = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let media = media_port()?.to_string();
        let log = File::create(directory.join("log"))?;
        let variables = [
            ("RTCD_API_HTTP_LISTENADDRESS", api.to_string()),
            ("RTCD_API_SECURITY_ALLOWSELFREGISTRATION", "true".into()),
            ("RTCD_RTC_ICEADDRESSUDP", Ipv4Addr::LOCALHOST.to_string()),
            ("RTCD_RTC_ICEADDRESSTCP", Ipv4Addr::LOCALHOST.to_string()),
            ("RTCD_RTC_ICEPORTUDP", media.clone()),
            ("RTCD_RTC_ICEPORTTCP", media),
            ("RTCD_STORE_DATASOURCE", directory.join("store").display().to_string()),
            ("RTCD_LOGGER_ENABLEFILE", "false".into()),
            ("RTCD_LOGGER_CONSOLELEVEL", "INFO".into()),
        ];
        let mut command = Command::new(&program);
        // What this shell has set for another server is not for this one.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("RTCD_")) {
            command.env_remove(name);
        }
        let child = command
            .current_dir(&directory)
            .envs(variables)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()));
        let child = match child {
            Ok(child) => child,
            Err(error) => {
                let _ = fs::remove_dir_all(&directory);
                return Err(error);
            }
        };
        let mut server = Self { child, directory, api };
        server.wait(&program)?;
        Ok(server)
    }

    fn wait(&mut self, program: &Path) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(self.api).is_err() {
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(5).collect();
                let what = ended.map_or("does not listen".to_owned(), |status| format!("ended with {status}"));
                bail!("{} {what}; its log, last line first:\n{}", program.display(), last.join("\n"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Its API, as a client of its own.
    pub fn api(&self) -> Result<Api> {
        Api::new(&format!("http://{}", self.api), None, None)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing of it is kept: a kill is as good as a goodbye.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A port that is free for UDP and for TCP, on all addresses.
fn media_port() -> Result<u16> {
    let start = u16::from_str_radix(&random(2)?, 16)? % (MEDIA_PORTS.end - MEDIA_PORTS.start);
    let free = |port: &u16| {
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok()
            && TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok()
    };
    (MEDIA_PORTS.start + start..MEDIA_PORTS.end).chain(MEDIA_PORTS).find(free).context("no port is free for media")
}
