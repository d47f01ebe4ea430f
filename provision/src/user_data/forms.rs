//! Which form a text has, by its first line or by its MIME type, and what to say about those that are not for us.
use crate::cloud_config::known;

/// What a text is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// `#cloud-config`
    CloudConfig,
    /// `#cloud-config-archive`
    Archive,
    /// Known, and not for us: what it is and what to do.
    Refused(&'static str, &'static str),
    /// Nothing that we know.
    Unknown,
}

/// How the first line may start, how the MIME type starts, what it is, what to do.
const REFUSED: &[(&[&str], &str, &str, &str)] = &[
    (
        &["#!"],
        "text/x-shellscript",
        "this is a script, and this machine runs no scripts",
        "write what you want to set below rtcd: in a #cloud-config",
    ),
    (
        &["#include"],
        "text/x-include",
        "this is a list of addresses (#include), and nothing is fetched from elsewhere",
        "put the text itself here",
    ),
    (&["#part-handler"], "text/part-handler", "this is a part handler, and this machine runs no scripts", "remove it"),
    (
        &["#cloud-boothook"],
        "text/cloud-boothook",
        "this is a boot hook, and this machine runs no scripts",
        "write what you want to set below rtcd: in a #cloud-config",
    ),
    (
        &["## template:"],
        "text/jinja2",
        "this is a template, and templates are not filled in here",
        "remove the line and write the values; $public_ipv4, $private_ipv4, $public_ipv6 and $hostname stand for the machine's own",
    ),
    (
        &["#cloud-config-jsonp"],
        "text/cloud-config-jsonp",
        "this is a JSON patch, and patches are not applied",
        "write the keys themselves in a #cloud-config",
    ),
    (&["#upstart-job"], "text/upstart-job", "this is a job for Upstart, which is not here", "remove it"),
    (
        &["<powershell", "<script", "#ps1", "rem cmd"],
        "text/x-powershell",
        "this is a script for Windows, and this machine runs no scripts",
        "write what you want to set below rtcd: in a #cloud-config",
    ),
    (
        &["variant: fcos", "variant: flatcar"],
        "application/vnd.coreos.ignition",
        "this is for Fedora CoreOS or Flatcar (Butane, Ignition)",
        "write a #cloud-config with the section rtcd:",
    ),
];

/// The form by the first line that is not empty.
pub fn by_first_line(text: &str) -> Form {
    let text = text.trim_start();
    let first = text.lines().next().unwrap_or_default().trim_end().to_ascii_lowercase();
    match first.split_whitespace().next() {
        Some("#cloud-config") => return Form::CloudConfig,
        Some("#cloud-config-archive") => return Form::Archive,
        _ => {}
    }
    if first.starts_with('{') && text.contains("\"ignition\"") {
        return by_mime_type("application/vnd.coreos.ignition").unwrap_or(Form::Unknown);
    }
    let refused = REFUSED.iter().find(|(lines, ..)| lines.iter().any(|line| first.starts_with(line)));
    refused.map_or(Form::Unknown, |(_, _, what, hint)| Form::Refused(what, hint))
}

/// The form by the MIME type; `None` for the types that say nothing.
pub fn by_mime_type(mime: &str) -> Option<Form> {
    match mime {
        "text/cloud-config" => return Some(Form::CloudConfig),
        "text/cloud-config-archive" => return Some(Form::Archive),
        "" | "text/plain" | "text/x-not-multipart" | "application/octet-stream" => return None,
        "application/gzip" | "application/x-gzip" => return None,
        _ => {}
    }
    let refused = REFUSED.iter().find(|(_, start, ..)| mime.starts_with(start));
    Some(refused.map_or(Form::Unknown, |(_, _, what, hint)| Form::Refused(what, hint)))
}

/// Why a text has no form that is known: the line (from 0) when it is not the first, what is wrong, what to do.
pub fn explain(text: &str) -> (Option<usize>, &'static str, &'static str) {
    let first = text.trim_start().lines().next().unwrap_or_default().trim_end();
    let letters: String = first.chars().filter(char::is_ascii_alphanumeric).collect();
    if letters.to_ascii_lowercase().starts_with("cloudconfig") {
        return (None, "the first line is not quite #cloud-config", "write exactly #cloud-config, without a space");
    }
    if let Some(line) = text.lines().position(|line| line.trim_end() == "#cloud-config") {
        return (Some(line), "#cloud-config is not the first line", "delete the lines above it");
    }
    if first.starts_with('{') {
        return (None, "this is JSON without a first line", "put the line #cloud-config above it");
    }
    if first.starts_with('[') || first.split_once('=').is_some_and(|(key, _)| !key.contains(':')) {
        let hint = "write the line #cloud-config, then rtcd:, and below it the same keys in YAML";
        return (None, "this looks like TOML, and a #cloud-config is YAML", hint);
    }
    let is_key = |line: &str| line.split_once(':').is_some_and(|(key, _)| known::is_known(key));
    if text.lines().any(is_key) {
        return (None, "the first line is missing", "put the line #cloud-config above everything");
    }
    (None, "this is nothing that is known here", "the first line must be #cloud-config")
}
