//! The parsers that eat what strangers wrote, as functions of bytes. They must return, whatever the bytes are.

/// An image of a volume: its label and the files that sources ask for.
pub fn volume(image: &[u8]) {
    let Ok(Some(mut volume)) = crate::volume::Volume::open(image.to_vec()) else { return };
    for path in ["meta-data", "USER-DATA", "openstack/latest/user_data", "ovf-env.xml"] {
        if let Ok(Some(content)) = volume.read(path, 1 << 20) {
            assert!(content.len() <= 1 << 20);
        }
    }
}
