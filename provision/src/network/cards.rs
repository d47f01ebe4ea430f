//! The network cards of the machine, to tell an admin whose words fit none of them.
use super::field::mac;
use super::model::{Interface, Kind, Mac, Network};
use crate::mistake::Mistake;
use std::fs;
use std::path::Path;

/// More than a message can name.
const NAMED: usize = 8;

/// A card as the kernel calls it now.
struct Card {
    name: String,
    mac: Option<Mac>,
}

/// What is said about a card that is not here. It may still come, hence no mistake.
pub(super) fn missing(root: &Path, network: &Network) -> Vec<Mistake> {
    let cards = cards(root);
    if cards.is_empty() {
        return Vec::new();
    }
    network.interfaces.iter().filter_map(|interface| missing_card(interface, &cards)).collect()
}

fn missing_card(interface: &Interface, cards: &[Card]) -> Option<Mistake> {
    let Kind::Card(matching) = &interface.kind else { return None };
    let is_plain = |name: &String| !name.contains(['*', '?', '[']);
    let what = match matching.mac {
        Some(mac) if !cards.iter().any(|card| card.mac == Some(mac)) => format!("no card has the MAC address {mac}"),
        None if !matching.names.is_empty() && matching.names.iter().all(is_plain) => {
            let here = |name: &String| cards.iter().any(|card| card.name == *name);
            // Under the name that it gets it may be there since an earlier run.
            if matching.names.iter().chain(&interface.set_name).any(here) {
                return None;
            }
            format!("no card is called {}", matching.names.join(" or "))
        }
        _ => return None,
    };
    let shown: Vec<_> = cards
        .iter()
        .take(NAMED)
        .map(|Card { name, mac }| mac.map_or_else(|| name.clone(), |mac| format!("{name} ({mac})")))
        .collect();
    Some(Mistake::at(
        interface.place.mark,
        interface.place.path.clone(),
        what,
        format!("there is {}", shown.join(", ")),
    ))
}

/// What has a device behind it: no loopback, bond or bridge.
fn cards(root: &Path) -> Vec<Card> {
    let entries = fs::read_dir(root.join("sys/class/net")).into_iter().flatten().flatten();
    let mut cards: Vec<_> = entries
        .filter(|entry| entry.path().join("device").exists())
        .filter_map(|entry| {
            let address = fs::read_to_string(entry.path().join("address")).unwrap_or_default();
            Some(Card { name: entry.file_name().into_string().ok()?, mac: mac(address.trim()) })
        })
        .collect();
    cards.sort_by(|a, b| a.name.cmp(&b.name));
    cards
}
