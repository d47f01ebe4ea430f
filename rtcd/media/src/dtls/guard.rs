//! What a peer may make the DTLS crate hold or compute, bounded before the crate sees a byte; and what anybody could
//! have sent in the peer's name, kept from ending its session (RFC 6347, section 4.1.2.7).
use super::Role;
use std::borrow::Cow;
use std::time::Instant;

/// Records of one handshake: a real one needs below 30, some more with each retransmission.
const HANDSHAKE_RECORDS: u32 = 400;
/// Bytes of one handshake: certificates of both sides and every retransmission fit many times.
const HANDSHAKE_BYTES: usize = 128 * 1024;
/// Plaintext records that an established association still looks at, at once and per second: repeats of the peer's last
/// flight, which is 5 messages and more in fragments.
const LATE_RECORDS: f64 = 32.0;
const LATE_RECORDS_PER_SECOND: f64 = 16.0;
/// Handshake messages in one record; real stacks pack at most a flight of 5.
const MESSAGES_IN_RECORD: usize = 8;
/// Records in one datagram that the crate takes.
const RECORDS_IN_DATAGRAM: usize = 8;
/// Length of one handshake message.
const MAX_MESSAGE: usize = 16 * 1024;

const RECORD_HEADER: usize = 13;
const MESSAGE_HEADER: usize = 12;
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// What becomes of a datagram.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    /// These records of it may go to the crate; `whole` unless some were refused.
    Pass {
        /// The records.
        records: Cow<'a, [u8]>,
        /// Nothing was refused.
        whole: bool,
    },
    /// Nothing of it makes sense, or may be looked at now.
    Refused,
    /// Well-formed, and more of it than any honest handshake has.
    OverBudget,
}

/// Counts records and checks handshake headers, whatever they contain.
#[derive(Debug)]
pub(super) struct DtlsGuard {
    role: Role,
    records: u32,
    bytes: usize,
    late: f64,
    refilled: Instant,
    established: bool,
}

enum Record {
    Admitted,
    Refused,
    OverBudget,
}

impl DtlsGuard {
    pub(super) fn new(role: Role, now: Instant) -> Self {
        Self {
            role,
            records: HANDSHAKE_RECORDS,
            bytes: HANDSHAKE_BYTES,
            late: LATE_RECORDS,
            refilled: now,
            established: false,
        }
    }

    /// The handshake is complete: plaintext is now the exception.
    pub(super) fn establish(&mut self) {
        self.established = true;
    }

    pub(super) fn is_established(&self) -> bool {
        self.established
    }

    /// What of the datagram may go to the crate. Each record is judged for itself: a flight that is sent again has
    /// plaintext and sealed records in one datagram.
    pub(super) fn admit<'a>(&mut self, now: Instant, datagram: &'a [u8]) -> Verdict<'a> {
        let mut admitted = Cow::Borrowed(&datagram[..0]);
        let mut rest = datagram;
        let mut whole = true;
        for _ in 0..RECORDS_IN_DATAGRAM {
            // RFC 6347, section 4.1: type, version, epoch, sequence number, length.
            let Some(header) = rest.get(..RECORD_HEADER) else { break };
            let (kind, epoch) = (header[0], u16::from_be_bytes([header[3], header[4]]));
            let len = RECORD_HEADER + usize::from(u16::from_be_bytes([header[11], header[12]]));
            let Some(record) = rest.get(..len) else { break };
            match self.admit_record(now, kind, epoch, &record[RECORD_HEADER..]) {
                Record::Admitted => match &mut admitted {
                    // Nothing was left out so far.
                    Cow::Borrowed(records) if whole => *records = &datagram[..records.len() + len],
                    records => records.to_mut().extend_from_slice(record),
                },
                Record::Refused => whole = false,
                Record::OverBudget => return Verdict::OverBudget,
            }
            rest = &rest[len..];
        }
        whole &= rest.is_empty();
        if admitted.is_empty() { Verdict::Refused } else { Verdict::Pass { records: admitted, whole } }
    }

    fn admit_record(&mut self, now: Instant, kind: u8, epoch: u16, body: &[u8]) -> Record {
        if self.established {
            return self.admit_late(now, kind, epoch, body);
        }
        let makes_sense = match (epoch, kind) {
            (0, HANDSHAKE) => !body.is_empty() && messages_fit(body, |kind, seq| is_expected(self.role, kind, seq)),
            (0, CHANGE_CIPHER_SPEC) => body == [1],
            // Level and description (RFC 5246, section 7.2).
            (0, ALERT) => matches!(body, [1 | 2, _]),
            // Sealed: Finished, or an alert about it. Data has its time later.
            (1, HANDSHAKE | ALERT) => true,
            _ => false,
        };
        if !makes_sense {
            return Record::Refused;
        }
        if epoch != 0 {
            // Costs at most one decryption, as after the handshake, and is not kept if that fails. It does not count,
            // or whoever forges such records could use up what the peer needs.
            return Record::Admitted;
        }
        let size = RECORD_HEADER + body.len();
        if self.records == 0 || self.bytes < size {
            return Record::OverBudget;
        }
        self.records -= 1;
        self.bytes -= size;
        Record::Admitted
    }

    fn admit_late(&mut self, now: Instant, kind: u8, epoch: u16, body: &[u8]) -> Record {
        if epoch != 0 {
            return if matches!(kind, ALERT | HANDSHAKE | APPLICATION_DATA) {
                Record::Admitted
            } else {
                Record::Refused
            };
        }
        // A flight that is sent again ends in ChangeCipherSpec and Finished; ours is then sent again (section 4.2.4).
        let repeats = match kind {
            CHANGE_CIPHER_SPEC => body == [1],
            HANDSHAKE => !body.is_empty() && messages_fit(body, |kind, seq| is_expected(self.role, kind, seq)),
            _ => false,
        };
        let earned = now.saturating_duration_since(self.refilled).as_secs_f64() * LATE_RECORDS_PER_SECOND;
        self.late = (self.late + earned).min(LATE_RECORDS);
        self.refilled = now;
        if !repeats || self.late < 1.0 {
            return Record::Refused;
        }
        self.late -= 1.0;
        Record::Admitted
    }
}

/// Whether the peer may send this plaintext message under this number. A client of ours says hello, then its
/// certificate, its key and the proof of it, each in its place; one in another place would take the honest one's.
fn is_expected(role: Role, kind: u8, seq: u16) -> bool {
    match role {
        // ClientHello, Certificate, ClientKeyExchange, CertificateVerify.
        Role::Server => matches!((seq, kind), (0, 1) | (1, 11) | (2, 16) | (3, 15)),
        // ServerHello, HelloVerifyRequest, Certificate, ServerKeyExchange, CertificateRequest, ServerHelloDone; a
        // HelloVerifyRequest shifts the others by one, and not every server sends every one.
        Role::Client => seq < 8 && matches!(kind, 2 | 3 | 11 | 12 | 13 | 14),
    }
}

/// Handshake headers of one plaintext record (RFC 6347, section 4.2.2): offsets and lengths inside the message and the
/// record, no empty fragment of a message that is not empty, and a message that `expected` knows.
fn messages_fit(mut body: &[u8], expected: impl Fn(u8, u16) -> bool) -> bool {
    for _ in 0..MESSAGES_IN_RECORD {
        let Some(header) = body.get(..MESSAGE_HEADER) else { return body.is_empty() };
        let u24 = |at: usize| u32::from_be_bytes([0, header[at], header[at + 1], header[at + 2]]) as usize;
        let (len, offset, fragment) = (u24(1), u24(6), u24(9));
        let lies = len > MAX_MESSAGE || offset + fragment > len || (fragment == 0 && len != 0);
        if lies
            || MESSAGE_HEADER + fragment > body.len()
            || !expected(header[0], u16::from_be_bytes([header[4], header[5]]))
        {
            return false;
        }
        body = &body[MESSAGE_HEADER + fragment..];
    }
    body.is_empty()
}

#[cfg(test)]
mod tests;
