//! Every message that user data can cause, as an admin reads it: `fixtures/mistakes`; and what accepted user data come
//! to: `fixtures/accepted`. `UPDATE_GOLDEN=1` writes the expected files anew; read what changed before you keep it.
use provision::cloud_config::{self, File, Ntp, Placed, Read, Sink, Syslog, Update, Wanted};
use provision::mistake::Mistakes;
use rtcd_config::source::{RawServer, Value};
use std::fmt::Write;
use std::path::{Path, PathBuf};

#[test]
fn every_mistake_is_explained() {
    let found = compare("mistakes");
    assert!(found >= 60, "only {found} mistakes");
}

#[test]
fn what_panels_send_is_accepted() {
    let found = compare("accepted");
    assert!(found >= 15, "only {found} texts");
}

/// Reads each file of a directory and compares with its `.expected`; returns how many there are.
fn compare(directory: &str) -> usize {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(directory);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension != "expected"));
    paths.sort();
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut different = String::new();
    for path in &paths {
        let read = cloud_config::read_bytes(&std::fs::read(path).unwrap());
        let refused = directory.ends_with("mistakes");
        assert_eq!(read.mistakes.is_empty(), !refused, "{}:\n{}", path.display(), report(read));
        let (found, expected) = (report(read), path.with_extension("expected"));
        if update {
            std::fs::write(&expected, &found).unwrap();
        }
        let wanted = std::fs::read_to_string(&expected).unwrap_or_default();
        if wanted != found {
            let _ = write!(different, "\n{}\n{}", path.display(), difference(&wanted, &found));
        }
    }
    assert!(different.is_empty(), "UPDATE_GOLDEN=1 writes these anew:\n{different}");
    paths.len()
}

fn difference(wanted: &str, found: &str) -> String {
    let gone =
        wanted.lines().filter(|line| !found.lines().any(|other| other == *line)).map(|line| format!("- {line}\n"));
    let new =
        found.lines().filter(|line| !wanted.lines().any(|other| other == *line)).map(|line| format!("+ {line}\n"));
    gone.chain(new).collect()
}

fn report(read: Read) -> String {
    let Read { wanted, mistakes, notices } = read;
    let mut out = String::new();
    if mistakes.is_empty() {
        describe(&wanted, &mut out);
    } else {
        let _ = writeln!(out, "{}", Mistakes { name: "user-data".into(), all: mistakes });
    }
    for notice in notices {
        let _ = writeln!(out, "notice: {notice}");
    }
    out
}

fn describe(wanted: &Wanted, out: &mut String) {
    let Wanted { rtcd, hostname, trusted_certificates, ntp, timezone, files, logs, update, ssh_keys } = wanted;
    for (path, placed) in rtcd {
        line(out, path, placed, &show(&placed.value));
    }
    if let Some(placed) = hostname {
        line(out, "hostname", placed, &placed.value);
    }
    for placed in trusted_certificates {
        line(out, "certificate", placed, &format!("{} bytes", placed.value.len()));
    }
    if let Some(Ntp { enabled, servers }) = ntp {
        let _ = writeln!(out, "ntp: {enabled} {servers:?}");
    }
    if let Some(placed) = timezone {
        line(out, "timezone", placed, &placed.value);
    }
    for File { kind, path, content } in files {
        line(out, &path.value, path, &format!("{kind:?}, {} bytes", content.len()));
    }
    if let Some(Syslog { sink, framing }) = &logs.syslog {
        let _ = writeln!(out, "syslog: {} {framing:?}", describe_sink(sink));
    }
    if let Some(sink) = &logs.upload {
        let _ = writeln!(out, "upload: {}", describe_sink(sink));
    }
    if let Some(Update { url, window }) = update {
        let _ = writeln!(out, "update: {url} {window}");
    }
    for key in ssh_keys {
        let _ = writeln!(out, "ssh key: {key}");
    }
}

fn describe_sink(Sink { target, ca, client }: &Sink) -> String {
    let bytes = |text: &String| text.len();
    let client = client.as_ref().map(|client| (bytes(&client.certificate), bytes(&client.key)));
    format!("{} tls={}, ca {:?}, client {client:?}", target.authority(), target.tls, ca.as_ref().map(bytes))
}

fn line<T>(out: &mut String, name: &str, Placed { mark, part, .. }: &Placed<T>, value: &str) {
    let part = part.as_deref().map(|part| format!(" of {part}")).unwrap_or_default();
    let _ = writeln!(out, "{name}: {value} (line {}, column {}{part})", mark.line, mark.column);
}

/// Secrets too: those of the fixtures are none.
fn show(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Text(text) => format!("{text:?}"),
        Value::Servers(servers) => {
            let server = |RawServer { urls, username, credential, plain }: &RawServer| {
                format!("{urls:?} {username:?} {credential:?} plain={plain}")
            };
            servers.iter().map(server).collect::<Vec<_>>().join("; ")
        }
    }
}
