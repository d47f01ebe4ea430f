use super::*;
use crate::user_data::MAX_SIZE;

/// Reads a `#cloud-config` and returns its only mistake.
fn mistake(text: &str) -> String {
    let read = read_bytes(format!("#cloud-config\n{text}").as_bytes());
    let all: Vec<_> = read.mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(all.len(), 1, "{text:?}: {all:?}");
    all.concat()
}

fn wanted(text: &str) -> Wanted {
    let read = read_bytes(format!("#cloud-config\n{text}").as_bytes());
    assert_eq!(read.mistakes, [], "{text:?}");
    read.wanted
}

#[test]
fn the_name_is_the_short_one_unless_the_long_one_is_preferred() {
    let check = |text, expected: Option<&str>| {
        assert_eq!(wanted(text).hostname.map(|name| name.value).as_deref(), expected, "{text:?}");
    };
    check("", None);
    check("hostname: a\n", Some("a"));
    check("fqdn: a.b\n", Some("a.b"));
    check("hostname: a\nfqdn: a.b\n", Some("a"));
    check("hostname: a\nfqdn: a.b\nprefer_fqdn_over_hostname: yes\n", Some("a.b"));
}

#[test]
fn a_file_may_only_go_where_one_is_expected() {
    let check = |path: &str, allowed: bool| {
        let text = format!("write_files:\n- path: {path}\n  content: |\n    -----BEGIN X-----\n    -----END X-----\n");
        let read = read_bytes(format!("#cloud-config\n{text}").as_bytes());
        assert_eq!(!read.mistakes.iter().any(|mistake| mistake.what.contains("cannot be written")), allowed, "{path}");
    };
    for path in ["/etc/rtcd/turn.secret", "/etc/rtcd/tls/cert.pem", "/etc/rtcd/tls/a-b_c.1.crt", "/etc/rtcd/tls/x.key"]
    {
        check(path, true);
    }
    for path in [
        "/etc/rtcd/tls/../tls/cert.pem",
        "/etc/rtcd/tls/sub/cert.pem",
        "/etc/rtcd/tls//cert.pem",
        "/etc/rtcd/tls/.pem",
        "/etc/rtcd/tls/.hidden.pem",
        "/etc/rtcd/tls/",
        "/etc/rtcd/tls/cert.pem.sh",
        "/etc/rtcd/turn.secret/",
        "/etc/rtcd/./turn.secret",
        "etc/rtcd/turn.secret",
        "/etc/passwd",
    ] {
        check(path, false);
    }
}

#[test]
fn a_later_part_replaces_lists_but_only_the_keys_of_rtcd_that_it_names() {
    let archive = "#cloud-config-archive\n\
        - |\n  #cloud-config\n  ssh_authorized_keys: []\n  ntp: {servers: [a]}\n  rtcd: {rtc: {ice_port_udp: 1, ice_port_tcp: 2}}\n\
        - |\n  #cloud-config\n  ntp: {servers: [b]}\n  rtcd: {rtc: {ice_port_udp: 3}}\n";
    let read = read_bytes(archive.as_bytes());
    assert_eq!(read.mistakes, []);
    assert_eq!(read.wanted.ntp.map(|ntp| ntp.servers), Some(vec!["b".to_owned()]));
    let number = |path: &str| read.wanted.rtcd.get(path).map(|placed| placed.value.clone());
    assert!(number("rtc.ice_port_udp") == Some(Value::Integer(3)));
    assert!(number("rtc.ice_port_tcp") == Some(Value::Integer(2)));
    let notices: Vec<_> = read.notices.iter().map(ToString::to_string).collect();
    assert_eq!(
        notices,
        [
            "line 9, column 3: ntp: replaces what is said in line 5",
            "line 10, column 16: rtcd.rtc.ice_port_udp: replaces what is said in line 6"
        ]
    );
}

#[test]
fn secrets_are_never_quoted() {
    let texts = [
        "rtcd: {api: {security: {admin_secret_key: [hunter2]}}}\n",
        "rtcd: {api: {security: {admin_secret_key: {hunter2: hunter2}}}}\n",
        "rtcd: {api: {security: {admin_secret_key: !hunter2 hunter2}}}\n",
        "rtcd: {api: {security: {admin_secret_key: \"hunter2}}}\n",
        "rtcd: {rtc: {ice_servers: [{credential: [hunter2]}]}}\n",
        "write_files: [{path: /etc/rtcd/tls/a.pem, content: hunter2}]\n",
        "ssh_authorized_keys: [hunter2]\n",
        "ca_certs: {trusted: [hunter2]}\n",
    ];
    for text in texts {
        assert!(!mistake(text).contains("hunter2"), "{text:?}");
    }
}

#[test]
fn a_report_is_bounded_and_says_how_many_are_left_out() {
    let text: String = (0..200).map(|number| format!("key_{number}: 1\n")).collect();
    let read = read_bytes(format!("#cloud-config\n{text}").as_bytes());
    assert_eq!(read.mistakes.len(), 51);
    assert_eq!(read.mistakes.last().map(|last| last.what.as_str()), Some("and 150 more"));
    let big = vec![b'#'; MAX_SIZE + 1];
    assert_eq!(
        read_bytes(&big).mistakes.first().map(|first| first.what.as_str()),
        Some("there is more than 512 KiB of it")
    );
}

#[test]
fn every_key_of_cloud_config_has_one_fate_and_is_found() {
    for (name, fate) in known::KEYS {
        assert_eq!(known::fate(name), Some(*fate));
        assert_eq!(known::KEYS.iter().filter(|(other, _)| other == name).count(), 1, "{name}");
        assert!(name.len() < 4 || known::nearest(&name[1..]).is_some(), "{name}");
    }
    assert_eq!(known::nearest("hostnme"), Some("hostname"));
    assert_eq!(known::nearest("xyzzy"), None);
}

#[test]
fn a_key_of_rtcd_is_known_in_any_case_as_rtcd_knows_it() {
    let wanted = wanted("rtcd: {RTC: {Ice_Port_UDP: 8443}, api.HTTP.listen_address: ':8045'}\n");
    assert_eq!(wanted.rtcd.keys().copied().collect::<Vec<_>>(), ["api.http.listen_address", "rtc.ice_port_udp"]);
    assert_eq!(
        mistake("rtcd: {rtc: {ice_port_udp: 8443, ICE_PORT_UDP: 8443}}\n"),
        "line 2, column 34: rtcd.rtc.ICE_PORT_UDP: is set twice, first in line 2; keep one of the two"
    );
}
