//! The machine's name, clock and time zone, whom it trusts, and who would log in.
use super::{Ntp, Placed, Reader, hosts};
use crate::user_data::unpack;
use crate::yaml::{Entry, Node, Value, join};
use rtcd_config::servers::split_host_port;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{PemObject, SectionKind};

impl Reader {
    pub(super) fn host_name(&mut self, entry: &Entry) -> Option<Placed<String>> {
        let name = self.log.take_entry(entry, &entry.key, entry.value.line())?;
        match hosts::check_name(name) {
            Ok(()) => Some(self.log.place(name.to_owned(), entry.value.mark)),
            Err((what, hint)) => {
                self.log.mistake(entry.value.mark, &entry.key, what, hint);
                None
            }
        }
    }

    pub(super) fn timezone(&mut self, entry: &Entry) {
        let Some(name) = self.log.take_entry(entry, &entry.key, entry.value.line()) else { return };
        match hosts::check_timezone(name) {
            Ok(()) => self.wanted.timezone = Some(self.log.place(name.to_owned(), entry.value.mark)),
            Err(hint) => self.log.mistake(entry.value.mark, &entry.key, "is no time zone that is known", hint),
        }
    }

    pub(super) fn ntp(&mut self, entry: &Entry) {
        let mut ntp = Ntp { enabled: true, servers: Vec::new() };
        let mut pools = Vec::new();
        // `ntp:` alone turns it on.
        let fields = if entry.value.is_empty() { Ok(&[][..]) } else { entry.value.entries() };
        for field in self.log.take_entry(entry, &entry.key, fields).into_iter().flatten() {
            let path = join(&entry.key, &field.key);
            match field.key.as_str() {
                "enabled" => {
                    ntp.enabled = self.log.take_entry(field, &path, field.value.boolean()).unwrap_or_default();
                }
                "servers" => ntp.servers = self.time_servers(field, &path),
                "pools" => pools = self.time_servers(field, &path),
                "ntp_client" | "config" => {
                    self.log.notice(field.mark, &path, "is ignored", "the image has a client of its own");
                }
                "peers" | "allow" => {
                    self.log.mistake(
                        field.mark,
                        &path,
                        "is not supported",
                        "the machine serves no time to others; remove it",
                    );
                }
                _ => self.log.mistake(field.mark, &path, "unknown key", "known are enabled, servers, pools"),
            }
        }
        ntp.servers.append(&mut pools);
        self.wanted.ntp = Some(ntp);
    }

    fn time_servers(&mut self, field: &Entry, path: &str) -> Vec<String> {
        let mut servers = Vec::new();
        for (path, item) in self.items(field, path) {
            let Some(host) = self.log.take(item, &path, item.line()) else { continue };
            match split_host_port(host) {
                Some((host, None)) => servers.push(host.to_owned()),
                _ => self.log.mistake(
                    item.mark,
                    &path,
                    "is neither a host name nor an address",
                    "write it without a port and without a scheme",
                ),
            }
        }
        servers
    }

    pub(super) fn certificates(&mut self, entry: &Entry) {
        self.wanted.trusted_certificates.clear();
        for field in self.log.take_entry(entry, &entry.key, entry.value.entries()).into_iter().flatten() {
            let path = join(&entry.key, &field.key);
            match field.key.as_str() {
                "remove_defaults" | "remove-defaults" => {
                    if self.log.take_entry(field, &path, field.value.boolean()) == Some(true) {
                        let hint = "remove it, or set it to false";
                        self.log.mistake(field.mark, &path, "the image's own certificates cannot be removed", hint);
                    }
                }
                "trusted" => {
                    for (path, item) in self.items(field, &path) {
                        self.certificate(item, &path);
                    }
                }
                _ => self.log.mistake(field.mark, &path, "unknown key", "known are trusted, remove_defaults"),
            }
        }
    }

    fn certificate(&mut self, item: &Node, path: &str) {
        let Some(pem) = self.log.take(item, path, item.text()) else { return };
        match check_certificates(pem) {
            Ok(()) => {
                let placed = self.log.place(pem.to_owned(), item.mark);
                self.wanted.trusted_certificates.push(placed);
            }
            Err((what, hint)) => self.log.mistake(item.mark, path, what, hint),
        }
    }

    pub(super) fn ssh_keys(&mut self, entry: &Entry) {
        self.wanted.ssh_keys.clear();
        for (path, item) in self.items(entry, &entry.key) {
            let Some(text) = self.log.take(item, &path, item.text()) else { continue };
            // A file of keys may be given as one text.
            for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
                match check_ssh_key(line) {
                    Ok(()) => self.wanted.ssh_keys.push(line.to_owned()),
                    Err((what, hint)) => {
                        self.log.mistake(item.mark, &path, what, hint);
                        break;
                    }
                }
            }
        }
    }

    /// `users: [default]` is what panels write; anything else expects a login.
    pub(super) fn users(&mut self, entry: &Entry) {
        const HINT: &str = "nobody logs in to this machine; remove it";
        let is_default = |node: &Node| matches!(&node.value, Value::Scalar(name, _) if name == "default");
        match &entry.value.value {
            Value::List(users) => {
                for (index, user) in users.iter().enumerate().filter(|(_, user)| !is_default(user)) {
                    self.log.mistake(user.mark, &format!("users[{index}]"), "users cannot be made", HINT);
                }
            }
            Value::Broken => return,
            _ if is_default(&entry.value) || entry.value.is_empty() => {}
            _ => self.log.mistake(entry.value.mark, "users", "users cannot be made", HINT),
        }
        self.log.notice(entry.mark, "users", "is ignored", "nobody logs in to this machine");
    }

    /// The entries of a list with their paths.
    pub(super) fn items<'a>(&mut self, entry: &'a Entry, path: &str) -> Vec<(String, &'a Node)> {
        let items = self.log.take_entry(entry, path, entry.value.list()).unwrap_or_default();
        items.iter().enumerate().map(|(index, item)| (format!("{path}[{index}]"), item)).collect()
    }
}

type Why = (&'static str, &'static str);

pub(super) fn check_certificates(pem: &str) -> Result<(), Why> {
    const HINT: &str = "paste the whole of it, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----";
    if pem.contains("-----BEGIN") && !pem.trim().contains('\n') {
        return Err(("is a PEM text on one line", "write | and put the lines of the certificate below it, indented"));
    }
    let mut count = 0;
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem.as_bytes()) {
        match section {
            Ok((SectionKind::Certificate, der)) => {
                webpki::anchor_from_trusted_cert(&CertificateDer::from(der))
                    .map_err(|_| ("is no certificate, though it is PEM", HINT))?;
                count += 1;
            }
            Ok(_) => {
                return Err((
                    "holds something else than certificates",
                    "a private key does not belong here; remove it",
                ));
            }
            Err(_) => return Err(("is damaged PEM text", HINT)),
        }
    }
    if count > 0 { Ok(()) } else { Err(("is no PEM certificate", HINT)) }
}

fn check_ssh_key(line: &str) -> Result<(), Why> {
    const KINDS: [&str; 4] = ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"];
    const HINT: &str = "paste the one line of a .pub file: ssh-ed25519 AAAA... name";
    if line.contains("PRIVATE KEY") {
        return Err(("is a private key", HINT));
    }
    // Options may stand before the kind.
    let mut words = line.split_ascii_whitespace().skip_while(|word| !KINDS.iter().any(|kind| word.starts_with(kind)));
    let (kind, key) = (words.next(), words.next());
    // The blob starts with its kind as a string (RFC 4253, 6.6).
    let blob = key.and_then(unpack::base64).unwrap_or_default();
    let named = kind.and_then(|kind| blob.get(4..4 + kind.len()).filter(|name| *name == kind.as_bytes()));
    if named.is_some() && blob.get(3).copied().map(usize::from) == kind.map(str::len) {
        Ok(())
    } else {
        Err(("is no public SSH key", HINT))
    }
}
