//! The network that the metadata ask for, from their text to files of systemd-networkd.
//!
//! The way of a value: what is attached to the machine, or a source over the network -> [`Said`] ->
//! `cloud_init` (versions 1 and 2) or `openstack` (`network_data.json`) -> [`model::Network`] -> `check` (what no
//! reader can see alone) -> [`render`] -> `apply` (onto the machine, on trial). All mistakes come in one report.
pub(crate) mod apply;
mod cards;
mod check;
mod choice;
mod cloud_init;
mod field;
mod guestinfo;
pub mod model;
mod openstack;
mod options;
pub(crate) mod reach;
pub mod render;
mod report;

use crate::encoding;
use crate::mistake::Mistake;
use crate::yaml;
use field::Field;
use model::Network;
use report::Report;

/// What the text is called in reports, whatever the source calls it.
pub const NETWORK_CONFIG: &str = "network-config";
/// A text at most. The largest that a cloud writes, for a dozen interfaces, has some 10 KiB.
pub const MAX_SIZE: usize = 128 << 10;

/// In which form a text is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// cloud-init's, version 1 or 2; in JSON or YAML.
    CloudInit,
    /// OpenStack's `network_data.json`.
    OpenStack,
    /// VMware's `guestinfo.metadata`: cloud-init's form below the key `network`, or that in base64 as `network.encoding`
    /// says.
    Guestinfo,
}

/// What a source says about the network, not yet read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    /// Where it was said: `network-config on /dev/vdb`.
    pub origin: String,
    /// In which form.
    pub form: Form,
    /// As the source gave it.
    pub text: Vec<u8>,
}

/// What came out of a text.
pub struct Read {
    /// The network; none when the text leaves it to the image, and after a mistake.
    pub network: Option<Network>,
    /// What is wrong; when there is any, nothing is used.
    pub mistakes: Vec<Mistake>,
    /// What is known and has no effect.
    pub notices: Vec<Mistake>,
}

/// Reads and checks a text; never panics, and stops at the limits of [`model`] and [`yaml`].
pub fn read(text: &[u8], form: Form) -> Read {
    let mut report = Report::default();
    let network = parse(text, form, &mut report);
    let (mistakes, notices) = report.finish();
    Read { network: network.filter(|_| mistakes.is_empty()), mistakes, notices }
}

fn parse(text: &[u8], form: Form, report: &mut Report) -> Option<Network> {
    if text.len() > MAX_SIZE {
        let what = format!("there is more than {} KiB of it", MAX_SIZE >> 10);
        report.add(Mistake::whole(what, "remove what is not for this machine"));
        return None;
    }
    let text = match encoding::text(text) {
        Ok(text) => text,
        Err((mark, what, hint)) => {
            report.mistake(mark, "", what, hint);
            return None;
        }
    };
    let loaded = yaml::load(text, encoding::START);
    loaded.mistakes.into_iter().for_each(|mistake| report.add(mistake));
    let root = loaded.root.filter(|root| !root.is_empty())?;
    let mut network = match form {
        Form::CloudInit => cloud_init::read(Field::root(&root), report),
        Form::OpenStack => openstack::read(&root, report),
        Form::Guestinfo => match guestinfo::network(&root, report)? {
            guestinfo::Inside::Keys(field) => cloud_init::read(field, report),
            // Its lines are those of what is inside.
            guestinfo::Inside::Text(text) => return parse(&text, Form::CloudInit, report),
        },
    }?;
    check::check(&mut network, report);
    Some(network)
}
