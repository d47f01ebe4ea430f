//! Every recorded machine gives the metadata that stand beside it in `metadata.json`.
use crate::fake;
use crate::fixtures::{cases, chain, machine, path};
use provision::http::{Client, Pace};
use provision::metadata::{Metadata, Sourced};
use provision::source::{Context, Outcome};
use serde_json::{Value, json};

fn shown(metadata: &Metadata, source: &str, why: &str) -> Value {
    fn said<T: ToString>(said: &Option<Sourced<T>>) -> Value {
        json!(said.as_ref().map(|said| format!("{} ({})", said.value.to_string(), said.field)))
    }
    json!({
        "source": source,
        "why": why,
        "instance_id": metadata.instance_id,
        "hostname": said(&metadata.hostname),
        "public_ipv4": said(&metadata.public_ipv4),
        "private_ipv4": said(&metadata.private_ipv4),
        "public_ipv6": said(&metadata.public_ipv6),
        "ssh_keys": metadata.ssh_keys,
        "user_data": metadata.user_data.as_ref().map(|text| match std::str::from_utf8(text) {
            Ok(text) => json!(text.lines().collect::<Vec<_>>()),
            Err(_) => json!(format!("{} bytes", text.len())),
        }),
    })
}

#[test]
fn every_recorded_machine_gives_its_metadata() {
    let cases = cases();
    let sources: std::collections::HashSet<_> = cases.iter().map(|case| case.parent()).collect();
    assert_eq!(sources.len(), 15, "a source without a case, or a directory that is none");
    for case in cases {
        let fake = fake::start(&case);
        let machine = machine(&case.join("root"));
        let metadata = machine.fetch(Some(&fake.endpoint), Pace::default());
        let metadata = metadata.unwrap_or_else(|error| panic!("{}: {}", case.display(), chain(&error)));
        let why = machine.choice.why.replace(&case.display().to_string(), "CASE");
        let actual = shown(&metadata.expect("it is here"), machine.source.name(), &why);
        let golden = case.join("metadata.json");
        if std::env::var_os("PROVISION_WRITE_GOLDEN").is_some() {
            std::fs::write(&golden, format!("{actual:#}\n")).expect("a writable fixture");
        }
        let expected = std::fs::read(&golden).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        assert_eq!(expected.as_ref(), Some(&actual), "{}\nactual: {actual:#}", case.display());
    }
}

#[test]
fn azure_hears_how_it_went() {
    let case = path("azure/public-address");
    let fake = fake::start(&case);
    let machine = machine(&case.join("root"));
    let http = Client::new(Some(&fake.endpoint), Pace::default()).unwrap();
    let context = Context { facts: &machine.facts, http: &http };
    machine.source.report(&context, &Outcome::Ready).unwrap();
    machine.source.report(&context, &Outcome::Failed("user-data: line 3 <bad>")).unwrap();
    let bodies: Vec<String> =
        fake.seen().into_iter().filter(|seen| seen.method == "POST").map(|seen| seen.body).collect();
    assert_eq!(bodies.len(), 2);
    assert!(bodies[0].contains("<State>Ready</State>") && bodies[0].contains("._rtcd</InstanceId>"), "{}", bodies[0]);
    assert!(
        bodies[1].contains("<State>NotReady</State>")
            && bodies[1].contains("<SubStatus>ProvisioningFailed</SubStatus>")
            && bodies[1].contains("<Description>user-data: line 3 &lt;bad&gt;</Description>"),
        "{}",
        bodies[1]
    );
}

#[test]
fn scaleway_is_asked_for_user_data_from_a_low_port_where_the_machine_lets_us() {
    let may = (600..1024).any(|port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok());
    let case = path("scaleway/instance");
    let fake = fake::start(&case);
    machine(&case.join("root")).fetch(Some(&fake.endpoint), Pace::default()).unwrap();
    let seen = fake.seen();
    let user_data = seen.iter().find(|seen| seen.path == "/user_data/cloud-init").expect("it was asked for");
    assert_eq!(user_data.port < 1024, may, "port {}", user_data.port);
}
