//! Headless Chromium, driven over `--remote-debugging-pipe`: JSON messages that end in NUL.
use super::{DemoPage, PATIENCE};
use crate::daemon::temp_dir;
use base64::Engine as _;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

/// The binary itself: wrappers do not pass the pipe on.
const BINARY: &str = "/usr/lib/chromium/chromium-headless-shell";

const FLAGS: &[&str] = &[
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-renderer-backgrounding",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--autoplay-policy=no-user-gesture-required",
    "--mute-audio",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream=fps=30",
    "--allow-loopback-in-peer-connection",
    // Nobody vouches for the certificate of a demo that other machines reach.
    "--ignore-certificate-errors",
    "--disable-features=WebRtcHideLocalIpsWithMdns,MediaRouter",
];

/// A page's view of the daemon's candidates, with `ADDRESS` and `PORT` to be filled in.
const VIA: &str = include_str!("via.js");

type Waiting = Arc<Mutex<HashMap<u64, mpsc::Sender<Value>>>>;

/// A running browser; it ends with this value.
pub struct Chromium {
    child: Child,
    dir: PathBuf,
    pipe: Arc<Pipe>,
}

/// The way to the browser. Answers come to whoever waits for their id.
struct Pipe {
    to: Mutex<(ChildStdin, u64)>,
    waiting: Waiting,
}

/// One page in a context of its own.
pub struct Page {
    pipe: Arc<Pipe>,
    session: String,
}

impl Chromium {
    /// Whether it is installed.
    pub fn is_installed() -> bool {
        Path::new(BINARY).exists()
    }

    pub fn start() -> Self {
        let dir = temp_dir("chromium");
        let log = File::create(dir.join("log")).expect("the log file can be made");
        // The shell moves the pipes to where Chromium wants them: reading on 3, writing on 4.
        let mut child = Command::new("/bin/sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 0</dev/null 1>&2", BINARY])
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", dir.join("profile").display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("Chromium starts");
        let to = child.stdin.take().expect("piped");
        let from = child.stdout.take().expect("piped");
        let waiting = Waiting::default();
        std::thread::spawn({
            let waiting = waiting.clone();
            move || listen(from, &waiting)
        });
        Self { child, dir, pipe: Arc::new(Pipe { to: Mutex::new((to, 0)), waiting }) }
    }

    /// Opens a page in a context and window of its own: pages in the background are throttled.
    pub fn open(&self, url: &str) -> Page {
        self.open_with(url, "")
    }

    /// The same by another road: what the daemon says about its UDP port leads to the road's entry, its TCP port to nowhere.
    pub fn open_via(&self, url: &str, entry: SocketAddr) -> Page {
        let script = VIA.replace("ADDRESS", &entry.ip().to_string()).replace("PORT", &entry.port().to_string());
        self.open_with(url, &script)
    }

    /// The same as somebody who has gone on behind the warning of a certificate that nobody knows.
    pub fn open_untrusted(&self, url: &str) -> Page {
        self.open_prepared(url, |page| drop(page.call("Security.setIgnoreCertificateErrors", json!({"ignore": true}))))
    }

    /// The same with a script of the test that runs ahead of the page's own.
    pub fn open_with(&self, url: &str, script: &str) -> Page {
        self.open_prepared(url, |page| {
            page.call("Page.addScriptToEvaluateOnNewDocument", json!({"source": script}));
        })
    }

    fn open_prepared(&self, url: &str, prepare: impl FnOnce(&Page)) -> Page {
        let context = self.pipe.call(None, "Target.createBrowserContext", json!({}));
        let context = &context["browserContextId"];
        let permissions = json!({"browserContextId": context, "permissions": ["audioCapture", "videoCapture"]});
        self.pipe.call(None, "Browser.grantPermissions", permissions);
        let target = json!({"url": "about:blank", "browserContextId": context, "width": 800, "height": 900});
        let target = self.pipe.call(None, "Target.createTarget", target);
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = self.pipe.call(None, "Target.attachToTarget", attach);
        let page = Page { pipe: self.pipe.clone(), session: session["sessionId"].as_str().expect("an id").to_owned() };
        page.call("Page.enable", json!({}));
        prepare(&page);
        page.call("Page.navigate", json!({"url": url}));
        page
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Page {
    fn call(&self, method: &str, params: Value) -> Value {
        self.pipe.call(Some(&self.session), method, params)
    }

    /// Has it look as it does for whoever likes it dark, or light.
    pub fn set_dark(&self, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// Has a window of this size from now on; narrow ones are phones.
    pub fn resize(&self, (width, height): (u32, u32)) {
        let mobile = width < 600;
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile});
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// Writes what it looks like to a file, at this width and as long as it is.
    pub fn screenshot(&self, path: &Path, width: u32) {
        self.resize((width, 900));
        self.capture(path);
    }

    /// The same in the window as it is.
    pub fn capture(&self, path: &Path) {
        let width = self.eval("innerWidth");
        let end = self.eval("Math.ceil(document.body.getBoundingClientRect().bottom + scrollY)");
        let clip = json!({"x": 0, "y": 0, "width": width, "height": end, "scale": 1});
        let picture = json!({"format": "png", "clip": clip, "captureBeyondViewport": true});
        let shot = self.call("Page.captureScreenshot", picture);
        let bytes = base64::engine::general_purpose::STANDARD.decode(shot["data"].as_str().expect("a picture"));
        fs::write(path, bytes.expect("base64")).expect("the picture can be written");
    }
}

impl DemoPage for Page {
    fn eval(&self, expression: &str) -> Value {
        let params =
            json!({"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true});
        let answer = self.call("Runtime.evaluate", params);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }
}

impl Pipe {
    fn call(&self, session: Option<&str>, method: &str, params: Value) -> Value {
        let (tell, told) = mpsc::channel();
        let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        to.1 += 1;
        let id = to.1;
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id, tell);
        let mut message = json!({"id": id, "method": method, "params": params});
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        to.0.write_all(format!("{message}\0").as_bytes()).expect("Chromium listens");
        drop(to);
        let answer = told.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{method}: {error}"));
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }
}

fn listen(from: impl std::io::Read, waiting: &Waiting) {
    let mut from = BufReader::new(from);
    let mut bytes = Vec::new();
    while matches!(from.read_until(0, &mut bytes), Ok(len) if len > 0) {
        let message: Value = serde_json::from_slice(&bytes[..bytes.len() - 1]).unwrap_or_default();
        bytes.clear();
        let Some(id) = message["id"].as_u64() else { continue };
        if let Some(tell) = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id) {
            let _ = tell.send(message);
        }
    }
}
