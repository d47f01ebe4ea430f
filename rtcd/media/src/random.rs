//! Random values that a peer must not guess.
use aws_lc_rs::rand;

/// Fills `bytes` from the system's generator.
pub(crate) fn fill(bytes: &mut [u8]) {
    // aws-lc aborts nothing here: it returns an error only when the kernel has no entropy source at all.
    rand::fill(bytes).expect("the system has a random number generator");
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
