//! A machine is never dead for good: what went wrong is tried again, and what was good before serves until then.
use crate::machine::{Machine, SMALLEST};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A web server that gives the first answers of the list, one for each question, and then the seed.
fn server(first: &'static [&'static str]) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let mut head = [0; 4096];
            let read = connection.read(&mut head).unwrap_or_default();
            let number = count.fetch_add(1, Ordering::Relaxed);
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            let body = if head.contains("/meta-data") {
                "instance-id: i-1\n"
            } else if head.contains("/user-data") {
                SMALLEST
            } else {
                ""
            };
            let good = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
            let answer = first.get(number).copied().unwrap_or(if body.is_empty() { NOT_FOUND } else { &good });
            let _ = connection.write_all(answer.as_bytes());
        }
    });
    (url, asked)
}

const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

#[test]
fn a_first_boot_heals_from_everything_that_a_service_can_answer_while_it_comes_up() {
    let (url, asked) = server(&[
        NOT_FOUND,
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: http://portal.example.com/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>",
        "nonsense\r\n\r\n",
    ]);
    let machine = Machine::new();
    machine.write("proc/cmdline", format!("quiet ds=nocloud;s={url}"));
    for (attempt, said) in
        ["has no meta-data", "status 403", "a redirect to http://portal.example.com/", "text/html", "cannot be read"]
            .into_iter()
            .enumerate()
    {
        let told = machine.run("run").expect(4);
        assert!(told.err.contains(said), "attempt {attempt}: {}", told.err);
        assert!(machine.panel().contains(said), "attempt {attempt}");
    }
    machine.run("run").expect(0);
    assert!(machine.load().is_ok());
    assert!(asked.load(Ordering::Relaxed) >= 8);
}

#[test]
fn a_retry_goes_on_until_an_attempt_succeeds() {
    let (url, _) = server(&[NOT_FOUND]);
    let machine = Machine::new();
    machine.write("proc/cmdline", format!("quiet ds=nocloud;s={url}"));
    machine.run("run").expect(4);
    // The first attempt is after five seconds.
    let told = machine.run("retry").expect(0);
    assert!(told.err.contains("the next attempt follows") && told.err.contains("provisioned"), "{}", told.err);
    assert!(machine.load().is_ok());
}

#[test]
fn a_service_that_drips_bytes_has_an_end() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _ = connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
                // Each byte well within the time of a read.
                while connection.write_all(b"a").is_ok() {
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
    });
    let pace = provision::http::Pace {
        request: Duration::from_millis(300),
        total: Duration::from_millis(900),
        first_delay: Duration::from_millis(10),
        longest_delay: Duration::from_millis(10),
    };
    let client = provision::http::Client::new(None, pace).expect("no endpoint to refuse");
    let began = Instant::now();
    let error = client.send(&provision::http::Request::get(format!("{url}meta-data"))).err().expect("no answer");
    assert!(error.to_string().contains("gave no answer"), "{error}");
    // Against no end at all: the whole body would take half an hour.
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[test]
fn a_name_of_a_source_that_means_nothing_leaves_the_answer_of_before() {
    let machine = Machine::seeded(SMALLEST);
    machine.run("run").expect(0);
    let before = machine.read("run/rtcd/rtcd.toml");
    for said in ["ds=nocluod", "ds=nocloud;x=1"] {
        fs::remove_dir_all(machine.path("run")).expect("a reboot");
        machine.write("proc/cmdline", format!("quiet {said}"));
        machine.run("run").expect(0);
        assert_eq!(machine.read("run/rtcd/rtcd.toml"), before);
        let panel = machine.panel();
        assert!(panel.contains("the kernel command line says ds=nocl") && panel.contains("said before"), "{panel}");
    }
}

#[test]
fn a_host_name_of_the_metadata_that_is_none_becomes_one() {
    let machine = Machine::seeded("#cloud-config\nrtcd: {rtc: {ice_host_override: $hostname}}\n");
    machine.write("var/lib/cloud/seed/nocloud/meta-data", "instance-id: i\nlocal-hostname: My_Server 1\n");
    machine.write("var/lib/cloud/seed/nocloud/vendor-data", "#cloud-config\npackages: [x]\n");
    let told = machine.run("run").expect(0);
    assert!(told.err.contains("the machine is called My-Server-1"), "{}", told.err);
    assert!(told.err.contains("NoCloud: vendor-data is not read"), "{}", told.err);
    assert!(machine.read("run/rtcd/rtcd.toml").contains("ice_host_override = \"My-Server-1\""));
    assert!(machine.run("status").expect(0).out.contains("Host name:   My-Server-1 (meta-data/local-hostname)"));
}
