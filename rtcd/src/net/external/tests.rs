use super::*;
use crate::config::{self, Environment, IceUrl};

fn rtc(variables: &[(&str, &str)]) -> Rtc {
    let environment: Environment =
        variables.iter().map(|(name, value)| (format!("RTCD_RTC_{name}"), (*value).to_owned())).collect();
    config::from_text("x".as_ref(), "", &environment).expect("valid").config.rtc
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn external(variables: &[(&str, &str)]) -> External {
    External::new(&rtc(variables))
}

fn name(ips: &[&str], ours: Option<&[&str]>) -> Found {
    let all = |list: &[&str]| list.iter().map(|text| ip(text)).collect::<Vec<_>>();
    Found::Name(Ok(Named { ips: all(ips), ours: ours.map(all) }))
}

fn public(answer: Result<&str, &str>) -> Found {
    let server = IceUrl { turn: false, tls: false, host: "stun.example.com".into(), port: 3478, tcp: false };
    let answer = answer.map(|text| Public { ip: ip(text), server }).map_err(str::to_owned);
    Found::Public([(ip("10.0.0.1"), answer)].into())
}

/// What stands in for 10.0.0.1 and fd00::1.
fn told(external: &External) -> Vec<String> {
    let all = match external.mapping() {
        Mapping::All(ips) => ips.clone(),
        Mapping::Nat(pairs) | Mapping::Seen(pairs) => pairs.values().copied().collect(),
    };
    all.iter().map(ToString::to_string).collect()
}

#[test]
fn a_name_is_told_as_soon_as_it_is_known_and_never_forgotten() {
    let mut external = external(&[("ICEHOSTOVERRIDE", "rtcd.example.com")]);
    assert_eq!(told(&external), [""; 0]);
    external.learn(Found::Name(Err("silence".into())));
    assert!(told(&external).is_empty() && !external.is_settled());
    external.learn(name(&["192.0.2.1"], Some(&[])));
    assert_eq!((told(&external), external.is_settled()), (vec!["192.0.2.1".into()], true));
    assert_eq!(external.origin(ip("10.0.0.1")), "rtc.ice_host_override rtcd.example.com");
    external.learn(Found::Name(Err("silence".into())));
    assert_eq!(told(&external), ["192.0.2.1"]);
    external.learn(name(&["192.0.2.2"], Some(&[])));
    assert_eq!(told(&external), ["192.0.2.2"]);
}

#[test]
fn all_addresses_of_a_name_are_told_in_one_order_and_a_family_that_is_lost_is_kept() {
    let mut external = external(&[("ICEHOSTOVERRIDE", "rtcd.example.com")]);
    external.learn(name(&["192.0.2.1", "2001:db8::1", "192.0.2.2"], Some(&[])));
    let all = ["192.0.2.1", "192.0.2.2", "2001:db8::1"];
    assert_eq!(told(&external), all);
    external.learn(name(&["192.0.2.2", "192.0.2.1"], Some(&[])));
    assert_eq!(told(&external), all, "shuffled, and no answer for IPv6");
    external.learn(name(&["192.0.2.3", "192.0.2.2"], Some(&[])));
    assert_eq!(told(&external), ["192.0.2.2", "192.0.2.3", "2001:db8::1"]);
    let many: Vec<_> = (1..=20).map(|host| format!("192.0.2.{host}")).collect();
    external.learn(name(&many.iter().map(String::as_str).collect::<Vec<_>>(), Some(&[])));
    assert_eq!(told(&external).len(), MAX_OF_NAME + 1);
    assert_eq!(told(&external)[..2], ["192.0.2.2", "192.0.2.3"]);
}

#[test]
fn of_a_name_of_many_machines_only_ours_is_told_and_remembered_while_nobody_can_tell() {
    let mut external = external(&[("ICEHOSTOVERRIDE", "rtcd.example.com")]);
    let machines = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::3"];
    external.learn(name(&machines, Some(&["192.0.2.2"])));
    assert_eq!(told(&external), ["192.0.2.2"]);
    external.learn(name(&machines, None));
    assert_eq!(told(&external), ["192.0.2.2"]);
    // The public side of a machine that is also known by its private address.
    external.learn(name(&["10.0.0.1", "10.0.0.2", "192.0.2.1"], Some(&["10.0.0.1"])));
    assert_eq!(told(&external), ["10.0.0.1", "192.0.2.1"]);
    external.learn(name(&machines, Some(&[])));
    assert_eq!(told(&external), ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::3"]);
}

#[test]
fn a_reload_that_must_ask_first_keeps_what_was_known() {
    let mut external = external(&[("ICEHOSTOVERRIDE", "192.0.2.1")]);
    assert_eq!((told(&external), external.origin(ip("10.0.0.1"))), (vec!["192.0.2.1".into()], OVERRIDE));
    for variables in [("ICEHOSTOVERRIDE", "rtcd.example.com"), ("ICESERVERS", r#"["stun:a"]"#)] {
        external.set(&rtc(&[variables]));
        assert_eq!((told(&external), external.is_settled()), (vec!["192.0.2.1".into()], false));
    }
    external.learn(public(Err("silence")));
    assert_eq!(told(&external), ["192.0.2.1"]);
    external.learn(public(Ok("192.0.2.3")));
    assert_eq!(told(&external), ["192.0.2.3"]);
    assert_eq!(external.origin(ip("10.0.0.1")), "stun:stun.example.com:3478");
    external.learn(public(Err("silence")));
    assert_eq!(told(&external), ["192.0.2.3"]);
    external.set(&rtc(&[]));
    assert!(told(&external).is_empty(), "the operator's word");
}

#[test]
fn what_fails_is_asked_again_soon_and_then_less_often() {
    let mut external = external(&[("ICESERVERS", r#"["stun:a"]"#)]);
    let mut pauses = Vec::new();
    for _ in 0..7 {
        external.learn(public(Err("silence")));
        pauses.push(external.pause().as_secs());
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    external.learn(public(Ok("192.0.2.1")));
    assert_eq!(external.pause(), STUN_INTERVAL);
    external.learn(public(Err("silence")));
    external.set_local(&[ip("10.0.0.2")]);
    external.learn(Found::Public([].into()));
    assert_eq!(external.pause(), STUN_INTERVAL, "an address that has gone does not fail");
}
