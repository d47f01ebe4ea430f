//! Firefox ESR, headless, driven over WebDriver BiDi.
use super::{DemoPage, PATIENCE};
use crate::daemon::temp_dir;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite::Message};

const BINARY: &str = "/usr/bin/firefox-esr";

/// The microphone is a fake one that beeps, on plain HTTP too; autoplay is allowed, host candidates show their addresses, nobody phones home.
const PREFERENCES: &str = r#"
user_pref("media.navigator.permission.disabled", true);
user_pref("media.navigator.streams.fake", true);
user_pref("media.autoplay.default", 0);
user_pref("media.autoplay.blocking_policy", 0);
user_pref("media.devices.insecure.enabled", true);
user_pref("media.getusermedia.insecure.enabled", true);
user_pref("media.peerconnection.ice.obfuscate_host_addresses", false);
user_pref("media.peerconnection.ice.loopback", true);
user_pref("app.update.enabled", false);
user_pref("browser.safebrowsing.malware.enabled", false);
user_pref("browser.safebrowsing.phishing.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("dom.disable_beforeunload", true);
"#;

/// A running browser with one page; it ends with this value.
pub struct Firefox {
    child: Child,
    dir: PathBuf,
    runtime: Runtime,
    socket: RefCell<WebSocketStream<MaybeTlsStream<TcpStream>>>,
    last_id: RefCell<u64>,
    context: String,
}

impl Firefox {
    /// Whether it is installed.
    pub fn is_installed() -> bool {
        Path::new(BINARY).exists()
    }

    /// Starts it in this thread's network namespace and opens a page.
    pub fn open(url: &str) -> Self {
        let dir = temp_dir("firefox");
        let profile = dir.join("profile");
        fs::create_dir(&profile).expect("a profile can be made");
        fs::write(profile.join("user.js"), PREFERENCES).expect("preferences can be written");
        let log = File::create(dir.join("log")).expect("the log file can be made");
        let child = Command::new(BINARY)
            .args(["--headless", "--no-remote", "--remote-debugging-port=0", "--profile"])
            .arg(&profile)
            .env("HOME", &dir)
            .env("MOZ_DISABLE_CONTENT_SANDBOX", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle on the log"))
            .stderr(log)
            .spawn()
            .expect("Firefox starts");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let address = wait_address(&dir);
        let (socket, _) = runtime
            .block_on(tokio_tungstenite::connect_async(format!("{address}/session")))
            .unwrap_or_else(|error| panic!("{address}: {error}"));
        let (socket, last_id) = (RefCell::new(socket), RefCell::new(0));
        let mut firefox = Self { child, dir, runtime, socket, last_id, context: String::new() };
        let capabilities = json!({"alwaysMatch": {"acceptInsecureCerts": true}});
        firefox.call("session.new", json!({"capabilities": capabilities}));
        let tree = firefox.call("browsingContext.getTree", json!({}));
        firefox.context = tree["contexts"][0]["context"].as_str().expect("a tab").to_owned();
        let to = json!({"context": firefox.context, "url": url, "wait": "complete"});
        firefox.call("browsingContext.navigate", to);
        firefox
    }

    fn call(&self, method: &str, params: Value) -> Value {
        let mut socket = self.socket.borrow_mut();
        *self.last_id.borrow_mut() += 1;
        let id = *self.last_id.borrow();
        let message = json!({"id": id, "method": method, "params": params}).to_string();
        let exchange = async {
            socket.send(Message::Text(message.into())).await.expect("Firefox listens");
            loop {
                let frame = socket.next().await.expect("Firefox lives").expect("Firefox talks");
                let Message::Text(text) = frame else { continue };
                let answer: Value = serde_json::from_str(&text).expect("JSON");
                if answer["id"] == id {
                    return answer;
                }
            }
        };
        let answer = self.runtime.block_on(async { timeout(PATIENCE, exchange).await });
        let answer = answer.unwrap_or_else(|_| panic!("{method}: no answer"));
        assert_eq!(answer["type"], "success", "{method}: {answer}");
        answer["result"].clone()
    }
}

impl DemoPage for Firefox {
    fn eval(&self, expression: &str) -> Value {
        // JSON on the way, because BiDi has a form of its own for values.
        let expression = format!("(async () => JSON.stringify((await ({expression})) ?? null))()");
        let params = json!({"expression": expression, "target": {"context": self.context}, "awaitPromise": true,
            "userActivation": true});
        let answer = self.call("script.evaluate", params);
        assert_eq!(answer["type"], "success", "{answer}");
        serde_json::from_str(answer["result"]["value"].as_str().unwrap_or("null")).expect("JSON")
    }
}

impl Drop for Firefox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn wait_address(dir: &Path) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
        // The last line may be half written.
        let mut lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        if let Some(address) = lines.find_map(|line| Some(line.split_once("BiDi listening on ")?.1)) {
            return address.trim().to_owned();
        }
        assert!(Instant::now() < deadline, "Firefox gives no address:\n{log}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
