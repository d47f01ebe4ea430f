//! Stand-ins for the metadata services: each speaks its cloud's protocol over a real socket, with the bodies that a
//! fixture recorded, and refuses what the real one refuses.
mod fault;
mod message;
mod rules;

pub use fault::Fault;
pub use message::Seen;

use message::{Reply, read_request, write_reply};
use rules::Rules;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A service that runs until it is dropped.
pub struct Fake {
    /// `http://127.0.0.1:PORT`
    pub endpoint: String,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    bodies: PathBuf,
    rules: Rules,
    fault: Fault,
    seen: Mutex<Vec<Seen>>,
    count: AtomicUsize,
    over: AtomicBool,
}

/// The service of a fixture `.../fixtures/SOURCE/CASE`.
pub fn start(fixture: &Path) -> Fake {
    start_with(fixture, Fault::None)
}

/// The same, with something wrong about it.
pub fn start_with(fixture: &Path, fault: Fault) -> Fake {
    let source = fixture.parent().and_then(Path::file_name).and_then(|name| name.to_str()).expect("a source");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let shared = Arc::new(Shared {
        bodies: fixture.join("http"),
        rules: Rules::of(source),
        fault,
        seen: Mutex::default(),
        count: AtomicUsize::new(0),
        over: AtomicBool::new(false),
    });
    let for_thread = shared.clone();
    let thread = std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            if for_thread.over.load(Ordering::SeqCst) {
                break;
            }
            let shared = for_thread.clone();
            std::thread::spawn(move || shared.serve(stream));
        }
    });
    Fake { endpoint, shared, thread: Some(thread) }
}

impl Fake {
    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().expect("no panic").clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.endpoint.trim_start_matches("http://"));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) {
        let Some(request) = read_request(&mut stream) else { return };
        self.seen.lock().expect("no panic").push(request.clone());
        let before = self.count.fetch_add(1, Ordering::SeqCst);
        let reply = self.fault.instead(before, &request).unwrap_or_else(|| self.answer(&request));
        write_reply(&mut stream, reply, &self.fault);
    }

    fn answer(&self, request: &Seen) -> Reply {
        if let Some(reply) = self.rules.before(request, &self.fault) {
            return reply;
        }
        let reply = match std::fs::read(self.bodies.join(body_file(&request.path))) {
            Ok(body) => Reply::new(200, self.rules.media(&request.path), body),
            Err(_) => Reply::new(404, "text/plain", b"not found".to_vec()),
        };
        self.rules.after(reply)
    }
}

/// `/a/b` is in `a/b.body`, and `/a/b/` in `a/b/index.body`: services have values at paths that are also directories.
fn body_file(path: &str) -> String {
    let path = path.trim_start_matches('/');
    if path.is_empty() || path.ends_with('/') { format!("{path}index.body") } else { format!("{path}.body") }
}
