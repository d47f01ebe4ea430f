//! One participant: a socket, and what speaks and hears over it ([`Core`]).
//!
//! After each input nothing needs to be done before [`Participant::wake_at`].
mod core;
mod hearing;
mod negotiation;

pub use core::Core;

use crate::link::{Link, Room, Tcp, Udp};
use crate::node::Say;
use crate::player::Measured;
use crate::run::Shared;
use crate::signal::{Received, Who};
use crate::traffic::{Shape, Window};
use anyhow::{Context as _, Result};
use mio::{Registry, Token};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;
use str0m::Candidate;
use str0m::net::{Protocol, TcpType};
use tokio::sync::mpsc;

/// Who somebody is and what it does.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Number of the call.
    pub call: u32,
    /// Number of the participant, which nobody else has.
    pub number: u32,
    /// In the words of the protocol.
    pub who: Arc<Who>,
    /// What it sends, by section: a voice is one, all layers of a screen are one.
    pub sections: Vec<Vec<Shape>>,
    /// It has a TCP connection in place of a UDP socket.
    pub tcp: bool,
    /// Its address.
    pub local: IpAddr,
}

/// What surrounds a participant.
pub struct Around<'a> {
    /// The thread that plays it.
    pub player: usize,
    /// Its place there.
    pub slot: u32,
    /// What all threads see.
    pub shared: &'a Shared,
    /// Where to say something.
    pub node: &'a mpsc::Sender<Say>,
    /// When it is measured.
    pub window: Window,
    /// And where.
    pub measured: &'a mut Measured,
}

impl Around<'_> {
    fn say(&self, say: Say) -> Result<()> {
        self.node.try_send(say).ok().context("the server does not read its WebSocket: too much waits to be said")
    }
}

/// Somebody in a call.
pub struct Participant {
    /// All but the socket.
    pub core: Core,
    link: Option<Link>,
}

impl Participant {
    /// Says that it joins, and offers its data channel.
    pub fn join(spec: Spec, now: Instant, registry: &Registry, around: &Around<'_>) -> Result<Self> {
        let token = Token(around.slot as usize);
        let mut link = None;
        let mut candidate = None;
        if !spec.tcp {
            let udp = Udp::bind(spec.local, registry, token)
                .context("no UDP socket for a participant: raise the limit of open files (ulimit -n), or play fewer")?;
            candidate = Some(Candidate::host(udp.local, "udp")?);
            link = Some(Link::Udp(udp));
        }
        let mut participant = Self { core: Core::new(spec, candidate, now, around)?, link };
        participant.flush();
        Ok(participant)
    }

    /// The socket has something; returns whether there may be more.
    pub fn receive(&mut self, now: Instant, room: &mut Room, around: &mut Around<'_>) -> Result<bool> {
        let core = &mut self.core;
        let mut result = Ok(());
        let more = match &mut self.link {
            None => return Ok(false),
            Some(Link::Udp(udp)) => {
                let local = udp.local;
                udp.receive(room, |from, bytes| {
                    if result.is_ok() {
                        result = core.datagram(now, Protocol::Udp, from, local, bytes, around);
                    }
                })
            }
            Some(Link::Tcp(tcp)) => {
                let local = tcp.local;
                tcp.receive(|from, bytes| {
                    if result.is_ok() {
                        result = core.datagram(now, Protocol::Tcp, from, local, bytes, around);
                    }
                })
            }
        };
        result?;
        self.flush();
        more.context("the connection to the media port broke")
    }

    /// The server said something over the WebSocket.
    pub fn signalled(
        &mut self,
        now: Instant,
        message: Received,
        registry: &Registry,
        around: &mut Around<'_>,
    ) -> Result<()> {
        self.core.signalled(now, message, around)?;
        if let Some(remote) = self.core.connect_to.take()
            && self.link.is_none()
        {
            let tcp = Tcp::connect(remote, registry, Token(around.slot as usize))
                .with_context(|| format!("no TCP connection to the media port {remote}"))?;
            self.core.add_local(Candidate::builder().tcp().host(tcp.local).tcptype(TcpType::Active).build()?);
            self.link = Some(Link::Tcp(tcp));
        }
        self.core.timeout(now, around)?;
        self.flush();
        Ok(())
    }

    /// It is as late as it wanted to be called.
    pub fn timeout(&mut self, now: Instant, around: &mut Around<'_>) -> Result<()> {
        self.core.timeout(now, around)?;
        self.flush();
        Ok(())
    }

    /// Says that it leaves; its socket is closed when it is dropped.
    pub fn leave(&mut self, registry: &Registry, around: &Around<'_>) -> Result<()> {
        if let Some(link) = &mut self.link {
            link.deregister(registry);
        }
        around.say(Say::Leave(self.core.spec.who.clone()))
    }

    /// When it wants to be called.
    pub fn wake_at(&self) -> Instant {
        self.core.wake_at
    }

    fn flush(&mut self) {
        for transmit in self.core.outgoing.drain(..) {
            match &mut self.link {
                Some(Link::Udp(udp)) => udp.send(transmit.destination, &transmit.contents),
                Some(Link::Tcp(tcp)) => tcp.send(&transmit.contents),
                None => {}
            }
        }
    }
}
