//! Cryptography for `dimpl`, with RSA certificates of the peer: the crate verifies ECDSA alone and asks for nothing else.
//!
//! As a server we ask for RSA as well, by another CertificateRequest than the crate wrote. Both sides hash what was on
//! the wire (RFC 5246, sections 7.4.8 and 7.4.9), so the crate's transcript gets the same change before it is hashed or
//! verified. No other message is touched, and nothing of a client's transcript: its request is the peer's own.
use super::tap::TAPPED_SUITES;
use ::aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RsaParameters,
    UnparsedPublicKey,
};
use dimpl::crypto::{
    Buf, CryptoProvider, HashAlgorithm, HashContext, HashProvider, SignatureAlgorithm, SignatureVerifier,
    aws_lc_rs as backend,
};
use dimpl::{CryptoError, CryptoOperation};
use std::borrow::Cow;
use std::sync::OnceLock;
use x509_cert::Certificate;
use x509_cert::der::Decode;

const RECORD_HEADER: usize = 13;
const MESSAGE_HEADER: usize = 12;
const HANDSHAKE: u8 = 22;
const CERTIFICATE_REQUEST: u8 = 13;

/// `rsa_sign` (RFC 5246, section 7.4.4).
const RSA_SIGN: u8 = 1;
/// `rsa_pkcs1` with SHA-256, SHA-384 and SHA-512, the preferred first. PSS would need a signature scheme of its own;
/// every client that has an RSA key can do these.
const RSA_SCHEMES: [[u8; 2]; 3] = [[4, 1], [5, 1], [6, 1]];
/// `rsaEncryption` (RFC 8017, appendix A.1).
const OID_RSA: &str = "1.2.840.113549.1.1.1";

/// The default provider with our verifier; for a client.
pub(super) fn client() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: &TAPPED_SUITES,
        signature_verification: &Verifier { server: false },
        ..backend::default_provider()
    }
}

/// The same with the transcript of a server.
pub(super) fn server() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: &TAPPED_SUITES,
        signature_verification: &Verifier { server: true },
        hash_provider: &TranscriptHash,
        ..backend::default_provider()
    }
}

fn default() -> &'static CryptoProvider {
    static DEFAULT: OnceLock<CryptoProvider> = OnceLock::new();
    DEFAULT.get_or_init(backend::default_provider)
}

/// An outgoing datagram as it goes to the network.
pub(super) fn on_the_wire(datagram: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(datagram.len() + 16);
    let mut rest = datagram;
    while let Some(header) = rest.get(..RECORD_HEADER) {
        let len = usize::from(u16::from_be_bytes([header[11], header[12]]));
        let Some(body) = rest.get(RECORD_HEADER..RECORD_HEADER + len) else { break };
        let plaintext = header[3..5] == [0, 0];
        match (plaintext && header[0] == HANDSHAKE).then(|| with_rsa(body)) {
            Some(Cow::Owned(body)) => {
                out.extend(&header[..11]);
                out.extend((body.len() as u16).to_be_bytes());
                out.extend(body);
            }
            _ => out.extend(&rest[..RECORD_HEADER + len]),
        }
        rest = &rest[RECORD_HEADER + len..];
    }
    out.extend(rest);
    out
}

/// Whole handshake messages in a row, with RSA in the CertificateRequest among them. Anything else stays as it is.
fn with_rsa(messages: &[u8]) -> Cow<'_, [u8]> {
    let mut rest = messages;
    while let Some(header) = rest.get(..MESSAGE_HEADER) {
        let u24 = |at: usize| u32::from_be_bytes([0, header[at], header[at + 1], header[at + 2]]) as usize;
        let (len, is_whole) = (u24(1), u24(6) == 0 && u24(9) == u24(1));
        let Some(body) = rest.get(MESSAGE_HEADER..MESSAGE_HEADER + len).filter(|_| is_whole) else { break };
        if header[0] == CERTIFICATE_REQUEST {
            let Some(body) = request_with_rsa(body) else { break };
            let start = messages.len() - rest.len();
            let mut out = messages[..start].to_vec();
            let len = (body.len() as u32).to_be_bytes();
            out.push(CERTIFICATE_REQUEST);
            out.extend(&len[1..]);
            out.extend(&header[4..6]);
            out.extend([0; 3]);
            out.extend(&len[1..]);
            out.extend(body);
            out.extend(&rest[MESSAGE_HEADER + u24(1)..]);
            return Cow::Owned(out);
        }
        rest = &rest[MESSAGE_HEADER + len..];
    }
    Cow::Borrowed(messages)
}

/// Types, schemes, authorities (RFC 5246, section 7.4.4), the first two with RSA behind what is there.
fn request_with_rsa(body: &[u8]) -> Option<Vec<u8>> {
    let (types, rest) = body.split_at_checked(1 + usize::from(*body.first()?))?;
    let schemes_len = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
    let (schemes, authorities) = rest.split_at_checked(2 + schemes_len)?;
    let mut out = vec![types[0] + 1];
    out.extend(&types[1..]);
    out.push(RSA_SIGN);
    out.extend(((schemes_len + 2 * RSA_SCHEMES.len()) as u16).to_be_bytes());
    out.extend(&schemes[2..]);
    out.extend(RSA_SCHEMES.as_flattened());
    out.extend(authorities);
    Some(out)
}

#[derive(Debug)]
struct TranscriptHash;

#[derive(Debug)]
struct Transcript(Box<dyn HashContext>);

impl HashProvider for TranscriptHash {
    fn create_hash(&self, algorithm: HashAlgorithm) -> Box<dyn HashContext> {
        Box::new(Transcript(default().hash_provider.create_hash(algorithm)))
    }
}

impl HashContext for Transcript {
    fn update(&mut self, data: &[u8]) {
        self.0.update(&with_rsa(data));
    }
    fn clone_and_finalize(&self, out: &mut Buf) {
        self.0.clone_and_finalize(out);
    }
}

#[derive(Debug)]
struct Verifier {
    /// What is signed contains our own CertificateRequest.
    server: bool,
}

impl SignatureVerifier for Verifier {
    fn verify_signature(
        &self,
        cert_der: &[u8],
        data: &[u8],
        signature: &[u8],
        hash_alg: HashAlgorithm,
        sig_alg: SignatureAlgorithm,
    ) -> Result<(), CryptoError> {
        let data = if self.server { with_rsa(data) } else { Cow::Borrowed(data) };
        if sig_alg != SignatureAlgorithm::RSA {
            return default().signature_verification.verify_signature(cert_der, &data, signature, hash_alg, sig_alg);
        }
        let parameters: &RsaParameters = match hash_alg {
            HashAlgorithm::SHA256 => &RSA_PKCS1_2048_8192_SHA256,
            HashAlgorithm::SHA384 => &RSA_PKCS1_2048_8192_SHA384,
            HashAlgorithm::SHA512 => &RSA_PKCS1_2048_8192_SHA512,
            hash => return Err(CryptoError::UnsupportedSignaturePair { signature: sig_alg, hash }),
        };
        let certificate = Certificate::from_der(cert_der).map_err(|_| CryptoError::CertificateParseFailed)?;
        let key = certificate.tbs_certificate().subject_public_key_info();
        if key.algorithm.oid.to_string() != OID_RSA {
            return Err(CryptoError::UnsupportedPublicKeyAlgorithm);
        }
        let key = key.subject_public_key.as_bytes().ok_or(CryptoError::InvalidSubjectPublicKey)?;
        UnparsedPublicKey::new(parameters, key)
            .verify(&data, signature)
            .map_err(|_| CryptoError::OperationFailed(CryptoOperation::VerifySignature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let len = (body.len() as u32).to_be_bytes();
        [&[kind], &len[1..], &[0, 3, 0, 0, 0], &len[1..], body].concat()
    }

    #[test]
    fn a_request_asks_for_ecdsa_and_rsa_and_nothing_else_changes() {
        let (hello, done) = (message(2, &[7; 40]), message(14, &[]));
        let asked = message(CERTIFICATE_REQUEST, &[1, 64, 0, 4, 4, 3, 5, 3, 0, 0]);
        let expected = message(CERTIFICATE_REQUEST, &[2, 64, 1, 0, 10, 4, 3, 5, 3, 4, 1, 5, 1, 6, 1, 0, 0]);
        let transcript = [&hello[..], &asked, &done].concat();
        assert_eq!(with_rsa(&transcript), [&hello[..], &expected, &done].concat());
        assert_eq!(with_rsa(&hello), hello);
        // What only begins like it stays as it is.
        for len in 0..transcript.len() {
            let _ = with_rsa(&transcript[..len]);
        }
        assert_eq!(with_rsa(b"abc"), &b"abc"[..]);
    }

    #[test]
    fn a_datagram_keeps_its_records_and_their_numbers() {
        let record = |kind: u8, epoch: u8, body: &[u8]| {
            let header = [kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 9];
            [&header[..], &(body.len() as u16).to_be_bytes(), body].concat()
        };
        let asked = message(CERTIFICATE_REQUEST, &[1, 64, 0, 2, 4, 3, 0, 0]);
        let expected = message(CERTIFICATE_REQUEST, &[2, 64, 1, 0, 8, 4, 3, 4, 1, 5, 1, 6, 1, 0, 0]);
        let first = record(HANDSHAKE, 0, &message(2, &[1; 9]));
        let sealed = record(HANDSHAKE, 1, &asked);
        let datagram = [&first[..], &record(HANDSHAKE, 0, &asked), &sealed].concat();
        assert_eq!(on_the_wire(&datagram), [&first[..], &record(HANDSHAKE, 0, &expected), &sealed].concat());
    }
}
