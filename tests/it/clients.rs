//! `rtcd client`, and who may get in at all.
use rtcd_tests::daemon::{ADMIN_KEY, Daemon, DaemonConfig, binary, temp_dir};
use rtcd_tests::http::{self, basic};
use rtcd_tests::in_repository;
use rtcd_tests::plugin::{Plugin, Refused};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Exit status, standard output, standard error.
type Ended = (Option<i32>, String, String);

fn client(args: &[&str], env: &BTreeMap<String, String>) -> Ended {
    run(Command::new(binary()).arg("client").args(args).env_clear().envs(env))
}

fn run(command: &mut Command) -> Ended {
    let output = command.output().expect("it can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Nobody may register over the API.
fn closed() -> DaemonConfig {
    let config = DaemonConfig::new().env("RTCD_API_SECURITY_ALLOWSELFREGISTRATION", "false");
    config.env("RTCD_API_SECURITY_ENABLEADMIN", "false")
}

/// What Mattermost makes of the URL in its System Console.
fn plugin(daemon: &Daemon, url: &str) -> Plugin {
    let (credentials, _) = url.trim().strip_prefix("http://").and_then(|rest| rest.split_once('@')).expect("a URL");
    let (id, key) = credentials.split_once(':').expect("id and key");
    Plugin { auth_key: key.to_owned(), ..Plugin::new(daemon.api_addr(), id) }
}

fn nothing() -> BTreeMap<String, String> {
    BTreeMap::new()
}

/// Behind one name: Mattermost has one URL for all of them.
#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_know_a_client_by_the_same_key() {
    let dir = temp_dir("key");
    let file = dir.join("key");
    fs::write(&file, format!("{}\n", "one-key-for-all-hosts-".repeat(2))).expect("written");
    let file = file.display().to_string();
    for daemon in [Daemon::start(closed()), Daemon::start(closed())] {
        let (code, url, said) = client(&["add", "mattermost", "--key-file", &file], &daemon.variables());
        assert_eq!(code, Some(0), "{said}");
        let plugin = plugin(&daemon, &url);
        assert_eq!(plugin.auth_key, "one-key-for-all-hosts-".repeat(2));
        plugin.dial().await.expect("the URL works");
    }
    fs::write(dir.join("short"), "short").expect("written");
    let daemon = Daemon::start(closed());
    let short = dir.join("short").display().to_string();
    let (code, _, said) = client(&["add", "mattermost", "--key-file", &short], &daemon.variables());
    assert!(code == Some(1) && said.contains("key not long enough"), "{said}");
    fs::remove_dir_all(dir).expect("removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_of_the_machine_gets_the_url_for_mattermost_in_one_command() {
    let daemon = Daemon::start(closed());
    let env = daemon.variables();
    let (code, url, said) = client(&["add", "mattermost", "--host", "calls.example.com"], &env);
    assert_eq!(code, Some(0), "{said}");
    let port = daemon.api_addr().port();
    assert!(
        url.starts_with("http://mattermost:") && url.trim().ends_with(&format!("@calls.example.com:{port}")),
        "{url}"
    );
    let first = plugin(&daemon, &url);
    let mut connection = first.dial().await.expect("the URL works");

    let (code, _, said) = client(&["add", "mattermost"], &env);
    assert!(code == Some(1) && said.contains("rtcd client rotate mattermost"), "{said}");
    let (_, listed, _) = client(&["list"], &env);
    assert_eq!(listed, "mattermost\n");

    // The old key opens nothing any more, and what is open stays open.
    let (code, url, said) = client(&["rotate", "mattermost", "--json"], &env);
    assert_eq!(code, Some(0), "{said}");
    let rotated: serde_json::Value = serde_json::from_str(&url).expect("JSON");
    assert!(matches!(first.dial().await, Err(Refused::Status(401))));
    let second = plugin(&daemon, rotated["url"].as_str().expect("there"));
    assert_eq!((&*second.client_id, &*second.auth_key), ("mattermost", rotated["authKey"].as_str().expect("there")));
    second.dial().await.expect("the new URL works");
    connection.join(&rtcd_tests::plugin::Join::new("call", "session")).await.expect("it is open");
    while second.sessions("call").await.expect("it answers").is_none() {}

    let (code, out, said) = client(&["remove", "mattermost"], &env);
    assert_eq!((code, &*out), (Some(0), ""), "{said}");
    assert!(matches!(second.dial().await, Err(Refused::Status(401))));
    let (code, _, said) = client(&["rotate", "mattermost"], &env);
    assert!(code == Some(1) && said.contains("not registered"), "{said}");
    for secret in [&first.auth_key, &second.auth_key] {
        assert!(!daemon.log().contains(secret.as_str()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_does_it_from_afar_with_the_admins_key() {
    let daemon = Daemon::start(DaemonConfig::new().env("RTCD_API_SECURITY_ALLOWSELFREGISTRATION", "false"));
    let key_file = daemon.dir().join("admin-key");
    fs::write(&key_file, format!("{ADMIN_KEY}\n")).expect("written");
    let url = daemon.url();
    let by_file = ["--url", &url, "--admin-key-file", &key_file.display().to_string()];
    let (code, told, said) = client(&[&["add", "a"], &by_file[..]].concat(), &nothing());
    assert_eq!(code, Some(0), "{said}");
    assert!(told.trim().ends_with(&format!("@{}", daemon.api_addr())), "{told}");
    plugin(&daemon, &told).dial().await.expect("the URL works");
    let by_env = [("RTCD_API_SECURITY_ADMINSECRETKEY".to_owned(), ADMIN_KEY.to_owned())].into();
    let (code, told, said) = client(&["rotate", "a", "--url", &url], &by_env);
    assert_eq!(code, Some(0), "{said}");
    plugin(&daemon, &told).dial().await.expect("the new URL works");
    let (_, listed, _) = client(&["list", "--json", "--url", &url], &by_env);
    assert_eq!(listed, "{\"clients\":[\"a\"]}\n");
    let (code, _, said) = client(&["remove", "a", "--url", &url], &by_env);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(client(&["list", "--url", &url], &by_env).1, "");
}

#[test]
fn what_is_wrong_is_told_in_words_that_say_what_to_do() {
    let daemon = Daemon::start(DaemonConfig::new());
    let key = |key: &str| [("RTCD_API_SECURITY_ADMINSECRETKEY".to_owned(), key.to_owned())].into();
    let url = daemon.url();
    let fails = |args: &[&str], env: &BTreeMap<String, String>, code: i32, words: &str| {
        let (ended, out, said) = client(args, env);
        assert_eq!((ended, &*out), (Some(code), ""), "{args:?}: {said}");
        assert!(said.contains(words) && !said.contains("wrong-key"), "{args:?}: {said}");
    };
    fails(&["list", "--url", &url], &key("wrong-key"), 1, "api.security.enable_admin must be true");
    fails(&["list", "--url", &url], &nothing(), 2, "--admin-key-file");
    fails(&["list", "--url", "http://127.0.0.1:1"], &key("x"), 69, "the connection is refused: is rtcd running there");
    fails(&["add", "a:b", "--url", &url], &key("x"), 2, "no colon");
    fails(&["remove", "nobody", "--url", &url], &key(ADMIN_KEY), 1, "rtcd client list");
    let missing = [("RTCD_STORE_DATASOURCE".to_owned(), "/nowhere/db".to_owned())].into();
    fails(&["list"], &missing, 1, "/nowhere/db");
    // Another store than that of the daemon which answers.
    let mut other = daemon.variables();
    other.insert("RTCD_STORE_DATASOURCE".into(), "/nowhere/db".into());
    other.insert("RTCD_API_SECURITY_ENABLEADMIN".into(), "false".into());
    fails(&["list"], &other, 1, "store.data_source");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_daemon_runs_the_store_itself_is_changed_as_its_owner() {
    let dir = temp_dir("offline");
    let root = nix::unistd::geteuid().is_root();
    if root {
        chown(&dir, Some(1234), Some(1234)).expect("given away");
    }
    let config = closed().store(&dir);
    let env = [
        ("RTCD_STORE_DATASOURCE".to_owned(), dir.display().to_string()),
        ("RTCD_API_HTTP_LISTENADDRESS".to_owned(), format!("127.0.0.1:{}", config.api_port)),
    ];
    let env: BTreeMap<_, _> = env.into();
    let (code, url, said) = client(&["add", "a"], &env);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("rtcd does not run"), "{said}");
    assert_eq!(client(&["list"], &env).1, "a\n");
    if root {
        for entry in fs::read_dir(&dir).expect("readable").flatten() {
            assert_eq!(entry.metadata().expect("there").uid(), 1234, "{:?}", entry.path());
        }
    }
    let daemon = Daemon::start(config);
    plugin(&daemon, &url).dial().await.expect("the URL works");
    drop(daemon);
    fs::remove_dir_all(dir).expect("removed");
}

#[test]
fn the_control_socket_is_for_root_and_the_daemons_user_alone() {
    let daemon = Daemon::start(closed());
    let socket = daemon.dir().join("store/control.sock");
    assert_eq!(fs::metadata(&socket).expect("there").mode() & 0o777, 0o600);
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped in part: only root can become somebody else");
        return;
    }
    let env = daemon.variables();
    let ask = || run(Command::new(binary()).args(["client", "list"]).env_clear().envs(&env).uid(1234).gid(1234));
    let (code, _, said) = ask();
    assert!(code == Some(1) && said.contains("with sudo"), "{said}");
    // Even where the file would let them in.
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).expect("opened");
    let (code, out, said) = ask();
    assert!(code != Some(0) && out.is_empty(), "{said}");
    daemon.assert_logs("was refused");
    assert!(daemon.log().lines().any(|line| line.contains("was refused") && line.contains("control.sock")));
}

#[test]
fn the_new_calls_of_the_api_are_the_admins_alone() {
    let daemon = Daemon::start(DaemonConfig::new());
    let key = "a-key-of-the-tests-that-is-long-enough";
    daemon.register("a", key);
    let login = json!({"clientID": "a", "authKey": key}).to_string();
    let token =
        daemon.request("POST", "/login", None, Some(&login)).json()["bearerToken"].as_str().expect("one").to_owned();
    let bearer = format!("Bearer {token}");
    let admin = basic("x", ADMIN_KEY);
    let another = json!({"clientID": "a", "authKey": "b".repeat(32)}).to_string();
    for (credentials, status) in [(None, 401), (Some(&*bearer), 403)] {
        assert_eq!(daemon.request("GET", "/clients", credentials, None).status, status);
        assert_eq!(daemon.request("POST", "/rotate", credentials, Some(&another)).status, status);
    }
    let listed = daemon.request("GET", "/clients", Some(&admin), None);
    assert_eq!((listed.status, listed.json()), (200, json!({"clients": ["a"], "code": "200"})));
    for (body, status, error) in [
        (json!({"clientID": "a", "authKey": "short"}), 400, "rotation failed: key not long enough"),
        (
            json!({"clientID": "a", "authKey": "k".repeat(73)}),
            400,
            "rotation failed: bcrypt: password length exceeds 72 bytes",
        ),
        (json!({"clientID": "b", "authKey": "b".repeat(32)}), 400, "rotation failed: error: not found"),
        (json!({"authKey": "b".repeat(32)}), 400, "rotation failed: error: empty key"),
    ] {
        let answer = daemon.request("POST", "/rotate", Some(&admin), Some(&body.to_string()));
        assert_eq!((answer.status, answer.json()["error"].as_str()), (status, Some(error)));
    }
    let rotated = daemon.request("POST", "/rotate", Some(&admin), Some(&another));
    assert_eq!((rotated.status, rotated.json()), (200, json!({"clientID": "a", "code": "200"})));
    assert_eq!(
        daemon.request("GET", "/calls/c/sessions", Some(&bearer), None).status,
        401,
        "the token went with the key"
    );
    assert_eq!(http::request(daemon.api_addr(), "POST", "/login", None, Some(&login)).expect("answered").status, 400);
    assert_eq!(daemon.request("POST", "/login", None, Some(&another)).status, 200);
}

#[test]
fn there_is_a_warning_while_mattermost_cannot_get_in() {
    const WARNING: &str = "no client is known and nobody can register";
    let daemon = Daemon::start(closed());
    daemon.assert_logs(WARNING);
    let check = || run(Command::new(binary()).arg("--check-config").env_clear().envs(daemon.variables()));
    let (code, _, said) = check();
    assert!(code == Some(0) && said.contains(WARNING), "{said}");
    client(&["add", "a"], &daemon.variables());
    assert!(!check().2.contains("nobody can register"), "{}", check().2);
    let open = Daemon::start(DaemonConfig::new());
    assert!(!open.log().contains("nobody can register"));
}

#[test]
fn the_commands_of_the_api_page_work_as_they_are_written() {
    let page = fs::read_to_string(in_repository("rtcd/API.md")).expect("the page is there");
    let commands: Vec<_> = page.lines().filter(|line| line.starts_with("    ") && line.contains("curl")).collect();
    assert!(commands.len() >= 9, "{commands:?}");
    let daemon = Daemon::start(DaemonConfig::new().env("RTCD_API_SECURITY_ALLOWSELFREGISTRATION", "false"));
    let variables = [("RTCD", daemon.url()), ("ADMIN_KEY", ADMIN_KEY.into()), ("KEY", "0123456789abcdef".repeat(2))];
    let script = format!("set -eux\nexport https_proxy= http_proxy=\n{}", commands.join("\n"));
    let mut shell = Command::new("bash");
    let (code, out, said) = run(shell.args(["-o", "pipefail", "-c", &script]).envs(variables));
    assert_eq!(code, Some(0), "{out}\n{said}");
    assert_eq!(client(&["list"], &daemon.variables()).1, "", "the last command has removed it");
}
