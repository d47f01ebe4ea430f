//! Every source that speaks HTTP, against everything that can be wrong with a service.
use crate::fake::{self, Fault};
use crate::fixtures::{chain, machine, path};
use provision::http::Pace;
use provision::metadata::Metadata;
use std::net::TcpListener;
use std::time::Duration;

/// One machine for each source that asks over HTTP.
const CASES: [&str; 11] = [
    "akamai/instance",
    "azure/public-address",
    "digitalocean/droplet",
    "ec2/public-address",
    "gce/public-address",
    "hetzner/server",
    "nocloud/seed-url-on-the-command-line",
    "openstack/floating-address",
    "oracle/instance",
    "scaleway/instance",
    "vultr/instance",
];

/// For services that recover: as long as it takes.
const PATIENT: Pace = Pace {
    request: Duration::from_secs(30),
    total: Duration::from_secs(120),
    first_delay: Duration::from_millis(1),
    longest_delay: Duration::from_millis(5),
};

/// For services that do not: it has to end by itself.
const SHORT: Pace = Pace { request: Duration::from_millis(150), total: Duration::from_millis(600), ..PATIENT };

type Outcome = Result<Option<Metadata>, String>;

fn fetch(case: &str, fault: Fault, pace: Pace) -> (Outcome, Vec<fake::Seen>) {
    let case = path(case);
    let fake = fake::start_with(&case, fault);
    let outcome = machine(&case.join("root")).fetch(Some(&fake.endpoint), pace);
    (outcome.map_err(|error| chain(&error)), fake.seen())
}

/// All sources at once: most of the time is spent in waiting.
fn each(check: impl Fn(&str) + Sync) {
    std::thread::scope(|scope| {
        let check = &check;
        let running: Vec<_> = CASES.iter().map(|case| (case, scope.spawn(move || check(case)))).collect();
        for (case, thread) in running {
            assert!(thread.join().is_ok(), "{case}");
        }
    });
}

/// The whole metadata, in spite of the fault.
fn recovers(fault: Fault) {
    each(|case| {
        let (whole, _) = fetch(case, Fault::None, PATIENT);
        let (outcome, _) = fetch(case, fault.clone(), PATIENT);
        let outcome = outcome.unwrap_or_else(|error| panic!("{case}, {fault:?}: {error}"));
        assert!(outcome == whole.unwrap(), "{case}, {fault:?}");
    });
}

/// An error with these words, and with no secret.
fn fails(fault: Fault, words: &str) {
    each(|case| {
        let (outcome, _) = fetch(case, fault.clone(), SHORT);
        let error = outcome.err().unwrap_or_else(|| panic!("{case}, {fault:?}: it was taken for an answer"));
        assert!(error.contains(words), "{case}, {fault:?}: {error}");
        for secret in ["AQAEA-", "Bearer", "password", "hidden", "allow_self_registration"] {
            assert!(!error.contains(secret), "{case}, {fault:?}: {error}");
        }
    });
}

#[test]
fn a_service_that_is_not_ready_yet_is_asked_again() {
    for status in [429, 500, 502, 503, 504] {
        recovers(Fault::First(3, status));
    }
}

#[test]
fn a_service_that_never_gets_ready_is_given_up() {
    fails(Fault::Always(503), "gave no answer");
}

#[test]
fn a_service_that_refuses_is_not_asked_again() {
    for status in [400, 401, 403] {
        each(|case| {
            let (outcome, seen) = fetch(case, Fault::Always(status), SHORT);
            let error = outcome.err().unwrap_or_else(|| panic!("{case}: {status} was taken for an answer"));
            // A server without our mark is somebody else, whatever it says.
            let expected = if case.starts_with("gce") { "Metadata-Flavor" } else { &format!("status {status}") };
            assert!(error.contains(expected), "{case}: {error}");
            assert!(seen.len() <= 2, "{case}: {status} was asked {} times", seen.len());
        });
    }
}

#[test]
fn a_service_without_any_metadata_is_no_empty_machine() {
    each(|case| {
        let (outcome, seen) = fetch(case, Fault::Always(404), SHORT);
        let error = outcome.err().unwrap_or_else(|| panic!("{case}: nothing was taken for metadata"));
        // Azure's service says 404 before it knows the machine.
        assert_eq!(seen.len() > 1, case.starts_with("azure"), "{case}: {error}");
    });
}

#[test]
fn a_service_that_answers_byte_by_byte_is_given_up() {
    fails(Fault::Slow, "gave no answer");
}

#[test]
fn a_body_that_breaks_off_is_asked_for_again_and_never_used() {
    fails(Fault::Truncated, "gave no answer");
}

#[test]
fn a_body_that_does_not_end_is_refused() {
    each(|case| {
        let pace = Pace { request: PATIENT.request, ..SHORT };
        let (outcome, seen) = fetch(case, Fault::Huge, pace);
        let error = outcome.err().unwrap_or_else(|| panic!("{case}: it was taken for an answer"));
        assert!(error.contains("more than"), "{case}: {error}");
        assert_eq!(seen.len(), 1, "{case}");
    });
}

#[test]
fn a_web_page_is_no_metadata() {
    fails(Fault::WebPage, "content type \"text/html\"");
}

#[test]
fn a_redirect_is_refused_and_named_without_its_secrets() {
    fails(Fault::Redirect, "a redirect to http://127.0.0.1:9/elsewhere, which is not followed");
}

#[test]
fn a_refused_connection_is_no_answer() {
    each(|case| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = machine(&path(case).join("root")).fetch(Some(&endpoint), SHORT).err().expect("nobody is there");
        assert!(chain(&error).contains("gave no answer"), "{case}: {}", chain(&error));
    });
}

#[test]
fn a_token_that_is_over_is_replaced() {
    for case in ["ec2/public-address", "akamai/instance"] {
        let (whole, _) = fetch(case, Fault::None, PATIENT);
        let (outcome, seen) = fetch(case, Fault::ShortTokens, PATIENT);
        assert!(outcome.unwrap() == whole.unwrap(), "{case}");
        assert!(seen.iter().filter(|seen| seen.method == "PUT").count() > 2, "{case}");
    }
}

#[test]
fn a_token_that_is_never_good_is_given_up() {
    for case in ["ec2/public-address", "akamai/instance"] {
        let (outcome, seen) = fetch(case, Fault::NoToken, PATIENT);
        assert!(outcome.is_err_and(|error| error.contains("status 401")), "{case}");
        assert_eq!(seen.len(), 4, "{case}: a token, a refusal, a token, a refusal");
    }
}

#[test]
fn azure_is_asked_in_an_older_version_where_it_has_no_newer() {
    let (outcome, seen) = fetch("azure/public-address", Fault::OldVersion, PATIENT);
    assert!(outcome.unwrap().unwrap().public_ipv4.is_some());
    let queries: Vec<_> = seen.iter().map(|seen| seen.query.as_str()).collect();
    assert_eq!(queries, ["api-version=2021-08-01&extended=true", "api-version=2019-06-01"]);
}
