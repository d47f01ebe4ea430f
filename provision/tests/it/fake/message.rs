//! HTTP/1.1, as much of it as a fake needs: one request a connection.
use super::Fault;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// The port that it came from.
    pub port: u16,
}

impl Seen {
    /// A header, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// What is said to it.
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn new(status: u16, media: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: vec![("Content-Type", media.to_owned())], body: body.into() }
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

pub fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let port = stream.peer_addr().ok()?.port();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut seen = Seen { method, path: path.to_owned(), query: query.to_owned(), headers, body: String::new(), port };
    let length = seen.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    seen.body = String::from_utf8(body).ok()?;
    Some(seen)
}

/// Says it, in the way of the fault. A client that goes away is none of our business.
pub fn write_reply(stream: &mut TcpStream, reply: Reply, fault: &Fault) {
    let mut head = format!("HTTP/1.1 {} Status\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !matches!(fault, Fault::Huge) {
        let more = if matches!(fault, Fault::Truncated) { 7 } else { 0 };
        head += &format!("Content-Length: {}\r\n", reply.body.len() + more);
    }
    head += "\r\n";
    if matches!(fault, Fault::Slow) {
        for byte in head.bytes().chain(reply.body) {
            if stream.write_all(&[byte]).is_err() {
                return;
            }
            // This is the fault itself, not a wait for something.
            std::thread::sleep(Duration::from_millis(20));
        }
        return;
    }
    let _ = stream.write_all(head.as_bytes());
    if matches!(fault, Fault::Huge) {
        // Until the client has had enough; far more than any limit.
        for _ in 0..64 {
            if stream.write_all(&[b'x'; 64 << 10]).is_err() {
                return;
            }
        }
        return;
    }
    let _ = stream.write_all(&reply.body);
}
