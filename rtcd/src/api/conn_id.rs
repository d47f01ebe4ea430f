//! Ids in Mattermost's form: a random UUID (RFC 9562, version 4) in 26 characters of z-base-32.
use crate::ids::ConnId;

/// The alphabet of Mattermost's ids.
const ALPHABET: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";

/// A new connection id.
pub fn random() -> ConnId {
    let mut uuid: [u8; 16] = rand::random();
    uuid[6] = (uuid[6] & 0x0f) | 0x40;
    uuid[8] = (uuid[8] & 0x3f) | 0x80;
    encode(uuid).into()
}

fn encode(bytes: [u8; 16]) -> String {
    // 128 bits, filled up with zeros to 26 groups of five.
    let number = u128::from_be_bytes(bytes);
    let digit = |index: u32| match index {
        0..25 => (number >> (123 - 5 * index)) & 31,
        _ => (number << 2) & 31,
    };
    (0..26).map(|index| char::from(ALPHABET[digit(index) as usize])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_taken_from_the_front_and_the_rest_is_padded() {
        assert_eq!(encode([0; 16]), "y".repeat(26));
        assert_eq!(encode([0xff; 16]), format!("{}h", "9".repeat(25)));
        assert_eq!(encode(*b"abcdefghijklmnop"), "cftgg3dfc3uso4mkppsg45uxqy");
    }

    #[test]
    fn an_id_has_26_characters_and_the_version_of_a_random_uuid() {
        let id = random();
        assert_eq!(id.as_str().len(), 26);
        assert!(id.as_str().bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_ne!(id, random());
    }
}
