//! Why no nonce is ever used twice, although a process may die at any moment and another one goes on with its keys.
//!
//! A nonce is a key's number: the SRTP index of a stream, the SRTCP index, the number of a DTLS record (ChaCha20-Poly1305; under
//! AES-GCM it is random, RFC 5288). What goes on after a crash knows the numbers that were written down last, not those that
//! were used last. So
//!
//! 1. a number is used only below a *ceiling*: the number that was written down last, plus a constant leap;
//! 2. a ceiling is raised (`reserve`) only when the number that it counts from is written down;
//! 3. whoever goes on begins at that ceiling (`leap`), and may use nothing before it has written down where it begins.
//!
//! By 1 and 2 everything that was used lies below the ceiling that follows from what is written, whenever it was written, whatever
//! was lost since, and however long a worker stood still; by 3 everything that is used afterwards lies above it, also when the
//! next process dies at once. A stream of which nothing is written has no number below its ceiling: it waits until it is
//! written down. A session of which nothing is written ends with its process, and its keys with it.
//!
//! A leap must be more than what is sent between two writings, or something is held back until the next one.

/// Numbers of DTLS records.
pub(crate) const DTLS_LEAP: u64 = 1 << 24;
/// SRTCP indices: of 2^31, enough for two thousand crashes.
pub(crate) const RTCP_LEAP: u32 = 1 << 20;
/// Sequence numbers of an RTP stream. When half of them are used they are written down before the rest is.
pub(crate) const RTP_LEAP: u64 = 1 << 10;
/// Leaps of a stream of which no packet has gone out since. A receiver takes a number that is 2^15 ahead for one of the roll-over
/// before (RFC 3711, section 3.3.1).
pub(crate) const MAX_UNHEARD: u8 = 20;
