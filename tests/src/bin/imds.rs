//! EC2's metadata service, version 2, for a virtual machine: one HTTP request on standard input, its answer on standard
//! output. QEMU starts one process for each connection to 169.254.169.254.
use std::io::{self, BufRead as _, Write as _};

const TOKEN: &str = "the-token-of-this-session";

fn main() -> io::Result<()> {
    let mut lines = io::stdin().lock().lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let mut headers = Vec::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let header = |name: &str| headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, body) = match (method, path) {
        ("PUT", "/latest/api/token") if header("x-aws-ec2-metadata-token-ttl-seconds").is_some() => ("200 OK", TOKEN),
        ("PUT", _) => ("400 Bad Request", ""),
        _ if header("x-aws-ec2-metadata-token") != Some(TOKEN) => ("401 Unauthorized", ""),
        ("GET", path) => match answer(path) {
            Some(body) => ("200 OK", body),
            None => ("404 Not Found", ""),
        },
        _ => ("405 Method Not Allowed", ""),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    io::stdout().write_all(format!("{head}{body}").as_bytes())
}

/// An instance with an elastic address; the addresses are those of documentation (RFC 5737) and of QEMU's network.
fn answer(path: &str) -> Option<&'static str> {
    Some(match path.strip_prefix("/latest/")? {
        "meta-data/instance-id" => "i-0123456789abcdef0",
        "meta-data/local-hostname" => "ip-169-254-2-15.ec2.internal",
        "meta-data/local-ipv4" => "169.254.2.15",
        "meta-data/public-ipv4" => "203.0.113.7",
        "user-data" => "#cloud-config\nrtcd:\n  api:\n    security: {allow_self_registration: true}\n",
        _ => return None,
    })
}
