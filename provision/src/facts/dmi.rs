//! What the firmware says about the machine. Whoever runs the hypervisor chooses these strings, so they are cleaned.
use super::read_text;
use std::path::Path;

/// sysfs shows at most a page.
const LIMIT: usize = 4096;

/// The strings of `/sys/class/dmi/id`, cleaned; empty when absent.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Dmi {
    /// `Amazon EC2`, `QEMU`, ...
    pub sys_vendor: String,
    /// The maker of the firmware.
    pub bios_vendor: String,
    /// `Google Compute Engine`, `OpenStack Nova`, ...
    pub product_name: String,
    /// The one field that people set on their own machines: `ds=nocloud;s=...`
    pub product_serial: String,
    /// Readable by root alone.
    pub product_uuid: String,
    /// A number or name that some clouds sign with.
    pub chassis_asset_tag: String,
    /// The serial number of the case.
    pub chassis_serial: String,
}

impl Dmi {
    pub(super) fn gather(root: &Path) -> Self {
        let field = |name: &str| read(&root.join("sys/class/dmi/id").join(name));
        Self {
            sys_vendor: field("sys_vendor"),
            bios_vendor: field("bios_vendor"),
            product_name: field("product_name"),
            product_serial: field("product_serial"),
            product_uuid: field("product_uuid"),
            chassis_asset_tag: field("chassis_asset_tag"),
            chassis_serial: field("chassis_serial"),
        }
    }

    /// Whether the host may answer questions about `guestinfo`.
    pub fn is_vmware(&self) -> bool {
        self.sys_vendor.starts_with("VMware") || self.product_name.starts_with("VMware")
    }
}

pub(super) fn read(path: &Path) -> String {
    read_text(path, LIMIT)
}

/// Text without control characters and without the white space around it; what is not UTF-8 is replaced.
pub fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.trim().to_owned()
}
