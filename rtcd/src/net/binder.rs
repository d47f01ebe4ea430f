//! Media sockets follow the addresses of this machine: those that come are bound, those that go are told no more.
use super::addresses::{Bind, Local, Machine, State, is_wanted};
use crate::config::Rtc;
use crate::logging::OnceEach;
use crate::plane::PlaneError;
use crate::plane::socket::BufferSizes;
use crate::plane::sockets::{Kind, Sockets};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// What is said once of an address.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Trouble {
    /// It cannot be used yet, or ever.
    Unusable(IpAddr, State),
    /// It could not be bound.
    Unbound(Kind, SocketAddr),
}

/// Binds what the configuration asks for, now and whenever it comes.
pub struct Binder {
    /// As it was at the start: what it says of addresses needs a restart to change.
    rtc: Rtc,
    sockets: Sockets,
    /// Addresses that the configuration names and an interface had.
    seen: BTreeSet<IpAddr>,
    said: OnceEach<Trouble>,
}

impl Binder {
    /// Binds all that is there. An address that the configuration names must be; one that was found on an interface may have
    /// gone by now, or be one too many.
    pub fn start(rtc: &Rtc, machine: &Machine, sockets: Sockets) -> Result<(Self, Local), PlaneError> {
        let mut binder = Self { rtc: rtc.clone(), sockets, seen: BTreeSet::new(), said: OnceEach::default() };
        for (trouble, error) in binder.update(machine) {
            match error {
                PlaneError::TooMany { .. } => binder.say_unbound(trouble, error),
                error => return Err(error),
            }
        }
        let local = binder.local(machine);
        Ok((binder, local))
    }

    /// Looks again; `None` when that is not possible, which has to do with memory and passes.
    pub fn follow(&mut self) -> Option<Local> {
        let machine = Machine::look().ok()?;
        let before = self.bound();
        let failures = self.update(&machine);
        for (trouble, error) in failures {
            self.say_unbound(trouble, error);
        }
        let after = self.bound();
        for ip in after.difference(&before) {
            let interface = machine.get(*ip).map(|address| &*address.interface);
            tracing::info!(%ip, interface, "an address has come: media is bound to it");
        }
        for ip in before.difference(&after) {
            tracing::info!(%ip, "an address that media is bound to has gone, or is about to");
        }
        Some(self.local(&machine))
    }

    fn say_unbound(&mut self, trouble: Trouble, error: PlaneError) {
        if self.said.failed(trouble) {
            let error = anyhow::Error::new(error);
            tracing::warn!("{error:#}: it is tried again, and participants are told the other addresses");
        }
    }

    /// The smallest buffers that the kernel gave.
    pub fn buffers(&self) -> Option<BufferSizes> {
        self.sockets.buffers()
    }

    fn local(&self, machine: &Machine) -> Local {
        let bind = Bind { udp: self.sockets.addresses(Kind::Udp), tcp: self.sockets.addresses(Kind::Tcp) };
        Local { bind, interfaces: machine.interfaces() }
    }

    fn bound(&self) -> BTreeSet<IpAddr> {
        let addresses = |kind| self.sockets.addresses(kind);
        addresses(Kind::Udp).iter().chain(&addresses(Kind::Tcp)).map(SocketAddr::ip).collect()
    }

    /// Binds what has come and marks what has gone; what could not be bound.
    fn update(&mut self, machine: &Machine) -> Vec<(Trouble, PlaneError)> {
        let now = Instant::now();
        self.say_unusable(machine);
        let mut wanted = Bind::wanted(&self.rtc, machine);
        let named: BTreeSet<_> = self.rtc.ice_address_udp.iter().chain(&self.rtc.ice_address_tcp).copied().collect();
        let on_interface: BTreeSet<_> = named.iter().copied().filter(|ip| machine.get(*ip).is_some()).collect();
        self.seen.extend(&on_interface);
        // One that no interface ever had is reached by other means.
        let gone: BTreeSet<_> = self.seen.difference(&on_interface).copied().collect();
        for address in [&mut wanted.udp, &mut wanted.tcp] {
            address.retain(|address| !gone.contains(&address.ip()));
        }
        let mut failures = Vec::new();
        for (kind, addresses) in [(Kind::Udp, &wanted.udp), (Kind::Tcp, &wanted.tcp)] {
            self.sockets.retain(kind, |address| addresses.contains(&address), now);
            for address in addresses {
                let trouble = Trouble::Unbound(kind, *address);
                match self.sockets.bind(kind, *address, now) {
                    Ok(_) => {
                        self.said.works(&trouble);
                    }
                    // It has gone, or has become tentative, since the machine was looked at.
                    Err(PlaneError::Bind { source, .. })
                        if source.kind() == io::ErrorKind::AddrNotAvailable && !named.contains(&address.ip()) => {}
                    Err(error) => failures.push((trouble, error)),
                }
            }
        }
        failures
    }

    /// Says what of this machine cannot be used, and forgets what was said of addresses that are no more.
    fn say_unusable(&mut self, machine: &Machine) {
        self.said.retain(|trouble| match trouble {
            Trouble::Unusable(ip, state) => machine.get(*ip).is_some_and(|address| address.state == *state),
            Trouble::Unbound(_, address) => machine.get(address.ip()).is_some(),
        });
        for address in machine.iter().filter(|address| is_wanted(&self.rtc, address.ip)) {
            let (ip, interface) = (address.ip, &address.interface);
            let trouble = Trouble::Unusable(ip, address.state);
            match address.state {
                State::Usable | State::Passing => {}
                State::Tentative if self.said.failed(trouble.clone()) => tracing::info!(
                    interface,
                    "{ip} is not used for media yet: it is still checked whether another machine has it"
                ),
                State::Duplicate if self.said.failed(trouble.clone()) => {
                    tracing::warn!(interface, "{ip} is not used for media: it is in use by another machine");
                }
                State::Tentative | State::Duplicate => {}
            }
        }
    }
}
