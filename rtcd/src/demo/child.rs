//! The daemon as a child process with a temporary store; both go when the demo ends.
use crate::check::target::Target;
use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long the daemon may take until its API answers.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// How long it may take to end.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// Between two looks at it.
const POLL: Duration = Duration::from_millis(20);

/// An rtcd with defaults that ends with the demo.
pub struct LocalDaemon {
    child: Child,
    api: SocketAddr,
    dir: PathBuf,
}

impl LocalDaemon {
    /// Starts it with the API on loopback, and media on the address that the page is served on.
    pub fn start(page: IpAddr) -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("rtcd-demo-{:016x}", rand::random::<u64>()));
        fs::create_dir(&dir).with_context(|| format!("a directory for the store: {}", dir.display()))?;
        let api = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(IpAddr::V4(Ipv4Addr::LOCALHOST))?));
        let media_address = if page.is_unspecified() { String::new() } else { page.to_string() };
        let media_port = free_port(page)?.to_string();
        let mut command = Command::new(std::env::current_exe().context("the path of this program")?);
        command
            .args(["--drain-timeout", "0s"])
            .env("RTCD_API_HTTP_LISTENADDRESS", api.to_string())
            .env("RTCD_API_HTTP_TLS_ENABLE", "false")
            .env("RTCD_API_SECURITY_ALLOWSELFREGISTRATION", "true")
            .env("RTCD_RTC_ICEADDRESSUDP", &media_address)
            .env("RTCD_RTC_ICEADDRESSTCP", &media_address)
            .env("RTCD_RTC_ICEPORTUDP", &media_port)
            .env("RTCD_RTC_ICEPORTTCP", &media_port)
            .env("RTCD_RTC_ENABLEIPV6", page.is_ipv6().to_string())
            .env("RTCD_STORE_DATASOURCE", dir.join("store"))
            .env("RTCD_LOGGER_ENABLEFILE", "false")
            .env_remove("NOTIFY_SOCKET")
            .current_dir(&dir)
            .stdin(Stdio::null());
        let child = command.spawn().context("starting the daemon")?;
        Ok(Self { child, api, dir })
    }

    /// Where its API is.
    pub fn target(&self) -> Target {
        Target { tls: false, host: self.api.ip().to_string(), port: self.api.port(), prefix: String::new() }
    }

    /// Waits until the API takes connections.
    pub async fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_PATIENCE;
        while tokio::net::TcpStream::connect(self.api).await.is_err() {
            self.check()?;
            if Instant::now() > deadline {
                bail!("the daemon's API did not come up");
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// An error when it has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("the daemon ended: {status}"),
            None => Ok(()),
        }
    }

    fn stop(&mut self) -> std::io::Result<()> {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            kill(Pid::from_raw(pid), Signal::SIGTERM)?;
        }
        let deadline = Instant::now() + STOP_PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                self.child.kill()?;
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}

impl Drop for LocalDaemon {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.stop();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A port that is free for UDP and TCP, in the range that the configuration takes and below the kernel's own.
fn free_port(ip: IpAddr) -> Result<u16> {
    for _ in 0..1000 {
        let port = rand::random_range(20_000..32_000);
        if UdpSocket::bind((ip, port)).is_ok() && TcpListener::bind((ip, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port on {ip}")
}
