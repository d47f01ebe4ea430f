//! What `provision check` knows of the machine, long before there is one.
use crate::machine::{Told, agent};
use std::io::Write as _;

/// `provision check` of a text.
fn check(text: &[u8]) -> Told {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text).expect("written");
    let output = agent().arg("check").arg(file.path()).output();
    Told::by(output.expect("the agent can be started"))
}

#[test]
fn a_store_or_a_log_file_where_the_machine_is_read_only_is_a_mistake() {
    for (line, what) in [
        (
            "store.data_source: /data/db",
            "store.data_source: is on a part of the machine that is read-only; write /var/lib/rtcd/db",
        ),
        ("store.data_source: db", "is on a part of the machine that is read-only"),
        ("store.data_source: /var/lib/rtcd/../db", "is on a part of the machine that is read-only"),
        ("store.data_source: /var/lib/rtcd2/db", "is on a part of the machine that is read-only"),
        ("store.data_source: /tmp/rtcd_db", "is lost with each start of rtcd"),
        (
            "logger: {enable_file: true, file_location: /opt/rtcd/rtcd.log}",
            "logger.file_location: is on a part of the machine that is read-only; write /var/lib/rtcd/rtcd.log",
        ),
    ] {
        let told = check(format!("#cloud-config\nrtcd:\n  {line}\n").as_bytes()).expect(1);
        assert!(told.err.contains("line 3, column ") && told.err.contains(what), "{line}: {}", told.err);
    }
    for line in [
        "store.data_source: /var/lib/rtcd/clients",
        "logger: {enable_file: true, file_location: /var/lib/rtcd/log/rtcd.log}",
        // Not used.
        "logger: {enable_file: false, file_location: /opt/rtcd/rtcd.log}",
    ] {
        check(format!("#cloud-config\nrtcd:\n  {line}\n").as_bytes()).expect(0);
    }
}

#[test]
fn a_host_name_that_is_too_long_is_told_its_length() {
    let told = check(format!("#cloud-config\nhostname: {}\n", "a.".repeat(35) + "a").as_bytes()).expect(1);
    assert!(
        told.err.contains("line 2, column 11: hostname: is too long; it has 71 characters, allowed are 64"),
        "{}",
        told.err
    );
    let told = check(format!("#cloud-config\nhostname: {}\n", "a".repeat(64)).as_bytes()).expect(1);
    assert!(told.err.contains("a part of it has 64 characters, allowed are 63 between the dots"), "{}", told.err);
}

#[test]
fn what_an_editor_saved_in_another_way_is_called_by_its_name() {
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let told = check(&utf16("\u{feff}#cloud-config\nhostname: a\n")).expect(1);
    assert!(told.err.contains("line 1, column 1: this is UTF-16 text; save it as UTF-8"), "{}", told.err);
    let told = check(&utf16("#cloud-config\nhostname: a\n")).expect(1);
    assert!(told.err.contains("UTF-16 text, without a byte order mark"), "{}", told.err);
    let told = check(b"#cloud-config\nhostname: a\0\n").expect(1);
    assert!(told.err.contains("line 2, column 12: there is a NUL byte"), "{}", told.err);
}

#[test]
fn time_zones_of_before_are_known() {
    for zone in ["US/Eastern", "Asia/Calcutta", "EST5EDT", "Europe/Kiev", "UTC"] {
        check(format!("#cloud-config\ntimezone: {zone}\n").as_bytes()).expect(0);
    }
}
