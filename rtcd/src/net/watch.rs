//! Tells that addresses of this machine have come or gone, as the kernel says (rtnetlink(7)).
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket as _, AsyncSocketExt as _, SocketAddr, TokioSocket};
use std::io;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Multicast groups (`linux/rtnetlink.h`): interfaces that come up and go down, addresses.
const RTMGRP_LINK: u32 = 0x1;
const RTMGRP_IPV4_IFADDR: u32 = 0x10;
const RTMGRP_IPV6_IFADDR: u32 = 0x100;

/// One event seldom comes alone: an interface that comes up gets an address, then another.
const SETTLE: Duration = Duration::from_millis(200);
/// Messages that are taken at once: whatever pours them in, others have their turn.
const MAX_TAKEN: usize = 256;

/// The kernel's news.
pub struct Watch {
    socket: Option<TokioSocket>,
    /// When the news that have come are told.
    due: Option<Instant>,
}

impl Watch {
    /// Begins to watch. Where that is not possible, it tells nothing ever, and says so in the log.
    pub fn new() -> Self {
        let socket = open();
        if let Err(error) = &socket {
            tracing::info!(%error, "no news of addresses from the kernel: they are looked at every few seconds");
        }
        Self { socket: socket.ok(), due: None }
    }

    /// Waits until something has changed. Nothing is lost when it is dropped before.
    pub async fn changed(&mut self) {
        loop {
            let Some(socket) = &self.socket else { return std::future::pending().await };
            if let Some(due) = self.due {
                sleep_until(due).await;
                self.due = None;
                discard(socket);
                return;
            }
            // What it says is looked up, as messages may have been lost.
            match socket.recv(&mut &mut [0; 16][..]).await {
                Ok(()) => self.due = Some(Instant::now() + SETTLE),
                // Too many came at once.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.due = Some(Instant::now() + SETTLE),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::info!(%error, "no more news of addresses from the kernel");
                    self.socket = None;
                }
            }
        }
    }
}

fn open() -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
    let groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
    socket.socket_mut().bind(&SocketAddr::new(0, groups))?;
    Ok(socket)
}

/// Drops what has come meanwhile: the look that follows tells it.
fn discard(socket: &TokioSocket) {
    for _ in 0..MAX_TAKEN {
        if socket.socket_ref().recv(&mut &mut [0; 16][..], libc::MSG_DONTWAIT).is_err() {
            return;
        }
    }
}
