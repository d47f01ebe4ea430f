//! Whether the API's port answers, and under TLS whether its certificate is good and for how long.
use super::connect::Connector;
use super::report::Report;
use rustls::CertificateError;
use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: u64 = 24 * 60 * 60;
/// Days that leave time to act: automatic renewals happen 30 days ahead.
const SOON: u64 = 14;

/// Connects; whether going on makes sense.
pub async fn check(connector: &Connector, report: &mut Report<impl Write>) -> bool {
    let what = if connector.target.tls { "TLS" } else { "connection" };
    let connection = match connector.connect().await {
        Ok(connection) => connection,
        Err(error) => {
            report.fail(what, format!("{}: {error}", connector.target.authority()), advice(&error));
            return false;
        }
    };
    let Some(certificate) = connection.certificate else {
        report.ok(what, format!("{}, not encrypted", connector.target.authority()));
        return true;
    };
    match not_after(&certificate).map(|end| end.duration_since(SystemTime::now()).unwrap_or_default().as_secs() / DAY) {
        Some(days) if days < SOON => {
            report.warn(
                what,
                format!("the certificate is valid for {days} more days"),
                "renew it, then reload rtcd (SIGHUP)",
            );
        }
        Some(days) => report.ok(what, format!("the certificate is valid for {days} more days")),
        None => report.warn(what, "valid, but its end cannot be read", "look at it with openssl x509"),
    }
    true
}

fn advice(error: &io::Error) -> &'static str {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(certificate)) => match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "renew the certificate in api.http.tls.cert_file, then reload rtcd (SIGHUP)"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "compare the clocks of both machines"
            }
            CertificateError::UnknownIssuer => {
                "name the authority by --ca, and put the whole chain into api.http.tls.cert_file"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "use a name that the certificate holds, or get one for this name"
            }
            CertificateError::ApplicationVerificationFailure => {
                "rtcd has another certificate than api.http.tls.cert_file holds now: reload it (SIGHUP) or restart it"
            }
            _ => "get a certificate that TLS clients accept",
        },
        Some(_) => "is api.http.tls.enable on? Else use http:",
        None if error.kind() == io::ErrorKind::ConnectionRefused => {
            "is rtcd running, and is api.http.listen_address an address that is reached from here?"
        }
        None if error.kind() == io::ErrorKind::TimedOut => "open the API's TCP port in the firewall for this machine",
        None => "check the name, the route and the port",
    }
}

/// `notAfter` of an X.509 certificate (RFC 5280, section 4.1.2.5).
pub(crate) fn not_after(certificate: &[u8]) -> Option<SystemTime> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let (_, certificate, _) = element(certificate)?;
    let (_, mut fields, _) = element(certificate)?;
    if fields.first() == Some(&VERSION) {
        fields = element(fields)?.2;
    }
    // serialNumber, signature, issuer
    for _ in 0..3 {
        fields = element(fields)?.2;
    }
    let (tag, validity, _) = element(fields)?;
    let (_, _, not_after) = element(validity).filter(|_| tag == SEQUENCE)?;
    let (tag, time, _) = element(not_after)?;
    time_of(tag, std::str::from_utf8(time).ok()?)
}

/// Tag, content and what follows of one DER element.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}

/// UTCTime `YYMMDDHHMMSSZ`, or GeneralizedTime `YYYYMMDDHHMMSSZ`.
fn time_of(tag: u8, text: &str) -> Option<SystemTime> {
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    let digits = text.strip_suffix('Z').filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    let (year, rest) = digits.split_at_checked(match tag {
        UTC_TIME => 2,
        GENERALIZED_TIME => 4,
        _ => return None,
    })?;
    let year: u64 = match (tag, year.parse().ok()?) {
        (UTC_TIME, year @ 50..) => 1900 + year,
        (UTC_TIME, year) => 2000 + year,
        (_, year) => year,
    };
    let two = |at: usize| rest.get(at..at + 2)?.parse::<u64>().ok();
    let (month, day, hour, minute, second) = (two(0)?, two(2)?, two(4)?, two(6)?, two(8)?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    // Years begin in March, so that the leap day is the last of one.
    let (years, months) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = years / 4 - years / 100 + years / 400;
    let days = (years * 365 + leap_days + (153 * months + 2) / 5 + day).checked_sub(719_469)?;
    UNIX_EPOCH.checked_add(Duration::from_secs(days * DAY + hour * 3600 + minute * 60 + second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_time_are_read() {
        let check = |tag, text: &str, expected: Option<u64>| {
            let found = time_of(tag, text).and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            assert_eq!(found.map(|since| since.as_secs()), expected, "{text}");
        };
        check(0x17, "700101000000Z", Some(0));
        check(0x17, "000229235959Z", Some(951_868_799));
        check(0x18, "20500101000000Z", Some(2_524_608_000));
        check(0x17, "490101000000Z", Some(2_493_072_000));
        check(0x17, "991301000000Z", None);
        check(0x17, "9901Z", None);
        check(0x17, "", None);
        check(0x16, "700101000000Z", None);
    }

    #[test]
    fn a_certificate_that_lies_about_lengths_has_no_end() {
        assert_eq!(not_after(&[]), None);
        assert_eq!(not_after(&[0x30, 0x83, 0xff, 0xff, 0xff, 0]), None);
        assert_eq!(not_after(&[0x30, 0x84, 0, 0, 0, 0]), None);
    }
}
