//! VP8 as receivers look at it.

/// Whether a VP8 payload begins a key frame.
pub fn begins_key_frame(payload: &[u8]) -> bool {
    let Some(&first) = payload.first() else { return false };
    // S, and the first partition.
    if first & 0x1f != 0x10 {
        return false;
    }
    let mut at = 1;
    if first & 0x80 != 0 {
        let Some(&flags) = payload.get(at) else { return false };
        at += 1;
        if flags & 0x80 != 0 {
            at += if payload.get(at).is_some_and(|id| id & 0x80 != 0) { 2 } else { 1 };
        }
        at += usize::from(flags & 0x40 != 0) + usize::from(flags & 0x30 != 0);
    }
    payload.get(at).is_some_and(|header| header & 1 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_frames_are_told_from_others() {
        assert!(begins_key_frame(&[0x90, 0x80, 0x80, 0x01, 0x10]));
        assert!(!begins_key_frame(&[0x90, 0x80, 0x80, 0x01, 0x11]));
        assert!(!begins_key_frame(&[0x80, 0x80, 0x80, 0x01, 0x10]), "not its beginning");
        assert!(begins_key_frame(&[0x10, 0x10]), "without extension");
        assert!(begins_key_frame(&[0x90, 0xf0, 0x80, 0x01, 7, 0, 0x10]));
        assert!(!begins_key_frame(&[]));
    }
}
