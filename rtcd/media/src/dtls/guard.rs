//! What a peer may make the DTLS crate hold or compute, bounded before the crate sees a byte.

/// Records of one handshake: a real one needs below 30, some more with retransmissions.
const HANDSHAKE_RECORDS: u32 = 200;
/// Bytes of one handshake: certificates of both sides and every retransmission fit many times.
const HANDSHAKE_BYTES: usize = 64 * 1024;
/// Plaintext records that an established association still looks at: repeats of the peer's last flight.
const LATE_RECORDS: u32 = 32;
/// Handshake messages in one record; real stacks pack at most a flight of 5.
const MESSAGES_IN_RECORD: usize = 8;
/// Length of one handshake message.
const MAX_MESSAGE: usize = 16 * 1024;

const RECORD_HEADER: usize = 13;
const MESSAGE_HEADER: usize = 12;
const HANDSHAKE: u8 = 22;

/// Counts records and checks handshake headers, whatever they contain.
#[derive(Debug)]
pub(super) struct DtlsGuard {
    records: u32,
    bytes: usize,
    late: u32,
    established: bool,
}

impl Default for DtlsGuard {
    fn default() -> Self {
        Self { records: HANDSHAKE_RECORDS, bytes: HANDSHAKE_BYTES, late: LATE_RECORDS, established: false }
    }
}

impl DtlsGuard {
    /// The handshake is complete: plaintext is now the exception.
    pub(super) fn establish(&mut self) {
        self.established = true;
    }

    pub(super) fn is_established(&self) -> bool {
        self.established
    }

    /// Whether the datagram may go to the crate.
    pub(super) fn admit(&mut self, mut datagram: &[u8]) -> bool {
        if datagram.is_empty() {
            return false;
        }
        while !datagram.is_empty() {
            // RFC 6347, section 4.1: type, version, epoch, sequence number, length.
            let Some(header) = datagram.get(..RECORD_HEADER) else { return false };
            let (kind, epoch) = (header[0], u16::from_be_bytes([header[3], header[4]]));
            let len = u16::from_be_bytes([header[11], header[12]]) as usize;
            let Some(body) = datagram.get(RECORD_HEADER..RECORD_HEADER + len) else { return false };
            if !self.admit_record(kind, epoch, body) {
                return false;
            }
            datagram = &datagram[RECORD_HEADER + len..];
        }
        true
    }

    fn admit_record(&mut self, kind: u8, epoch: u16, body: &[u8]) -> bool {
        if !self.established {
            let size = RECORD_HEADER + body.len();
            if self.records == 0 || self.bytes < size {
                return false;
            }
            self.records -= 1;
            self.bytes -= size;
            return epoch != 0 || kind != HANDSHAKE || fragments_fit(body);
        }
        if epoch != 0 {
            return true;
        }
        if kind != HANDSHAKE || self.late == 0 || !fragments_fit(body) {
            return false;
        }
        self.late -= 1;
        true
    }
}

/// Handshake headers of one plaintext record (RFC 6347, section 4.2.2): offsets and lengths inside the message and the
/// record, no empty fragment of a message that is not empty.
fn fragments_fit(mut body: &[u8]) -> bool {
    for _ in 0..MESSAGES_IN_RECORD {
        let Some(header) = body.get(..MESSAGE_HEADER) else { return body.is_empty() };
        let u24 = |at: usize| u32::from_be_bytes([0, header[at], header[at + 1], header[at + 2]]) as usize;
        let (len, offset, fragment) = (u24(1), u24(6), u24(9));
        let lies = len > MAX_MESSAGE || offset + fragment > len || (fragment == 0 && len != 0);
        if lies || MESSAGE_HEADER + fragment > body.len() {
            return false;
        }
        body = &body[MESSAGE_HEADER + fragment..];
    }
    body.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(epoch: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![HANDSHAKE, 0xfe, 0xfd];
        bytes.extend(epoch.to_be_bytes());
        bytes.extend([0; 6]);
        bytes.extend((body.len() as u16).to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn fragment(len: u32, offset: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![1];
        bytes.extend(&len.to_be_bytes()[1..]);
        bytes.extend([0, 0]);
        bytes.extend(&offset.to_be_bytes()[1..]);
        bytes.extend(&(data.len() as u32).to_be_bytes()[1..]);
        bytes.extend(data);
        bytes
    }

    #[test]
    fn a_flood_of_one_byte_fragments_runs_into_the_budget() {
        let mut guard = DtlsGuard::default();
        let admitted = (0..1000).filter(|at| guard.admit(&record(0, &fragment(16_000, *at, &[1])))).count();
        assert_eq!(admitted, HANDSHAKE_RECORDS as usize);
    }

    #[test]
    fn a_fragment_that_lies_about_its_place_is_refused() {
        let mut guard = DtlsGuard::default();
        assert!(guard.admit(&record(0, &fragment(10, 4, &[0; 6]))));
        assert!(!guard.admit(&record(0, &fragment(10, 5, &[0; 6]))), "past the message");
        assert!(!guard.admit(&record(0, &fragment(0xff_ffff, 0, &[0; 6]))), "too long a message");
        assert!(!guard.admit(&record(0, &fragment(10, 0, &[]))), "an empty piece");
        assert!(!guard.admit(&record(0, &fragment(10, 0, &[0; 6])[..14])), "past the record");
    }

    #[test]
    fn an_established_association_looks_at_few_plaintext_records() {
        let mut guard = DtlsGuard::default();
        guard.establish();
        let late = record(0, &fragment(1, 0, &[1]));
        assert_eq!((0..100).filter(|_| guard.admit(&late)).count(), LATE_RECORDS as usize);
        assert!(guard.admit(&record(1, &[0; 40])), "encrypted records pass");
    }
}
