use super::*;
use std::fs;

fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, Problems> {
    let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    from_text(Path::new("config.toml"), text, &environment)
}

fn problems(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    load_text(text, variables).err().map_or_else(Vec::new, |all| all.0.iter().map(ToString::to_string).collect())
}

#[test]
fn without_file_and_variables_the_defaults_are_valid() {
    let loaded = load_text("", &[]).expect("defaults are valid");
    assert!(loaded.warnings.is_empty());
    let config = loaded.config;
    assert_eq!(config.api.listen, ListenAddress::Any(8045));
    assert_eq!((config.rtc.ice_port_udp, config.rtc.ice_port_tcp, config.rtc.nack_buffer_size), (8443, 8443, 256));
    assert_eq!(config.logger.file.map(|file| file.level), Some(LogLevel::Debug));
}

#[test]
fn dotted_keys_and_tables_are_the_same_thing() {
    let dotted = "[api]\nhttp.listen_address = \":1\"\nsecurity.allow_self_registration = true\n";
    let tables = "api.security.allow_self_registration = true\n[api.http]\nlisten_address = \":1\"\n";
    for text in [dotted, tables, "api = {http = {listen_address = \":1\"}, security.allow_self_registration = true}"] {
        let config = load_text(text, &[]).expect(text).config;
        assert_eq!(config.api.listen, ListenAddress::Any(1), "{text}");
        assert!(config.api.allow_self_registration, "{text}");
    }
}

#[test]
fn every_default_survives_being_written_and_read_again() {
    let loaded = load_text(&manual::sample(), &[]).expect("the sample is valid");
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!(format!("{:?}", loaded.config), format!("{:?}", Config::default()));
}

#[test]
fn the_environment_overrides_the_file_and_each_origin_is_printed() {
    let text = "[rtc]\nice_port_udp = 1000\nice_port_tcp = 2000\n[api.security]\nadmin_secret_key = \"hush\"";
    let loaded = load_text(text, &[("RTCD_RTC_ICEPORTUDP", "3000")]).expect("valid");
    assert_eq!((loaded.config.rtc.ice_port_udp, loaded.config.rtc.ice_port_tcp), (3000, 2000));
    let printed = loaded.print();
    assert!(printed.contains("ice_port_udp = 3000 # RTCD_RTC_ICEPORTUDP\n"), "{printed}");
    assert!(printed.contains("ice_port_tcp = 2000 # config.toml:3\n"), "{printed}");
    assert!(printed.contains("nack_buffer_size = 256 # default\n"), "{printed}");
    assert!(printed.contains("admin_secret_key = \"<redacted>\" # config.toml:5\n"), "{printed}");
    assert!(load_text(&printed, &[]).is_ok(), "{printed}");
}

#[test]
fn all_mistakes_are_in_one_report_with_their_places() {
    let text = "[api]\nhttp.listen_address = 5\nsecurity.enable_admin = true\n\
                [rtc]\nice_port_udp = 70000\nnack_buffer_size = 33\nice_servers = [\"http://a\", 7]\nturn = 3\n";
    let found = problems(text, &[("RTCD_LOGGER_ENABLEFILE", "yes"), ("RTCD_RTC_ICEPORTTCP", "x")]);
    let expected = [
        "config.toml:2: api.http.listen_address: is an integer; allowed: a string",
        "config.toml:7: rtc.ice_servers[1]: is neither a URL nor a table; allowed: an array of URLs or of {urls, username, credential}",
        "config.toml:8: rtc.turn: is an integer; allowed: a table",
        "RTCD_RTC_ICEPORTTCP: rtc.ice_port_tcp: \"x\" is not a whole number; allowed: an integer",
        "RTCD_LOGGER_ENABLEFILE: logger.enable_file: \"yes\" is not a boolean; allowed: 1, t, T, true, TRUE, True, 0, f, F, false, FALSE, False",
        "config.toml:3: api.security.admin_secret_key: is empty; allowed: any text, because api.security.enable_admin is true",
        "config.toml:5: rtc.ice_port_udp: 70000 is out of range; allowed: a port from 80 to 49151",
        "config.toml:7: rtc.ice_servers[0]: \"http://a\": is neither STUN nor TURN; allowed: stun:host:port, stuns:, turn: or turns: URLs",
        "config.toml:6: rtc.nack_buffer_size: 33 is out of range; allowed: 0, or a power of two from 32 to 8192",
    ];
    for line in expected {
        assert!(found.iter().any(|problem| problem == line), "missing: {line}\nfound: {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn a_broken_file_is_named_with_its_line_and_without_its_text() {
    let found = problems("[api]\nsecurity.admin_secret_key = \"hush\n", &[]);
    let expected = "config.toml:2: api.security.admin_secret_key: the file is not valid TOML";
    assert!(found[0].starts_with(expected), "{found:?}");
    assert!(!found.concat().contains("hush"), "{found:?}");
}

#[test]
fn unknown_keys_are_accepted_with_a_warning_that_names_the_nearest() {
    let text = "[rtc]\nice.port_range.min = 1\nice.port_range.max = 2\nice_port_upd = 5\n[http]\nlisten_address = \":1\"\n[x]\ny=1";
    let loaded = load_text(text, &[("RTCD_RTC_ICE_PORT_UDP", "5"), ("RTCD_SERVICE_HOST", "x")]).expect("valid");
    let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    let expected = [
        "config.toml:2: rtc.ice.port_range.min: has no effect: all media goes through rtc.ice_port_udp and rtc.ice_port_tcp",
        "config.toml:3: rtc.ice.port_range.max: has no effect: all media goes through rtc.ice_port_udp and rtc.ice_port_tcp",
        "config.toml:4: rtc.ice_port_upd: unknown key, ignored; did you mean rtc.ice_port_udp?",
        "config.toml:6: http.listen_address: unknown key, ignored; did you mean api.http.listen_address?",
        "config.toml:8: x.y: unknown key, ignored",
        "RTCD_RTC_ICE_PORT_UDP: unknown variable, ignored; did you mean RTCD_RTC_ICEPORTUDP?",
    ];
    for line in expected {
        assert!(warnings.iter().any(|warning| warning == line), "missing: {line}\nfound: {warnings:#?}");
    }
    assert_eq!(warnings.len(), expected.len(), "{warnings:#?}");
}

#[test]
fn servers_may_be_strings_or_tables_in_toml_and_in_json() {
    let urls = |loaded: Loaded| -> Vec<String> {
        loaded.config.rtc.ice_servers.iter().flat_map(|server| &server.urls).map(ToString::to_string).collect()
    };
    let toml = [
        "[rtc]\nice_servers = [\"stun:a:1\", \"turn:b:2\"]",
        "[rtc]\nice_servers = [{urls = [\"stun:a:1\"]}, {urls = [\"turn:b:2\"], username = \"u\", credential = \"c\"}]",
        "[[rtc.ice_servers]]\nurls = [\"stun:a:1\"]\n[[rtc.ice_servers]]\nurls = \"turn:b:2\"\n",
    ];
    for text in toml {
        assert_eq!(urls(load_text(text, &[]).expect(text)), ["stun:a:1", "turn:b:2"], "{text}");
    }
    let json = [r#"["stun:a:1","turn:b:2"]"#, r#"[{"urls":["stun:a:1"]},{"urls":["turn:b:2"],"credential":"c"}]"#];
    for text in json {
        assert_eq!(urls(load_text("", &[("RTCD_RTC_ICESERVERS", text)]).expect(text)), ["stun:a:1", "turn:b:2"]);
    }
    assert!(!problems("", &[("RTCD_RTC_ICESERVERS", "stun:a")]).is_empty());
}

#[test]
fn overrides_are_read_in_all_their_forms() {
    let rtc = |name: &str, value: &str| load_text("", &[(name, value)]).map(|loaded| loaded.config.rtc).ok();
    let host = |value| rtc("RTCD_RTC_ICEHOSTOVERRIDE", value).map(|rtc| rtc.ice_host_override);
    let ip = |text: &str| text.parse::<std::net::IpAddr>().expect("an address");
    assert_eq!(host(""), Some(None));
    assert_eq!(host("192.0.2.1"), Some(Some(HostOverride::Address(ip("192.0.2.1")))));
    assert_eq!(host("calls.example.com"), Some(Some(HostOverride::Name("calls.example.com".into()))));
    let pair = |external, internal| NatPair { external: ip(external), internal: ip(internal) };
    let pairs = vec![pair("192.0.2.1", "10.0.0.1"), pair("192.0.2.2", "10.0.0.2")];
    assert_eq!(host("192.0.2.1/10.0.0.1, 192.0.2.2/10.0.0.2"), Some(Some(HostOverride::Nat(pairs))));
    assert_eq!(host("[2001:db8::7]"), Some(Some(HostOverride::Address(ip("2001:db8::7")))));
    for text in ["2001:db8::7/fd00::1,192.0.2.1/10.0.0.1", "[2001:db8::7]/[fd00::1], 192.0.2.1/10.0.0.1"] {
        let pairs = vec![pair("2001:db8::7", "fd00::1"), pair("192.0.2.1", "10.0.0.1")];
        assert_eq!(host(text), Some(Some(HostOverride::Nat(pairs))), "{text}");
    }
    for wrong in
        ["[192.0.2.1]", "[::1", "[::1]/x", "192.0.2.256", "a b", "192.0.2.1/x", "192.0.2.1,192.0.2.2", "192.0.2.1/::1"]
    {
        assert_eq!(host(wrong), None, "{wrong}");
    }
    let port = |value| rtc("RTCD_RTC_ICEHOSTPORTOVERRIDE", value).map(|rtc| rtc.ice_host_port_override);
    assert_eq!(port("30443"), Some(Some(PortOverride::All(30443))));
    let entries = vec![(ip("10.0.0.1"), 30443), (ip("10.0.0.2"), 30444)];
    assert_eq!(port("10.0.0.1/30443,10.0.0.2/30444"), Some(Some(PortOverride::ByAddress(entries))));
    let entries = vec![(ip("fd00::1"), 30443), (ip("fd00::2"), 30444)];
    assert_eq!(port("fd00::1/30443,[fd00::2]/30444"), Some(Some(PortOverride::ByAddress(entries))));
    for wrong in ["79", "49152", "x", "10.0.0.1/1000,10.0.0.1/1001", "10.0.0.1/1000,10.0.0.2/1000", "10.0.0.1"] {
        assert_eq!(port(wrong), None, "{wrong}");
    }
    let number = load_text("[rtc]\nice_host_port_override = 30443", &[]).expect("valid").config;
    assert_eq!(number.rtc.ice_host_port_override, Some(PortOverride::All(30443)));
}

#[test]
fn only_the_contracts_spellings_are_booleans() {
    let read = |text| load_text("", &[("RTCD_RTC_ENABLEIPV6", text)]).map(|loaded| loaded.config.rtc.enable_ipv6).ok();
    assert!(["1", "t", "T", "true", "TRUE", "True"].iter().all(|text| read(text) == Some(true)));
    assert!(["0", "f", "F", "false", "FALSE", "False"].iter().all(|text| read(text) == Some(false)));
    assert!(["yes", "", "on", "tRUE", " true"].iter().all(|text| read(text).is_none()));
}

#[test]
fn secrets_show_in_no_debug_output_and_no_report() {
    let text = "[api]\nsecurity = {enable_admin = true, admin_secret_key = \"hush\"}\n\
                [rtc]\nturn.static_auth_secret = \"hush\"\nice_servers = [{urls=[\"turn:a\"], credential=\"hush\"}]";
    let loaded = load_text(text, &[]).expect("valid");
    assert!(!format!("{:?}{}", loaded.config, loaded.print()).contains("hush"));
    let found = problems(text, &[("RTCD_RTC_ICEPORTUDP", "1"), ("RTCD_RTC_ICESERVERS", "[hush")]);
    assert!(found.len() == 2 && !found.concat().contains("hush"), "{found:?}");
}

#[test]
fn an_admin_key_that_can_be_guessed_is_warned_of() {
    let warnings = |key: &str| {
        let text = format!("[api]\nsecurity = {{enable_admin = true, admin_secret_key = \"{key}\"}}");
        load_text(&text, &[]).expect("valid").warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let expected = "config.toml:2: api.security.admin_secret_key: has fewer than 16 characters: whoever guesses it may add and remove clients";
    assert_eq!((warnings("fifteen-letters"), warnings("sixteen-letters-")), (vec![expected.to_owned()], vec![]));
}

#[test]
fn no_damage_to_a_file_can_panic_or_betray_a_secret() {
    let text = "[api]\nsecurity = {enable_admin = true, admin_secret_key = \"hush\"}\n[rtc]\nice_port_udp = 9000\n\
                ice_host_override = \"192.0.2.1/10.0.0.1\"\nturn.static_auth_secret = \"hush\"\n\
                ice_servers = [\"stun:a\", {urls = [\"turn:[::1]:2\"], username = \"ü\", credential = \"hush\"}]\n";
    for at in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
        for change in ["", "\"", "[", "}", "=", "\n", "\0", "ä", ".", "9"] {
            let damaged = format!("{}{change}{}", &text[..at], text[at..].chars().skip(1).collect::<String>());
            let said = match load_text(&damaged, &[]) {
                Ok(loaded) => format!("{:?}{:?}", loaded.warnings, loaded.config),
                Err(problems) => problems.to_string(),
            };
            assert!(!said.contains("hush"), "{damaged}\n{said}");
        }
    }
}

#[test]
fn sample_and_handbook_are_current() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the folder of the daemon");
    let stale: Vec<_> = [("rtcd.toml", manual::sample()), ("CONFIGURATION.md", manual::handbook())]
        .into_iter()
        .filter(|(name, text)| fs::read_to_string(dir.join(name)).ok().as_ref() != Some(text))
        .map(|(name, text)| fs::write(dir.join(name), text).map(|()| name))
        .collect();
    assert!(stale.is_empty(), "rewritten, commit them: {stale:?}");
}
