//! The parsers that eat what strangers wrote, as functions of bytes. They must return, whatever the bytes are.
use crate::facts::{Dmi, Facts, clean};
use crate::source::fields::Document;
use crate::source::{azure, nocloud, openstack};
use std::path::Path;

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

/// Documents of metadata: YAML, JSON and Azure's XML, read for all that sources take from them.
pub fn metadata(text: &[u8]) {
    let _ = Document::yaml("Any", "meta-data", text.to_vec()).and_then(|document| nocloud::metadata(&document));
    let _ = openstack::metadata("Any", text, Some(text));
    let _ = azure::ovf::parse(text.to_vec());
}
