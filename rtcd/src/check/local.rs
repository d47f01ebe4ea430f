//! Where the daemon of this machine is, by its own configuration.
use super::connect::Connector;
use super::target::{MediaTarget, Target};
use crate::config::{Config, ListenAddress};
use crate::net::addresses::{Local, Machine};
use crate::net::discovery::Discovery;
use crate::net::tls_client::why_not_pem;
use rtcd_media::demux::Protocol;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The API. Its certificate is for a name that participants use, which may mean nothing here: it is compared with the file.
pub fn api(config: &Config) -> Result<Connector, String> {
    let (host, port) = match &config.api.listen {
        ListenAddress::Any(port) => (Ipv4Addr::LOCALHOST.to_string(), *port),
        ListenAddress::Address(address) => (reached_at(address.ip()).to_string(), address.port()),
        ListenAddress::Name(name, port) => (name.clone(), *port),
    };
    let target = Target { tls: config.api.tls.is_some(), host, port, prefix: String::new() };
    let Some(tls) = &config.api.tls else { return Connector::new(&target, None) };
    let certificate = CertificateDer::from_pem_file(&tls.cert_file)
        .map_err(|error| format!("{}: {}", tls.cert_file.display(), why_not_pem(&error)))?;
    Connector::pinned(&target, certificate)
}

/// The media ports of this configuration: UDP, then TCP.
pub fn media(config: &Config) -> (MediaTarget, MediaTarget) {
    let target = |addresses: &[IpAddr], port| {
        let address = addresses.first().copied().unwrap_or(Ipv4Addr::LOCALHOST.into());
        MediaTarget { host: reached_at(address).to_string(), port }
    };
    let rtc = &config.rtc;
    (target(&rtc.ice_address_udp, rtc.ice_port_udp), target(&rtc.ice_address_tcp, rtc.ice_port_tcp))
}

/// What participants are told, as it would be now: `udp 203.0.113.7:8443`; and whether that is all of it. The daemon keeps
/// looking. Loopback, of use to participants on this machine alone, is left out where there is more.
pub async fn candidates(config: &Config) -> std::io::Result<(Vec<String>, bool)> {
    let local = Local::wanted(&config.rtc, &Machine::look()?);
    let (mut candidates, known) = Discovery::new(&config.rtc, local).once().await;
    if candidates.iter().any(|candidate| !candidate.address.ip().is_loopback()) {
        candidates.retain(|candidate| !candidate.address.ip().is_loopback());
    }
    let protocol = |protocol| if protocol == Protocol::Udp { "udp" } else { "tcp" };
    let shown =
        candidates.iter().map(|candidate| format!("{} {}", protocol(candidate.protocol), candidate.address)).collect();
    Ok((shown, known))
}

/// Who listens at every address listens at the loopback address.
fn reached_at(listens: IpAddr) -> IpAddr {
    match listens {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}
