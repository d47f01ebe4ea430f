//! DTLS records by hand (RFC 6347, sections 4.1 and 4.2.2).

pub const CHANGE_CIPHER_SPEC: u8 = 20;
/// See [`CHANGE_CIPHER_SPEC`].
pub const HANDSHAKE: u8 = 22;
/// See [`CHANGE_CIPHER_SPEC`].
pub const APPLICATION_DATA: u8 = 23;

pub fn record(kind: u8, epoch: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, 0xfe, 0xfd];
    bytes.extend(epoch.to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(sequence.to_be_bytes());
    bytes.extend((body.len() as u16).to_be_bytes());
    bytes.extend(body);
    bytes
}

/// A fragment of a handshake message, in a record of epoch 0.
pub fn fragment(sequence: u32, kind: u8, message: u16, len: u32, offset: u32, data: &[u8]) -> Vec<u8> {
    let mut body = vec![kind];
    body.extend(&len.to_be_bytes()[1..]);
    body.extend(message.to_be_bytes());
    body.extend(&offset.to_be_bytes()[1..]);
    body.extend(&(data.len() as u32).to_be_bytes()[1..]);
    body.extend(data);
    record(HANDSHAKE, 0, sequence, &body)
}
