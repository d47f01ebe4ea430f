//! `guestinfo.*`: what the admin of a VMware host set for this machine.
//!
//! On a machine the host is asked through its backdoor port (crate `vmw_backdoor`; no process to start, so that the
//! image needs no open-vm-tools). Below any other root there is no host: there the values are the files
//! `guestinfo/NAME`, which exist in fixtures only.
use std::collections::BTreeMap;
use std::path::Path;

/// The properties that cloud-init reads too.
const NAMES: [&str; 5] = ["metadata", "metadata.encoding", "userdata", "userdata.encoding", "vendordata"];
/// cloud-init's documentation allows 512 KiB after decoding; base64 makes it a third bigger.
const LIMIT: usize = 700 << 10;

/// The properties that are set. The user data among them are a secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Guestinfo(BTreeMap<&'static str, Vec<u8>>);

impl Guestinfo {
    pub(super) fn gather(root: &Path, notices: &mut Vec<String>) -> Self {
        let asked = if root == Path::new("/") { ask_host() } else { read_files(root) };
        match asked {
            Ok(values) => Self(values.into_iter().filter(|(_, value)| is_set(value)).collect()),
            Err(why) => {
                notices.push(format!("VMware's guestinfo cannot be read: {why}"));
                Self::default()
            }
        }
    }

    /// A property, `userdata`, when it is set.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// Whether there is anything to read.
    pub fn is_set(&self) -> bool {
        self.0.contains_key("metadata") || self.0.contains_key("userdata")
    }
}

/// `---` is how cloud-init marks a property that it has used up.
fn is_set(value: &[u8]) -> bool {
    !matches!(value.trim_ascii(), b"" | b"---")
}

type Values = BTreeMap<&'static str, Vec<u8>>;

#[cfg(target_arch = "x86_64")]
fn ask_host() -> Result<Values, String> {
    // On any other machine the port does not exist, and touching it kills the process.
    if !vmw_backdoor::is_vmware_cpu() {
        return Err("the firmware says VMware, the processor does not".to_owned());
    }
    let mut backdoor = vmw_backdoor::access_backdoor().map_err(|error| error.to_string())?;
    let mut channel = backdoor.open_enhanced_chan().map_err(|error| error.to_string())?;
    let mut values = Values::new();
    for name in NAMES {
        let value = channel.get_guestinfo(format!("guestinfo.{name}").as_bytes()).map_err(|error| error.to_string())?;
        if let Some(value) = value {
            if value.len() > LIMIT {
                return Err(format!("guestinfo.{name} has more than {LIMIT} bytes"));
            }
            values.insert(name, value);
        }
    }
    Ok(values)
}

#[cfg(not(target_arch = "x86_64"))]
fn ask_host() -> Result<Values, String> {
    Err("only machines with x86-64 processors can ask".to_owned())
}

fn read_files(root: &Path) -> Result<Values, String> {
    let mut values = Values::new();
    for name in NAMES {
        let read = super::read_file(&root.join("guestinfo").join(name), LIMIT);
        if let Some(value) = read.map_err(|error| format!("guestinfo.{name}: {error}"))? {
            values.insert(name, value);
        }
    }
    Ok(values)
}
