//! Ids in Mattermost's form: a random UUID (RFC 9562, version 4) in 26 characters of z-base-32.
use crate::ids::ConnId;
use data_encoding::{Encoding, Specification};
use std::sync::LazyLock;

/// The alphabet of Mattermost's ids. What is left of the last five bits is 0.
static Z_BASE_32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("ybndrfg8ejkmcpqxot1uwisza345h769");
    // Thirty-two different characters of ASCII, and no padding.
    specification.encoding().unwrap_or_else(|error| unreachable!("{error}"))
});

/// A new connection id.
pub fn random() -> ConnId {
    Z_BASE_32.encode(uuid::Builder::from_random_bytes(rand::random()).as_uuid().as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_taken_from_the_front_and_the_rest_is_padded() {
        assert_eq!(Z_BASE_32.encode(&[0; 16]), "y".repeat(26));
        assert_eq!(Z_BASE_32.encode(&[0xff; 16]), format!("{}h", "9".repeat(25)));
        assert_eq!(Z_BASE_32.encode(b"abcdefghijklmnop"), "cftgg3dfc3uso4mkppsg45uxqy");
    }

    #[test]
    fn an_id_is_a_random_uuid() {
        let id = random();
        let bytes = Z_BASE_32.decode(id.as_str().as_bytes()).expect("of the alphabet");
        assert_eq!(uuid::Uuid::from_slice(&bytes).map(|uuid| uuid.get_version_num()), Ok(4));
        assert_ne!(id, random());
    }
}
