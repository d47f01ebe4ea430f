use super::*;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

const QUICK: Pace = Pace {
    request: Duration::from_secs(10),
    total: Duration::from_secs(30),
    first_delay: Duration::from_millis(1),
    longest_delay: Duration::from_millis(2),
};

/// Says `answers`, one a connection, and gives back the heads of the requests.
fn server(address: &str, answers: Vec<&'static str>) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind(address).unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let hear = |answer: &'static str| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 4096];
            let length = stream.read(&mut head).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&head[..length]).into_owned()
        };
        answers.into_iter().map(hear).collect()
    });
    (address, thread)
}

const YES: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nyes";

#[test]
fn an_endpoint_takes_the_place_of_every_host_and_may_be_ipv6() {
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        let (address, server) = server(bind, vec![YES]);
        let client = Client::new(Some(&format!("http://{address}")), QUICK).unwrap();
        let answer = client.send(&Request::get("https://169.254.169.254/a/b?c=d")).unwrap();
        assert_eq!((answer.body.as_slice(), answer.url.as_str()), (&b"yes"[..], "https://169.254.169.254/a/b"));
        let head = server.join().unwrap().remove(0).to_lowercase();
        assert!(head.starts_with("get /a/b?c=d http/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("host: {address}\r\n")), "{head}");
        assert!(!head.contains("cookie") && !head.contains("accept-encoding: gzip"), "{head}");
    }
}

#[test]
fn an_endpoint_is_a_place_and_nothing_more() {
    for wrong in ["127.0.0.1:80", "http://", "ftp://127.0.0.1", "http://127.0.0.1/path", "unix:/run/x", ""] {
        assert!(matches!(Client::new(Some(wrong), QUICK), Err(HttpError::BadEndpoint)), "{wrong}");
    }
}

#[test]
fn the_other_address_is_asked_where_the_first_refuses() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (open, server) = server("[::1]:0", vec![YES]);
    let request = Request::get(format!("http://{closed}/x")).or(format!("http://{open}/x"));
    let answer = Client::new(None, QUICK).unwrap().send(&request).unwrap();
    assert!(answer.by_other && answer.body == b"yes");
    server.join().unwrap();
}

#[test]
fn a_wait_that_a_service_asks_for_is_not_begun_when_it_cannot_end_in_time() {
    let busy = "HTTP/1.1 503 Busy\r\nRetry-After: 3600\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let (address, server) = server("127.0.0.1:0", vec![busy]);
    let started = Instant::now();
    let client = Client::new(None, Pace { total: RETRY_AFTER_LIMIT, ..QUICK }).unwrap();
    let error = client.send(&Request::get(format!("http://{address}/"))).err().unwrap();
    assert!(matches!(&error, HttpError::NoAnswer { last, .. } if last == "status 503"), "{error}");
    assert!(started.elapsed() < RETRY_AFTER_LIMIT, "there was no time left for it, and yet it waited");
    server.join().unwrap();
}

#[test]
fn the_longest_wait_that_is_obeyed_has_a_bound() {
    let headers = |value: &str| HeaderMap::from_iter([(header::RETRY_AFTER, value.parse().unwrap())]);
    assert_eq!(retry_after(&headers("2")), Some(Duration::from_secs(2)));
    assert_eq!(retry_after(&headers("86400")), Some(RETRY_AFTER_LIMIT));
    assert_eq!(retry_after(&headers("Wed, 21 Oct 2026 07:28:00 GMT")), None);
}

#[test]
fn a_slow_service_is_given_up_from_a_low_port_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::new(
        Some(&format!("http://{}", listener.local_addr().unwrap())),
        Pace { request: Duration::from_millis(50), total: Duration::from_millis(200), ..QUICK },
    );
    // The connection is made by the kernel; nobody ever reads it.
    let error = client.unwrap().send(&Request::get("http://169.254.42.42/x").from_low_port()).err().unwrap();
    assert!(matches!(error, HttpError::NoAnswer { .. }), "{error}");
}

#[test]
fn a_low_port_that_the_machine_does_not_give_is_an_error_that_says_so() {
    let (address, server) = server("127.0.0.1:0", vec![YES]);
    let client = Client::new(None, QUICK).unwrap();
    let request = Request::get(format!("http://{address}/x"));
    if (600..1024).any(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
        assert_eq!(client.send(&request.from_low_port()).unwrap().body, b"yes");
    } else {
        let error = client.send(&request.from_low_port()).err().unwrap();
        assert!(matches!(error, HttpError::LowPort { .. }), "{error}");
        client.send(&Request::get(format!("http://{address}/x"))).unwrap();
    }
    server.join().unwrap();
}

#[test]
fn what_is_no_tls_is_not_asked_again() {
    let (address, server) = server("127.0.0.1:0", vec![YES]);
    let client = Client::new(None, QUICK).unwrap();
    let error = client.send(&Request::get(format!("https://{address}/"))).err().unwrap();
    assert!(matches!(error, HttpError::Garbled { .. }), "{error}");
    server.join().unwrap();
}

#[test]
fn a_shown_url_has_no_secrets() {
    for (url, expected) in [
        ("http://user:pass@host:80/a/b?token=x#y", "http://host:80/a/b"),
        ("https://host", "https://host"),
        ("http://a@b@c/", "http://c/"),
        ("/relative?x", "/relative"),
    ] {
        assert_eq!(shown(url), expected);
    }
}
