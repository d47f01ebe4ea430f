//! Harnesses for everything that eats network bytes: fuzz targets and stable tests call the same functions.
//!
//! Each takes bytes, turns them into a sequence of operations on the real state machine and panics when an invariant
//! breaks. [`forge`] makes packets by hand, as a peer would that knows the rules and breaks some.
#![allow(clippy::disallowed_methods, reason = "a harness needs some instant to start from")]
mod channel;
mod description;
pub mod forge;
mod packets;
mod relay;
mod secure;

pub use channel::sctp;
pub use description::sdp;
pub use packets::{rtcp, rtp, stun};
pub use relay::turn;
pub use secure::{client_flights, dtls, srtp};

/// One step of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation<'a> {
    /// What to do; each harness reads it modulo what it knows.
    pub what: u8,
    /// What follows the byte that chose the step.
    pub bytes: &'a [u8],
}

/// Cuts input into steps: `what`, a length of 16 bits, that many bytes. A length past the end takes what there is.
pub fn operations(mut input: &[u8]) -> impl Iterator<Item = Operation<'_>> {
    std::iter::from_fn(move || {
        let (header, rest) = input.split_first_chunk::<3>()?;
        let len = usize::from(u16::from_be_bytes([header[1], header[2]])).min(rest.len());
        let (bytes, rest) = rest.split_at(len);
        input = rest;
        Some(Operation { what: header[0], bytes })
    })
}

/// The input that [`operations`] cuts into these steps.
pub fn join<'a>(steps: impl IntoIterator<Item = (u8, &'a [u8])>) -> Vec<u8> {
    let mut out = Vec::new();
    for (what, bytes) in steps {
        let len = bytes.len().min(usize::from(u16::MAX));
        out.push(what);
        out.extend((len as u16).to_be_bytes());
        out.extend(&bytes[..len]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_survive_their_bytes() {
        let input = join([(1, &b"abc"[..]), (2, b""), (255, b"z")]);
        let steps: Vec<_> = operations(&input).map(|step| (step.what, step.bytes)).collect();
        assert_eq!(steps, [(1, &b"abc"[..]), (2, b""), (255, b"z")]);
        assert_eq!(operations(&[7, 0xff, 0xff, 1]).next(), Some(Operation { what: 7, bytes: &[1] }));
        assert_eq!(operations(&[7, 0]).next(), None);
    }
}
