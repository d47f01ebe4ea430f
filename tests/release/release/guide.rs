//! The lines of the setup guide for Docker, as they are written there, with our image.
use crate::podman::{API, IMAGE, Podman, with_the_image};
use rtcd_tests::http;
use rtcd_tests::plugin::Plugin;
use std::fs;

const BASIC: &str = "-d --name rtcd \
     -e RTCD_LOGGER_ENABLEFILE=true \
     -p 8443:8443/udp \
     -p 8443:8443/tcp \
     -p 8045:8045/tcp \
     mattermost/rtcd:latest";
const DEBUGGING: &str = "-d --name rtcd \
     -e RTCD_LOGGER_ENABLEFILE=true \
     -e RTCD_LOGGER_CONSOLELEVEL=DEBUG \
     -p 8443:8443/udp \
     -p 8443:8443/tcp \
     -p 8045:8045/tcp \
     mattermost/rtcd:latest";
const WITH_A_FILE: &str = "-d --name rtcd \
     -p 8045:8045 \
     -p 8443:8443/udp \
     -p 8443:8443/tcp \
     -v /path/to/config.toml:/rtcd/config/config.toml \
     mattermost/rtcd:latest";
/// Where the reference looks for its file.
const OF_THE_REFERENCE: &str = "/opt/rtcd/bin/config/config.toml";

/// The note below the first line: without this nobody can have a call there.
fn open_to_all(line: &str) -> String {
    line.replace("-d ", "-d -e RTCD_API_SECURITY_ALLOWSELFREGISTRATION=true ")
}

#[test]
#[ignore = "needs the release files and podman: tests/run"]
fn the_first_line_serves_although_its_log_file_cannot_be_written() {
    with_the_image(|podman| {
        let container = podman.start(BASIC);
        let log = container.log();
        assert!(log.contains("logger.file_location: rtcd.log cannot be written"), "{log}");
        assert!(log.contains("ready"), "{log}");
        let version = http::request(API, "GET", "/version", None, None).expect("an answer").json();
        assert_eq!(version["buildVersion"], crate::files::version());
        // Nobody may register, as the guide says of the default.
        let body = serde_json::json!({"clientID": "a", "authKey": "k".repeat(40)}).to_string();
        let refused = http::request(API, "POST", "/register", None, Some(&body)).expect("an answer");
        assert_eq!(refused.status, 401, "{}", refused.text());
    });
}

#[test]
#[ignore = "needs the release files and podman: tests/run"]
fn the_line_for_debugging_shows_debug_lines_and_carries_a_call_of_browsers() {
    with_the_image(|podman| {
        let container = podman.start(&open_to_all(DEBUGGING));
        container.carries_a_call(&Plugin::new(API, "mattermost"));
        assert!(container.log().contains("DEBUG"), "{}", container.log());
    });
}

#[test]
#[ignore = "needs the release files and podman: tests/run"]
fn a_mounted_file_is_found_where_the_guide_and_where_the_reference_have_it() {
    with_the_image(|podman| {
        let path = mounted(podman, "api.security.allow_self_registration = true\n");
        let line = WITH_A_FILE.replace("/path/to/config.toml", &path);
        for (line, place) in [
            (line.clone(), "/rtcd/config/config.toml"),
            (line.replace("/rtcd/config/config.toml", OF_THE_REFERENCE), "config/config.toml"),
            // The chart's and everybody else's way to say it.
            (
                line.replace(":/rtcd/config/config.toml", ":/config/config.toml") + " -config /config/config.toml",
                "/config/config.toml",
            ),
        ] {
            let container = podman.start(&line);
            let log = container.log();
            assert!(log.contains(&format!("file={place}")), "{log}");
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(Plugin::new(API, "mattermost").connect()).expect("registered, as the file allows");
        }
    });
}

#[test]
#[ignore = "needs the release files and podman: tests/run"]
fn a_mistake_ends_the_container_with_78_and_says_where_it_is() {
    with_the_image(|podman| {
        let path = mounted(podman, "[rtc]\nice_port_udp = \"84e3\"\n");
        for (line, said) in [
            (format!("--rm -e RTCD_RTC_ICEPORTUDP=84e3 {IMAGE}"), "RTCD_RTC_ICEPORTUDP"),
            (
                format!("--rm -v {path}:/rtcd/config/config.toml {IMAGE}"),
                "/rtcd/config/config.toml:2: rtc.ice_port_udp",
            ),
        ] {
            let output = podman.run_to_end(&line);
            let error = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(78), "{error}");
            assert!(error.contains(said), "{error}");
        }
        // The name of a variable may be of a newer version: it is no reason to end.
        let container = podman.start(&format!("-d --name rtcd -e RTCD_RTC_ICEPORTUPD=8443 {IMAGE}"));
        assert!(container.log().contains("did you mean RTCD_RTC_ICEPORTUDP"), "{}", container.log());
    });
}

/// The path of a file with this text, which everybody may read.
fn mounted(podman: &Podman, text: &str) -> String {
    let path = podman.dir().join("config.toml");
    fs::write(&path, text).expect("written");
    path.display().to_string()
}
