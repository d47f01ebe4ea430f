//! A road to the daemon on which packets get lost, for participants whose sockets are their own.
use crate::peer::Loss;
use anyhow::Result;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::net::UdpSocket;

/// Which way a datagram goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    There,
    Back,
}

/// Carries one participant's datagrams while it lives.
#[derive(Debug)]
pub struct LossyRoad {
    /// Where the participant sends to.
    pub entry: SocketAddr,
    lost: Arc<AtomicU32>,
    task: tokio::task::JoinHandle<()>,
}

impl LossyRoad {
    /// A road to `daemon` that loses every `n`-th packet of media on the way there.
    pub async fn to(daemon: SocketAddr, n: u32) -> Result<Self> {
        let mut loss = Loss::every(Some(n));
        Self::losing(daemon, move |direction, datagram| direction == Direction::There && loss.takes(datagram)).await
    }

    /// A road to `daemon` that loses what `loses` says.
    pub async fn losing(
        daemon: SocketAddr,
        mut loses: impl FnMut(Direction, &[u8]) -> bool + Send + 'static,
    ) -> Result<Self> {
        let (near, far) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
        far.connect(daemon).await?;
        let entry = near.local_addr()?;
        let lost = Arc::new(AtomicU32::new(0));
        let counter = lost.clone();
        let task = tokio::spawn(async move {
            let (mut there, mut back) = (vec![0; 2048], vec![0; 2048]);
            let mut participant = None;
            loop {
                // A datagram that does not get through is the nature of this road.
                tokio::select! {
                    Ok((len, from)) = near.recv_from(&mut there) => {
                        participant = Some(from);
                        if loses(Direction::There, &there[..len]) {
                            counter.fetch_add(1, Ordering::Relaxed);
                        } else {
                            let _ = far.send(&there[..len]).await;
                        }
                    }
                    Ok(len) = far.recv(&mut back) => {
                        if loses(Direction::Back, &back[..len]) {
                            counter.fetch_add(1, Ordering::Relaxed);
                        } else if let Some(participant) = participant {
                            let _ = near.send_to(&back[..len], participant).await;
                        }
                    }
                }
            }
        });
        Ok(Self { entry, lost, task })
    }
    /// Packets that got lost so far.
    pub fn lost(&self) -> u32 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for LossyRoad {
    fn drop(&mut self) {
        self.task.abort();
    }
}
