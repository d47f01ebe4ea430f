//! What a thread is told, and where that waits.
use crate::participant::Spec;
use crate::signal::Received;
use anyhow::{Result, bail};
use mio::{Registry, Token, Waker};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

/// Orders that wait for a thread, at most: it takes all that wait at each turn, and its participants are told a few things each.
const MAX_ORDERS: usize = 1 << 16;

/// What a thread is told.
pub enum Order {
    /// Somebody joins.
    Join(Box<Spec>),
    /// The server said this to the one in this place.
    Heard {
        /// Its place.
        slot: u32,
        /// What.
        message: Received,
    },
    /// One of those who only listen leaves, and somebody new comes.
    Churn,
    /// All leave.
    End,
}

/// Where orders for a thread are put.
#[derive(Clone)]
pub struct Mailbox {
    orders: SyncSender<Order>,
    waker: Arc<Waker>,
}

impl Mailbox {
    /// Where orders are put, and where the thread that this wakes by `token` takes them.
    pub(super) fn new(registry: &Registry, token: Token) -> Result<(Self, Receiver<Order>)> {
        let waker = Arc::new(Waker::new(registry, token)?);
        let (orders, inbox) = sync_channel(MAX_ORDERS);
        Ok((Self { orders, waker }, inbox))
    }

    /// Fails when the thread does not keep up. One that has ended is told nothing more.
    pub fn send(&self, order: Order) -> Result<()> {
        match self.orders.try_send(order) {
            Err(TrySendError::Full(_)) => bail!("a thread of this tool does not keep up: use more --threads"),
            Err(TrySendError::Disconnected(_)) => Ok(()),
            Ok(()) => Ok(self.waker.wake()?),
        }
    }
}
