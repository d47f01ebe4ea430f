//! What participants are told: their ways to us.
use super::register;
use prometheus::{IntGaugeVec, Opts, Registry};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// An address that participants are told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// `udp`, `tcp` or `relay`.
    pub protocol: &'static str,
    /// Address and port.
    pub address: String,
    /// Where it came from: an interface, a key of the configuration, a server.
    pub origin: String,
}

/// All of them; each is a series of 1.
#[derive(Debug)]
pub struct Advertised {
    gauge: IntGaugeVec,
    told: Mutex<[Vec<Address>; 2]>,
}

impl Advertised {
    pub(super) fn new(registry: &Registry) -> Self {
        let options = Opts::new("rtcd_advertised", "Addresses that participants are told, and where each comes from");
        let gauge = register(registry, IntGaugeVec::new(options, &["protocol", "address", "origin"]));
        Self { gauge, told: Mutex::default() }
    }

    /// These are our own from now on.
    pub fn set_own(&self, own: Vec<Address>) {
        self.told()[0] = own;
        self.show();
    }

    /// And these are those of TURN servers.
    pub fn set_relays(&self, relays: Vec<Address>) {
        self.told()[1] = relays;
        self.show();
    }

    /// What participants are told now.
    pub fn all(&self) -> Vec<Address> {
        self.told().concat()
    }

    fn show(&self) {
        let told = self.told();
        self.gauge.reset();
        for Address { protocol, address, origin } in told.iter().flatten() {
            self.gauge.with_label_values(&[*protocol, address, origin]).set(1);
        }
    }

    fn told(&self) -> MutexGuard<'_, [Vec<Address>; 2]> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Advertised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Address { protocol, address, origin }) in self.all().iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            write!(f, "{separator}{protocol} {address} ({origin})")?;
        }
        Ok(())
    }
}
