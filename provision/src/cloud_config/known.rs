//! The keys that a `#cloud-config` can have at its top, and what becomes of each.
use Fate::{Honoured, Ignored, Refused};

/// What becomes of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Understood and acted upon.
    Honoured,
    /// Harmless, and nothing comes of it: why.
    Ignored(&'static str),
    /// It would be missed: what to do in its place.
    Refused(&'static str),
}

const NO_USERS: &str = "nobody logs in to this machine";
const NO_PACKAGES: &str = "the whole image is updated at once";
const FIXED: &str = "the image fixes it";
const NO_PROGRAMS: &str = "nothing can be run or installed here; remove it, and set what rtcd needs below rtcd:";
const NO_DISKS: &str = "the image prepares its own disks; remove it";
const NO_LOGINS: &str = "there are no logins; remove it";
const NO_SOURCES: &str = "the image has no package manager and is updated as a whole; remove it";

/// All of them: those that are done first, then those that hosting panels add by themselves, then the rest of what
/// cloud-init knows.
pub const KEYS: &[(&str, Fate)] = &[
    ("rtcd", Honoured),
    ("hostname", Honoured),
    ("fqdn", Honoured),
    ("prefer_fqdn_over_hostname", Honoured),
    ("ca_certs", Honoured),
    ("ca-certs", Honoured),
    ("logs", Honoured),
    ("ntp", Honoured),
    ("timezone", Honoured),
    ("update", Honoured),
    ("write_files", Honoured),
    ("ssh_authorized_keys", Honoured),
    ("users", Honoured),
    ("preserve_hostname", Ignored("the machine is named anew at each start")),
    ("manage_etc_hosts", Ignored(FIXED)),
    ("manage-resolv-conf", Ignored(FIXED)),
    ("manage_resolv_conf", Ignored(FIXED)),
    ("resolv_conf", Ignored("name servers come from DHCP or the network configuration")),
    ("user", Ignored(NO_USERS)),
    ("password", Ignored(NO_USERS)),
    ("chpasswd", Ignored(NO_USERS)),
    ("ssh_pwauth", Ignored(NO_USERS)),
    ("disable_root", Ignored(NO_USERS)),
    ("disable_root_opts", Ignored(NO_USERS)),
    ("system_info", Ignored(NO_USERS)),
    ("no_ssh_fingerprints", Ignored(NO_USERS)),
    ("ssh_deletekeys", Ignored(NO_USERS)),
    ("ssh_genkeytypes", Ignored(NO_USERS)),
    ("ssh_quiet_keygen", Ignored(NO_USERS)),
    ("allow_public_ssh_keys", Ignored(NO_USERS)),
    ("ssh_publish_hostkeys", Ignored(NO_USERS)),
    ("ssh_fp_console_blacklist", Ignored(NO_USERS)),
    ("ssh_key_console_blacklist", Ignored(NO_USERS)),
    ("package_update", Ignored(NO_PACKAGES)),
    ("package_upgrade", Ignored(NO_PACKAGES)),
    ("package_reboot_if_required", Ignored(NO_PACKAGES)),
    ("apt_update", Ignored(NO_PACKAGES)),
    ("apt_upgrade", Ignored(NO_PACKAGES)),
    ("apt_reboot_if_required", Ignored(NO_PACKAGES)),
    ("locale", Ignored(FIXED)),
    ("locale_configfile", Ignored(FIXED)),
    ("keyboard", Ignored(FIXED)),
    ("growpart", Ignored("the image grows its own partitions")),
    ("resize_rootfs", Ignored("the image grows its own partitions")),
    ("final_message", Ignored("cloud-init is not here to say it")),
    ("output", Ignored("the messages are in the journal")),
    ("syslog_fix_perms", Ignored(FIXED)),
    ("vendor_data", Ignored("vendor data are not read")),
    ("vendor_data2", Ignored("vendor data are not read")),
    ("merge_how", Ignored("a later part replaces an earlier one key by key")),
    ("merge_type", Ignored("a later part replaces an earlier one key by key")),
    ("datasource_list", Ignored("the source is found by itself")),
    ("datasource", Ignored("the source is found by itself")),
    ("cloud_init_modules", Ignored("cloud-init is not here")),
    ("cloud_config_modules", Ignored("cloud-init is not here")),
    ("cloud_final_modules", Ignored("cloud-init is not here")),
    ("byobu_by_default", Ignored(NO_USERS)),
    ("runcmd", Refused(NO_PROGRAMS)),
    ("bootcmd", Refused(NO_PROGRAMS)),
    ("packages", Refused(NO_PROGRAMS)),
    ("snap", Refused(NO_PROGRAMS)),
    ("ansible", Refused(NO_PROGRAMS)),
    ("chef", Refused(NO_PROGRAMS)),
    ("puppet", Refused(NO_PROGRAMS)),
    ("salt_minion", Refused(NO_PROGRAMS)),
    ("mcollective", Refused(NO_PROGRAMS)),
    ("landscape", Refused(NO_PROGRAMS)),
    ("ubuntu_advantage", Refused(NO_PROGRAMS)),
    ("ubuntu_pro", Refused(NO_PROGRAMS)),
    ("rh_subscription", Refused(NO_PROGRAMS)),
    ("drivers", Refused(NO_PROGRAMS)),
    ("fan", Refused(NO_PROGRAMS)),
    ("lxd", Refused(NO_PROGRAMS)),
    ("coreos", Refused(NO_PROGRAMS)),
    ("autoinstall", Refused("the image is installed already; remove it")),
    ("apt", Refused(NO_SOURCES)),
    ("apt_pipelining", Refused(NO_SOURCES)),
    ("apk_repos", Refused(NO_SOURCES)),
    ("yum_repos", Refused(NO_SOURCES)),
    ("yum_repo_dir", Refused(NO_SOURCES)),
    ("zypper", Refused(NO_SOURCES)),
    ("mounts", Refused(NO_DISKS)),
    ("mount_default_fields", Refused(NO_DISKS)),
    ("disk_setup", Refused(NO_DISKS)),
    ("fs_setup", Refused(NO_DISKS)),
    ("device_aliases", Refused(NO_DISKS)),
    ("swap", Refused(NO_DISKS)),
    ("groups", Refused(NO_LOGINS)),
    ("ssh_import_id", Refused("keys are not fetched; write them in ssh_authorized_keys")),
    ("ssh_keys", Refused("the machine makes its own host keys; for the keys of people use ssh_authorized_keys")),
    ("ssh", Refused(NO_LOGINS)),
    ("power_state", Refused("start the machine anew from the outside; remove it")),
    ("phone_home", Refused("ask http://ADDRESS:8045/version to see whether rtcd is there; remove it")),
    ("reporting", Refused("nothing is reported to elsewhere; remove it")),
    ("network", Refused("the network is set in the network-config of the source or by DHCP")),
    ("wireguard", Refused("there are no tunnels on this machine; remove it")),
    ("rsyslog", Refused("say where the journal goes in logs.syslog")),
    ("random_seed", Refused("the kernel and the hypervisor see to it; remove it")),
    ("grub_dpkg", Refused("the image has its own boot loader; remove it")),
    ("bootloader", Refused("the image has its own boot loader; remove it")),
    ("updates", Refused("the configuration is read again at each start; remove it")),
    ("spacewalk", Refused(NO_SOURCES)),
];

/// What becomes of a key; `None` when it is not known.
pub fn fate(key: &str) -> Option<Fate> {
    KEYS.iter().find(|(name, _)| *name == key).map(|(_, fate)| *fate)
}

/// Whether a key is known, whatever becomes of it.
pub fn is_known(key: &str) -> bool {
    fate(key).is_some()
}

/// The known key that is most like this one.
pub fn nearest(key: &str) -> Option<&'static str> {
    crate::nearest::nearest(key, KEYS.iter().map(|(name, _)| *name))
}

/// Those that are done, for messages.
pub fn honoured() -> String {
    let is_shown = |(name, fate): &&(&str, Fate)| *fate == Honoured && !["ca-certs", "users"].contains(name);
    KEYS.iter().filter(is_shown).map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}
