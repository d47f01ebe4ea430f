//! Doors for fuzzers: each takes any bytes, and panics when something is not as it must always be.
use crate::cloud_config::{self, variables};
use crate::draft::{self, Draft, Request};
use crate::facts::{Dmi, Facts, clean};
use crate::mistake::{Mark, Mistake};
use crate::network::{self, Form};
use crate::render::Secrets;
use crate::source::fields::Document;
use crate::source::{azure, nocloud, openstack};
use crate::user_data;
use crate::yaml;
use std::path::Path;

/// Any bytes as YAML.
pub fn yaml(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let loaded = yaml::load(&text, Mark { line: 1, column: 1 });
    loaded.mistakes.iter().for_each(check);
    assert!(loaded.mistakes.iter().all(|mistake| is_inside(mistake.mark, &text)));
}

/// Any bytes as user data of any form.
pub fn user_data(bytes: &[u8]) {
    let parts = user_data::read(bytes);
    let (texts, mistakes): (Vec<_>, Vec<_>) = parts.parts.into_iter().partition(Result::is_ok);
    assert!(texts.len() <= user_data::MAX_PARTS);
    let size: usize = texts.iter().flatten().map(|part| part.text.len()).sum();
    assert!(size <= user_data::MAX_SIZE + user_data::MAX_UNPACKED);
    mistakes.iter().filter_map(|part| part.as_ref().err()).chain(&parts.notices).for_each(check);
}

/// Any bytes from user data to what is wanted.
pub fn cloud_config(bytes: &[u8]) {
    let read = cloud_config::read_bytes(bytes);
    read.mistakes.iter().chain(&read.notices).for_each(check);
}

/// Any bytes the whole way: what is accepted renders a file that rtcd takes, with secrets and without them.
pub fn draft(bytes: &[u8]) {
    let metadata = draft::example(bytes.to_vec());
    let request = Request { source: "an example", metadata: &metadata, root: None, debug_image: true };
    let Ok(draft) = Draft::new(&request) else { return };
    for secrets in [Secrets::Write, Secrets::Hide] {
        let text = draft.render(secrets);
        let read = rtcd_config::file::read(Path::new("rtcd.toml"), &text);
        assert!(read.problems.is_empty() && read.warnings.is_empty(), "{text}");
        let settled = &draft.settled.settings;
        assert!(read.layer.keys().eq(settled.keys()), "{text}");
        let same = |key| read.layer.get(key).map(|set| &set.value) == settled.get(key).map(|set| &set.value);
        assert!(secrets == Secrets::Hide || settled.keys().all(same), "{text}");
    }
}

/// Any bytes as a text with variables.
pub fn variables(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(expanded) = variables::expand(&text, &|_| Some(String::new())) {
        assert!(expanded.len() <= text.len());
    }
}

/// A message is one line that no console takes for anything else.
fn check(mistake: &Mistake) {
    let shown = mistake.to_string();
    assert!(!shown.contains(char::is_control), "{shown:?}");
    assert!(shown.len() < 2000, "{shown:?}");
    assert!(!mistake.what.is_empty());
}

fn is_inside(mark: Option<Mark>, text: &str) -> bool {
    // Each of \n, \r and \r\n ends a line.
    let lines = text.replace("\r\n", "\n").matches(['\n', '\r']).count() + 1;
    mark.is_none_or(|mark| (1..=lines + 1).contains(&mark.line) && mark.column >= 1)
}

/// An image of a volume: its label and the files that sources ask for.
pub fn volume(image: &[u8]) {
    let Ok(Some(mut volume)) = crate::volume::Volume::open(image.to_vec()) else { return };
    for path in ["meta-data", "USER-DATA", "openstack/latest/user_data", "ovf-env.xml"] {
        if let Ok(Some(content)) = volume.read(path, 1 << 20) {
            assert!(content.len() <= 1 << 20);
        }
    }
}

/// What the firmware and the boot loader say.
pub fn firmware(text: &[u8]) {
    let text = clean(text);
    assert!(!text.chars().any(char::is_control));
    let dmi = Dmi {
        sys_vendor: text.clone(),
        product_serial: text.clone(),
        product_uuid: text.clone(),
        chassis_asset_tag: text.clone(),
        ..Dmi::default()
    };
    let empty = Facts::gather(Path::new("/nonexistent"), None);
    for facts in [Facts { cmdline: text, ..empty.clone() }, Facts { dmi, ..empty }] {
        if let Err(error) = crate::detect::detect(&facts) {
            assert!(error.to_string().len() < 1000);
        }
    }
}

/// Any bytes as a network configuration of any form: what is accepted renders files whose every line is a section, a key
/// with a value, or a comment, whatever was in the text.
pub fn network(text: &[u8]) {
    for form in [Form::CloudInit, Form::OpenStack, Form::Guestinfo] {
        let network::Read { network, mistakes, notices } = network::read(text, form);
        mistakes.iter().chain(&notices).for_each(check);
        assert!(network.is_none() || mistakes.is_empty());
        let Some(network) = network else { continue };
        assert!((1..=network::model::MAX_INTERFACES).contains(&network.interfaces.len()));
        for (name, text) in network::render::render(&network) {
            assert!(name.len() < 128 && !name.contains('/'), "{name:?}");
            let is_section = |line: &str| line.starts_with('[') && line.ends_with(']');
            let is_key = |line: &str| {
                line.split_once('=').is_some_and(|(key, value)| {
                    key.bytes().all(|c| c.is_ascii_alphanumeric())
                        && !value.is_empty()
                        && value.bytes().all(|c| c.is_ascii_graphic() || c == b' ')
                })
            };
            assert!(
                text.lines().all(|line| line.is_empty() || line.starts_with('#') || is_section(line) || is_key(line)),
                "{text}"
            );
        }
    }
}

/// Documents of metadata: YAML, JSON and Azure's XML, read for all that sources take from them.
pub fn metadata(text: &[u8]) {
    let _ = Document::yaml("Any", "meta-data", text.to_vec()).and_then(|document| nocloud::metadata(&document));
    let _ = openstack::metadata("Any", text, Some(text));
    let _ = azure::ovf::parse(text.to_vec());
}
