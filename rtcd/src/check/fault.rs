//! What goes wrong on the way to a server, in words: what it is, by its kind, and what to do about it.
use super::PATIENCE;
use rustls::CertificateError;
use rustls::pki_types::{CertificateDer, ServerName};
use std::fmt;
use std::io::{self, ErrorKind};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What went wrong. `Display` says it; it goes behind the name of the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The name has no address, or nobody can be asked.
    Unresolvable {
        /// The name servers gave no answer, so that there may be one.
        silent: bool,
    },
    /// RST to a SYN, or ICMP's port unreachable.
    Refused,
    /// Nothing came back.
    TimedOut,
    /// A connection was made, and nothing came over it.
    Silent,
    /// RST within a connection.
    Reset,
    /// A connection was made, and closed without an answer.
    Closed,
    /// No route, or a router that says so.
    Unreachable,
    /// A firewall of this machine.
    Forbidden,
    /// What answers speaks no HTTP.
    NotHttp,
    /// Plain HTTP was spoken to a port of TLS.
    NeedsTls,
    /// TLS was spoken to a port of plain HTTP.
    NoTls,
    /// It is TLS, and it fails.
    Tls(TlsFault),
    /// None of these.
    Other(String),
}

/// Why a TLS handshake failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsFault {
    /// Nobody but itself vouches for the certificate.
    SelfSigned,
    /// Issued by somebody who is not trusted here.
    UnknownIssuer(String),
    /// `CA:TRUE` in a server's own certificate.
    CaAsEndEntity,
    /// The certificate has these names, and not the one that was asked for.
    WrongName {
        /// The host of the URL.
        wanted: String,
        /// `DNS` and `IP` of subjectAltName.
        names: Vec<String>,
    },
    /// It ended so many days ago, if that is known.
    Expired(Option<u64>),
    /// Its time has not come.
    NotYetValid,
    /// It is another one than the file of the configuration has.
    NotTheFile,
    /// Its extended key usage has no serverAuth.
    WrongPurpose,
    /// Something else with the certificate.
    BadCertificate,
    /// Versions or ciphers.
    NothingInCommon,
    /// The rest.
    Failed,
}

impl Fault {
    /// Of an error of the system, or one of TLS inside of it.
    pub fn of(error: &io::Error) -> Self {
        if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Self::of_tls(tls);
        }
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::TimedOut => Self::TimedOut,
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => Self::Reset,
            ErrorKind::UnexpectedEof => Self::Closed,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => {
                Self::Unreachable
            }
            ErrorKind::PermissionDenied => Self::Forbidden,
            _ => Self::Other(plain(&error.to_string())),
        }
    }

    /// Of a name that could not be looked up.
    pub fn of_lookup(error: &io::Error) -> Self {
        let said = error.to_string();
        // EAI_AGAIN as glibc and musl spell it, or our own patience.
        let silent = ["Temporary", "Try again"].iter().any(|text| said.contains(text));
        Self::Unresolvable { silent: silent || error.kind() == ErrorKind::TimedOut }
    }

    fn of_tls(error: &rustls::Error) -> Self {
        let certificate = match error {
            rustls::Error::InvalidCertificate(certificate) => certificate,
            // What came is no record of TLS.
            rustls::Error::InvalidMessage(_) => return Self::NoTls,
            rustls::Error::PeerIncompatible(_) => return Self::Tls(TlsFault::NothingInCommon),
            _ => return Self::Tls(TlsFault::Failed),
        };
        Self::Tls(match certificate {
            CertificateError::Expired => TlsFault::Expired(None),
            CertificateError::ExpiredContext { time, not_after } => {
                let since = time.as_secs().saturating_sub(not_after.as_secs());
                TlsFault::Expired(Some(since / DAY.as_secs()))
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => TlsFault::NotYetValid,
            CertificateError::UnknownIssuer => TlsFault::UnknownIssuer(String::new()),
            CertificateError::NotValidForName => TlsFault::WrongName { wanted: String::new(), names: Vec::new() },
            CertificateError::NotValidForNameContext { expected, .. } => {
                TlsFault::WrongName { wanted: host(expected), names: Vec::new() }
            }
            CertificateError::ApplicationVerificationFailure => TlsFault::NotTheFile,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => TlsFault::WrongPurpose,
            _ => TlsFault::BadCertificate,
        })
    }

    /// The same with what the certificate itself says, once it is known.
    #[must_use]
    pub fn with_certificate(self, certificate: &CertificateDer<'_>) -> Self {
        let Self::Tls(fault) = &self else { return self };
        let Ok(certificate) = Certificate::from_der(certificate) else { return self };
        let (issuer, subject) = (certificate.tbs_certificate().issuer(), certificate.tbs_certificate().subject());
        Self::Tls(match fault {
            TlsFault::UnknownIssuer(_) if issuer == subject => TlsFault::SelfSigned,
            TlsFault::UnknownIssuer(_) => TlsFault::UnknownIssuer(issuer.to_string()),
            TlsFault::BadCertificate if is_authority(&certificate) => TlsFault::CaAsEndEntity,
            TlsFault::WrongName { wanted, .. } => {
                TlsFault::WrongName { wanted: wanted.clone(), names: names(&certificate) }
            }
            fault => fault.clone(),
        })
    }

    /// What to do about it at the API, or another service over HTTP, at this port.
    pub fn advice(&self, port: u16) -> String {
        match self {
            Self::Unresolvable { silent: false } => {
                "check how the name is spelt; it needs a DNS record, or use the IP address".into()
            }
            Self::Unresolvable { silent: true } => {
                "no name server answers this machine: look at its DNS (/etc/resolv.conf), or use the IP address".into()
            }
            Self::Refused => {
                "is rtcd running there, and is api.http.listen_address one that is reached from here (and not \
                              127.0.0.1)? A firewall that rejects looks the same"
                    .into()
            }
            Self::TimedOut => format!(
                "open TCP port {port} for this machine in firewalls and security groups, and check the address; who is on \
                 a participant's machine, which needs no API, asks `rtcd check --media-only HOST`"
            ),
            Self::Silent => {
                "something takes connections there and says nothing: is it rtcd? Look into its log and at its \
                             load"
                    .into()
            }
            Self::Reset => {
                "a firewall or a proxy in between cuts connections, or rtcd restarts just now: try again, then \
                            look there"
                    .into()
            }
            Self::Closed => {
                "is this the address of rtcd's API, or of something else? Look into its log, and at proxies in \
                             between"
                    .into()
            }
            Self::Unreachable => "check the address, and the routes of this machine (ip route get ADDRESS)".into(),
            Self::Forbidden => "look at the firewall rules for what this machine sends".into(),
            Self::NotHttp => "is this the address of rtcd's API?".into(),
            Self::NeedsTls => "use https:// in the URL, in Mattermost's RTCD Service URL, too".into(),
            Self::NoTls => "use http:// in the URL, or turn on api.http.tls.enable".into(),
            Self::Tls(fault) => fault.advice().into(),
            Self::Other(_) => "check the address, the route and the port".into(),
        }
    }
}

impl TlsFault {
    fn advice(&self) -> &'static str {
        match self {
            Self::SelfSigned => {
                "if it is yours, name its file by --ca here, and have Mattermost's machine trust it, too; else get one from \
                 an authority that both know"
            }
            Self::UnknownIssuer(_) => {
                "name that authority's file by --ca, and put the whole chain, the server's own first, into \
                 api.http.tls.cert_file"
            }
            Self::CaAsEndEntity => {
                "make one for the server, with CA:FALSE (openssl req -x509 -addext basicConstraints=critical,CA:FALSE), for \
                 api.http.tls.cert_file, then reload rtcd (SIGHUP)"
            }
            Self::WrongName { .. } => "use a name that it has, or get one for this name (subjectAltName)",
            Self::Expired(_) => "renew the certificate in api.http.tls.cert_file, then reload rtcd (SIGHUP)",
            Self::NotYetValid => "compare the clocks of both machines",
            Self::NotTheFile => "reload rtcd (SIGHUP) or restart it",
            Self::WrongPurpose => "get one with the extended key usage serverAuth",
            Self::BadCertificate => {
                "look at it (openssl s_client -connect HOST:PORT -showcerts), and get one that TLS clients accept"
            }
            Self::NothingInCommon => "rtcd speaks TLS 1.2 and 1.3: is something else in between?",
            Self::Failed => "is it rtcd that answers there, with api.http.tls.enable? Look into its log",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = PATIENCE.as_secs();
        match self {
            Self::Unresolvable { silent: false } => f.write_str("the name has no address"),
            Self::Unresolvable { silent: true } => f.write_str("the name cannot be looked up"),
            Self::Refused => f.write_str("the connection is refused"),
            Self::TimedOut => write!(f, "no answer within {seconds} s"),
            Self::Silent => write!(f, "connected, and then no answer within {seconds} s"),
            Self::Reset => f.write_str("the connection is reset"),
            Self::Closed => f.write_str("connected, and then closed without an answer"),
            Self::Unreachable => f.write_str("no way leads there from this machine"),
            Self::Forbidden => f.write_str("this machine itself does not let it out"),
            Self::NotHttp => f.write_str("what answers does not speak HTTP"),
            Self::NeedsTls => f.write_str("TLS is spoken there, and not plain HTTP"),
            Self::NoTls => f.write_str("plain HTTP is spoken there, and not TLS"),
            Self::Tls(fault) => fault.fmt(f),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SelfSigned => f.write_str("the certificate is self-signed: nobody who is known here vouches for it"),
            Self::UnknownIssuer(issuer) if issuer.is_empty() => {
                f.write_str("the certificate is by an authority that is not trusted here")
            }
            Self::UnknownIssuer(issuer) => write!(f, "the certificate is by {issuer}, who is not trusted here"),
            Self::CaAsEndEntity => {
                f.write_str("the certificate is that of an authority (CA:TRUE), and not one of a server")
            }
            Self::WrongName { wanted, names } if names.is_empty() => {
                write!(f, "the certificate is not for {wanted}: it has no names (subjectAltName)")
            }
            Self::WrongName { wanted, names } => {
                write!(f, "the certificate is for {}, and not for {wanted}", names.join(", "))
            }
            Self::Expired(Some(days @ 1..)) => write!(f, "the certificate has expired, {days} days ago"),
            Self::Expired(_) => f.write_str("the certificate has expired"),
            Self::NotYetValid => f.write_str("the certificate is not valid yet"),
            Self::NotTheFile => f.write_str("rtcd has another certificate than api.http.tls.cert_file holds now"),
            Self::WrongPurpose => f.write_str("the certificate is not for servers"),
            Self::BadCertificate => f.write_str("the certificate is not one that TLS clients accept"),
            Self::NothingInCommon => f.write_str("both sides have no version of TLS or no cipher in common"),
            Self::Failed => f.write_str("the TLS handshake fails"),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::of(&error)
    }
}

impl From<hyper::Error> for Fault {
    fn from(error: hyper::Error) -> Self {
        use std::error::Error as _;
        if error.is_parse() {
            return Self::NotHttp;
        }
        if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
            return Self::Closed;
        }
        match error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
            Some(error) => Self::of(error),
            None => Self::NotHttp,
        }
    }
}

/// Of an error of the system, without its number.
pub fn plain(error: &str) -> String {
    error.split(" (os error").next().unwrap_or_default().to_owned()
}

fn host(name: &ServerName<'_>) -> String {
    name.to_str().into_owned()
}

fn is_authority(certificate: &Certificate) -> bool {
    use x509_cert::ext::pkix::BasicConstraints;
    let found = certificate.tbs_certificate().get_extension::<BasicConstraints>();
    found.is_ok_and(|found| found.is_some_and(|(_, constraints)| constraints.ca))
}

/// At most a few: a certificate of a large installation has a hundred.
fn names(certificate: &Certificate) -> Vec<String> {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use x509_cert::ext::pkix::SubjectAltName;
    use x509_cert::ext::pkix::name::GeneralName;
    const MAX: usize = 6;
    let Ok(Some((_, SubjectAltName(names)))) = certificate.tbs_certificate().get_extension::<SubjectAltName>() else {
        return Vec::new();
    };
    let address = |bytes: &[u8]| match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|bytes| Ipv4Addr::from(bytes).to_string()),
        _ => <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).to_string()),
    };
    let name = |name: &GeneralName| match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(bytes) => address(bytes.as_bytes()),
        _ => None,
    };
    names.iter().filter_map(name).take(MAX).collect()
}

/// The first few names in a certificate, which may be none.
pub fn names_of(certificate: &[u8]) -> Vec<String> {
    Certificate::from_der(certificate).map(|certificate| names(&certificate)).unwrap_or_default()
}

/// When a certificate ends (RFC 5280, section 4.1.2.5).
pub fn not_after(certificate: &[u8]) -> Option<SystemTime> {
    let certificate = Certificate::from_der(certificate).ok()?;
    UNIX_EPOCH.checked_add(certificate.tbs_certificate().validity().not_after.to_unix_duration())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_has_what_rust_calls_things() {
        let errors = [
            io::Error::from_raw_os_error(libc::EMFILE),
            io::Error::from_raw_os_error(libc::ECONNREFUSED),
            io::Error::other("something"),
        ];
        for error in errors {
            let text = Fault::of(&error).to_string();
            assert!(!text.contains("os error") && !text.contains('{'), "{text}");
        }
        assert_eq!(Fault::of(&io::Error::from_raw_os_error(libc::EMFILE)).to_string(), "Too many open files");
    }

    #[test]
    fn a_certificate_that_lies_about_lengths_has_no_end() {
        for der in [&[][..], &[0x30, 0x83, 0xff, 0xff, 0xff, 0], &[0x30, 0x84, 0, 0, 0, 0]] {
            assert_eq!(not_after(der), None);
            let fault = Fault::Tls(TlsFault::BadCertificate);
            assert_eq!(fault.clone().with_certificate(&CertificateDer::from(der.to_vec())), fault);
        }
    }
}
