//! Random values that a peer must not guess.

/// Fills `bytes` from the system's generator. Not from aws-lc's, which takes some 60 ms to gather entropy of its own at its
/// first use: a process that goes on with calls has no time for that.
pub(crate) fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the system has a random number generator");
}

/// Has aws-lc gather its entropy, which the first handshake would wait for; to be called beside whatever is urgent.
pub fn warm_up() {
    // Whatever hinders it hinders the first handshake, which says so.
    let _ = aws_lc_rs::rand::fill(&mut [0; 1]);
}

/// A random 32-bit value, for an SSRC, a sequence number, a timestamp.
pub fn random_u32() -> u32 {
    let mut bytes = [0; 4];
    fill(&mut bytes);
    u32::from_ne_bytes(bytes)
}

/// A random 64-bit value.
pub fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

/// `len` characters of `[A-Za-z0-9]`, all equally likely: 5.95 bits each.
pub fn alphanumeric(len: usize) -> String {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut out = String::with_capacity(len);
    let mut bytes = [0; 32];
    while out.len() < len {
        fill(&mut bytes);
        // 248 = 4 * 62: what lies above would favour the first letters.
        out.extend(
            bytes.iter().filter(|b| **b < 248).take(len - out.len()).map(|b| char::from(ALPHABET[(*b % 62) as usize])),
        );
    }
    out
}
