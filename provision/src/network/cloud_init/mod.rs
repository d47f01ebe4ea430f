//! cloud-init's two versions. Version 1 is a list of interfaces, version 2 is what netplan reads. Both may stand below
//! a key `network`.
mod v1;
mod v1_parts;
mod v2;
mod v2_parts;

use super::field::Field;
use super::model::{Address, Network};
use super::report::Report;
use crate::yaml::Value;
use std::net::IpAddr;

/// Reads a whole text; `None` when it leaves the network to the image.
pub(super) fn read(root: Field<'_>, report: &mut Report) -> Option<Network> {
    let mut root = root;
    if let Some(network) = root.get("network") {
        for (entry, field) in report.section(&root) {
            if entry.key != "network" {
                report.mistake(
                    entry.mark,
                    &field.path,
                    "stands beside network",
                    "everything belongs below network, or nothing does",
                );
            }
        }
        root = network;
    }
    let config = root.get("config");
    if let Some(config) = &config
        && matches!(&config.node.value, Value::Scalar(word, _) if word == "disabled")
    {
        report.notice(config, "leaves the network to the image", "every card asks for addresses by DHCP");
        return None;
    }
    let Some(version) = root.get("version") else {
        // A list alone is version 1 to cloud-init, too.
        if root.node.list().is_ok() || report.take(&root, root.node.entries()).is_some() {
            let likely = if config.is_some() || root.node.list().is_ok() { 1 } else { 2 };
            report.wrong(&root, "has no version", format!("write version: {likely} above it"));
        }
        return None;
    };
    match report.word(&version)? {
        "1" => v1::read(&root, report),
        "2" => v2::read(&root, report),
        _ => {
            report.wrong(&version, "is no version that is known", "allowed: 1, 2");
            None
        }
    }
}

/// The network of everything, in the family of an address.
fn everywhere(ip: IpAddr) -> Address {
    let ip = if ip.is_ipv4() { IpAddr::from([0_u8; 4]) } else { IpAddr::from([0_u8; 16]) };
    Address { ip, prefix: 0 }
}
