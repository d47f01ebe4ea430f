//! From what is settled to files: what `/run/rtcd` is to hold.
//!
//! | file | for | whose |
//! |---|---|---|
//! | `rtcd.toml` | rtcd; holds its secrets | `mattermost`, 0600 |
//! | `tls-NAME` | rtcd: `/etc/rtcd/tls/NAME` of `write_files` | `mattermost`, 0600 |
//! | `environment` | rtcd's unit: where the certificate authorities are | root, 0644 |
//! | `ca-certificates.pem` | the image's authorities and `ca_certs.trusted` | root, 0644 |
//! | `timesyncd.conf` | systemd-timesyncd: `ntp` | root, 0644 |
//! | `update.json` | `provision update`: `update` | root, 0644 |
//! | `syslog.json` | `provision syslog`: `logs.syslog`; may hold a private key | root, 0600 |
//! | `upload.conf`, `upload-ca.pem` | systemd-journal-upload: `logs.upload` | root, 0644 |
//! | `upload-client.pem` | the same: certificate and private key | root, 0600 |
//! | `localtime` | `/etc/localtime` leads here: `timezone` | root, 0644 |
//! | `authorized_keys` | sshd of a debug image | root, 0600 |
use crate::apply::disk::{Found, Owner};
use crate::apply::{self, ApplyError, Files};
use crate::cloud_config::{FileKind, Ntp, Placed, Sink};
use crate::draft::Draft;
use crate::failure::Failure;
use crate::merge;
use crate::mistake::Mistake;
use crate::render::Secrets;
use std::fs;
use std::path::{Path, PathBuf};

/// The image's own certificate authorities.
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";
/// How the files are reached.
const RUN_DIRECTORY: &str = "/run/rtcd/";
/// systemd-timesyncd reads it through a link of its own.
pub const TIMESYNCD: &str = "timesyncd.conf";
/// `provision update` reads it.
pub const UPDATE: &str = "update.json";
/// rtcd-syslog.service has it as a credential.
pub const SYSLOG: &str = "syslog.json";
/// systemd-journal-upload reads it through a link of its own.
pub const UPLOAD: &str = "upload.conf";
/// The certificate authorities of that server, when they are not the machine's.
pub const UPLOAD_CA: &str = "upload-ca.pem";
/// Certificate and key for that server: the unit has them as a credential.
pub const UPLOAD_CLIENT: &str = "upload-client.pem";
/// What the machine trusts, when the user data add to it.
pub const TRUSTED: &str = "ca-certificates.pem";
/// The credential as systemd-journal-upload.service sees it.
const UPLOAD_CREDENTIAL: &str = "/run/credentials/systemd-journal-upload.service/client.pem";

/// Why there is no plan.
#[derive(Debug)]
pub enum PlanError {
    /// The admin asks for what this image has not.
    Mistake(Mistake),
    /// The image is not as it must be.
    Image(ApplyError),
}

impl From<ApplyError> for PlanError {
    fn from(error: ApplyError) -> Self {
        Self::Image(error)
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Mistake(mistake) => Self::mistakes(vec![mistake]),
            PlanError::Image(error) => Self::System(error),
        }
    }
}

/// All files of a draft.
pub fn files(root: &Path, draft: &Draft) -> Result<Files, PlanError> {
    let wanted = &draft.wanted;
    let (rtcd, admin) = (apply::user(root, "mattermost")?, apply::user(root, "root")?);
    let mut files = Files::from([("rtcd.toml".into(), file(draft.render(Secrets::Write), 0o600, rtcd))]);
    for tls in wanted.files.iter().filter(|file| file.kind == FileKind::Tls) {
        let path = merge::as_written(&tls.path.value);
        let name = path.strip_prefix(RUN_DIRECTORY).unwrap_or(&path);
        files.insert(name.to_owned(), file(tls.content.clone(), 0o600, rtcd));
    }
    if !wanted.trusted_certificates.is_empty() {
        let authorities = authorities(root, &wanted.trusted_certificates)?;
        files.insert(TRUSTED.into(), file(authorities, 0o644, admin));
        let environment = format!("SSL_CERT_FILE={RUN_DIRECTORY}{TRUSTED}\n");
        files.insert("environment".into(), file(environment, 0o644, admin));
    }
    if let Some(ntp) = &wanted.ntp {
        files.insert(TIMESYNCD.into(), file(timesyncd(ntp), 0o644, admin));
    }
    if let Some(update) = &wanted.update {
        let text = serde_json::to_vec(update).unwrap_or_default();
        files.insert(UPDATE.into(), file(text, 0o644, admin));
    }
    if let Some(syslog) = &wanted.logs.syslog {
        files.insert(SYSLOG.into(), file(serde_json::to_vec(syslog).unwrap_or_default(), 0o600, admin));
    }
    if let Some(sink) = &wanted.logs.upload {
        files.insert(UPLOAD.into(), file(upload(sink, files.contains_key(TRUSTED)), 0o644, admin));
        if let Some(ca) = &sink.ca {
            files.insert(UPLOAD_CA.into(), file(ca.as_str(), 0o644, admin));
        }
        if let Some(client) = &sink.client {
            files.insert(UPLOAD_CLIENT.into(), file(format!("{}{}", client.certificate, client.key), 0o600, admin));
        }
    }
    if let Some(zone) = &wanted.timezone {
        files.insert("localtime".into(), file(local_time(root, zone).map_err(PlanError::Mistake)?, 0o644, admin));
    }
    if !draft.ssh_keys.is_empty() {
        files.insert("authorized_keys".into(), file(lines(&draft.ssh_keys), 0o600, admin));
    }
    Ok(files)
}

/// How a file of [`files`] is reached.
pub fn run_path(name: &str) -> PathBuf {
    Path::new(RUN_DIRECTORY).join(name)
}

fn file(content: impl Into<Vec<u8>>, mode: u32, owner: Owner) -> Found {
    Found { content: content.into(), mode, owner }
}

/// The image's authorities and then the admin's: `SSL_CERT_FILE` replaces, it does not add.
fn authorities(root: &Path, trusted: &[Placed<String>]) -> Result<Vec<u8>, PlanError> {
    let path = root.join(AUTHORITIES);
    let mut all = fs::read(&path).map_err(|error| ApplyError::Write { path, step: "read", error })?;
    for certificate in trusted {
        all.extend_from_slice(certificate.value.trim().as_bytes());
        all.push(b'\n');
    }
    Ok(all)
}

/// timesyncd.conf(5). Servers of the network (DHCP) are used beside them.
fn timesyncd(ntp: &Ntp) -> String {
    format!("[Time]\nNTP={}\n", ntp.servers.join(" "))
}

/// journal-upload.conf(5). A hyphen: none, in place of the files that it would look for.
fn upload(sink: &Sink, has_trusted: bool) -> String {
    let target = &sink.target;
    let client = if sink.client.is_some() { UPLOAD_CREDENTIAL } else { "-" };
    let mut text = format!("[Upload]\nURL={}://{}\n", if target.tls { "https" } else { "http" }, target.authority());
    if target.tls {
        let trusted = match &sink.ca {
            Some(_) => format!("{RUN_DIRECTORY}{UPLOAD_CA}"),
            None if has_trusted => format!("{RUN_DIRECTORY}{TRUSTED}"),
            None => format!("/{AUTHORITIES}"),
        };
        text += &format!("ServerKeyFile={client}\nServerCertificateFile={client}\nTrustedCertificateFile={trusted}\n");
    }
    text
}

/// The zone's own file: the root is read-only, and `/etc/localtime` leads to the copy.
fn local_time(root: &Path, zone: &Placed<String>) -> Result<Vec<u8>, Mistake> {
    let path = root.join("usr/share/zoneinfo").join(&zone.value);
    fs::read(&path).map_err(|error| {
        let what = format!("this image does not have the time zone {}: {error}", zone.value);
        zone.mistake("timezone", what, "leave it out for UTC")
    })
}

fn lines(all: &[String]) -> String {
    all.iter().map(|line| format!("{line}\n")).collect()
}
