//! From metadata and user data to settled values, without touching anything. `check`, `render` and `run` all go this way.
use crate::cloud_config::{self, Wanted};
use crate::failure::Failure;
use crate::merge::{self, Layers, Settled};
use crate::metadata::{Metadata, Sourced};
use crate::mistake::Mistake;
use crate::render::{self, Secrets};

use rtcd_config::source::Layer;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// What a draft is made of.
pub struct Request<'a> {
    /// The name of the source.
    pub source: &'a str,
    /// The metadata of the source.
    pub metadata: &'a Metadata,
    /// The machine's files; `None` where there is no machine: on a laptop.
    pub root: Option<&'a Path>,
    /// Whether people may log in.
    pub debug_image: bool,
}

/// What would be applied.
pub struct Draft {
    /// What the admin wants.
    pub wanted: Wanted,
    /// What comes of it.
    pub settled: Settled,
    /// Who may log in.
    pub ssh_keys: Vec<String>,
    header: Vec<String>,
}

impl Draft {
    /// Reads, merges and validates; all mistakes come in one report.
    pub fn new(request: &Request<'_>) -> Result<Self, Failure> {
        let Request { source, metadata, root, debug_image } = request;
        let user_data = metadata.user_data.as_deref().unwrap_or_default();
        let cloud_config::Read { mut wanted, mut mistakes, mut notices } = cloud_config::read_bytes(user_data);
        let image = match root.map_or_else(|| Ok(Layer::new()), merge::read_image) {
            Ok(image) => image,
            Err(found) => {
                mistakes.extend(found);
                Layer::new()
            }
        };
        match merge::merge(Layers { image, source, metadata, wanted: &wanted, root: *root }) {
            Ok(mut settled) if mistakes.is_empty() => {
                let ssh_keys = ssh_keys(&mut wanted, metadata, *debug_image, &mut notices);
                notices.append(&mut settled.notices);
                settled.notices = notices;
                Ok(Self { wanted, settled, ssh_keys, header: header(source, metadata) })
            }
            Ok(_) => Err(Failure::mistakes(mistakes)),
            Err(found) => {
                // A key that could not be read is missing to the validation: that would be the same mistake twice.
                let known: Vec<_> = mistakes.iter().map(|mistake| mistake.key.clone()).collect();
                mistakes.extend(found.into_iter().filter(|mistake| !known.contains(&mistake.key)));
                mistakes.sort_by_key(|mistake| (mistake.part.clone(), mistake.mark));
                Err(Failure::mistakes(mistakes))
            }
        }
    }

    /// The text of `rtcd.toml`.
    pub fn render(&self, secrets: Secrets) -> String {
        render::render(&self.header, &self.settled.settings, secrets)
    }
}

/// Metadata of a machine in no cloud, with addresses of the documentation (RFC 5737, RFC 3849): for `check`.
pub fn example(user_data: Vec<u8>) -> Metadata {
    const FIELD: &str = "an example";
    Metadata {
        hostname: Some(Sourced::new("rtcd".to_owned(), FIELD)),
        public_ipv4: Some(Sourced::new(Ipv4Addr::new(203, 0, 113, 7), FIELD)),
        private_ipv4: Some(Sourced::new(Ipv4Addr::new(192, 0, 2, 7), FIELD)),
        public_ipv6: Some(Sourced::new(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7), FIELD)),
        user_data: Some(user_data),
        ..Metadata::default()
    }
}

fn header(source: &str, metadata: &Metadata) -> Vec<String> {
    let instance = metadata.instance_id.as_ref().map(|id| format!(", instance {id}")).unwrap_or_default();
    vec![
        "Written by provision at each boot: what is changed here is lost. Say it in the user data.".to_owned(),
        format!("Source: {source}{instance}"),
    ]
}

/// Nobody logs in to a release image.
fn ssh_keys(wanted: &mut Wanted, metadata: &Metadata, debug_image: bool, notices: &mut Vec<Mistake>) -> Vec<String> {
    if !debug_image {
        if !wanted.ssh_keys.is_empty() {
            let what = "ssh_authorized_keys: ignored, nobody logs in to a release image";
            notices.push(Mistake::whole(what, "a debug image takes them"));
        }
        return Vec::new();
    }
    wanted.ssh_keys.iter().chain(&metadata.ssh_keys).cloned().collect()
}
