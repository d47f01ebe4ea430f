//! Outgoing: plain packets become protected ones, in the buffer that they lie in.
use super::crypt::{CM_TAG, Crypt, GCM_TAG, Purpose, SessionKey, cm_apply, cm_tag, gcm_nonce};
use super::{KeyingMaterial, MAX_OVERHEAD};
use crate::footprint::Footprint;
use crate::reserve::RTCP_LEAP;
use crate::rtp::{self, SeqNo};
use aws_lc_rs::aead;
use serde::Serialize;
use std::sync::Arc;

/// Protects what we send to one peer.
#[derive(Serialize)]
pub struct Protector {
    #[serde(skip)]
    rtp: SessionKey,
    #[serde(skip)]
    rtcp: SessionKey,
    /// SRTCP index of the next packet, 31 bits (RFC 3711, section 3.4). One for all our SSRCs: each of them grows by
    /// itself then, with gaps, which is all that a receiver's window for each SSRC asks for.
    rtcp_index: u32,
    /// Indices from this one on must not be used: see [`reserve`](crate::reserve).
    #[serde(skip)]
    rtcp_ceiling: u32,
}

/// Indices have 31 bits: after the last one a key is used up.
const RTCP_INDICES: u32 = 1 << 31;

impl Protector {
    pub(crate) fn new(keys: &Arc<KeyingMaterial>, of_client: bool) -> Self {
        Self {
            rtp: SessionKey::new(keys, of_client, Purpose::Rtp),
            rtcp: SessionKey::new(keys, of_client, Purpose::Rtcp),
            rtcp_index: 0,
            rtcp_ceiling: RTCP_INDICES,
        }
    }

    /// Goes on for another process, which has used up the numbers below.
    pub(super) fn go_on(&mut self, rtcp_index: u32) {
        self.rtcp_index = rtcp_index.min(RTCP_INDICES);
    }

    /// The next SRTCP index.
    pub(crate) fn rtcp_index(&self) -> u32 {
        self.rtcp_index
    }

    /// The index is written down: some more may be used.
    pub(crate) fn reserve(&mut self) {
        self.rtcp_ceiling = self.rtcp_index.saturating_add(RTCP_LEAP).min(RTCP_INDICES);
    }

    /// Goes on behind whoever died, for whom `rtcp_index` was written down last. Nothing can be sent until it is
    /// [reserved](Self::reserve).
    pub(crate) fn leap(&mut self, rtcp_index: u32) {
        self.rtcp_index = rtcp_index.saturating_add(RTCP_LEAP).min(RTCP_INDICES);
        self.rtcp_ceiling = self.rtcp_index;
    }

    /// Bytes that a protected RTP packet is longer than the plain one.
    pub fn rtp_overhead(&self) -> usize {
        self.rtp.tag_len()
    }

    /// Protects the RTP packet in `buffer[..len]`, whose sequence number is `seq`; returns the new length. `None` when
    /// the packet is malformed or the buffer has no room for the tag.
    ///
    /// The same `seq` must never be used for two different packets: it is the nonce. A retransmission is the same packet.
    #[inline]
    pub fn protect_rtp(&mut self, buffer: &mut [u8], len: usize, seq: SeqNo) -> Option<usize> {
        let header = rtp::header_len(buffer.get(..len)?)?;
        let end = len + self.rtp.tag_len();
        let packet = buffer.get_mut(..end)?;
        let ssrc: [u8; 4] = packet[8..12].try_into().ok()?;
        match self.rtp.get() {
            Crypt::Gcm { key, salt } => {
                let nonce = gcm_nonce(salt, &ssrc, seq.0);
                let (head, rest) = packet.split_at_mut(header);
                let (body, tag) = rest.split_at_mut(len - header);
                let sealed = key.seal_in_place_separate_tag(nonce, aead::Aad::from(&*head), body).ok()?;
                tag.copy_from_slice(sealed.as_ref());
            }
            Crypt::Cm { key, auth, salt } => {
                cm_apply(key, salt, ssrc, seq.0, &mut packet[header..len]).ok()?;
                let (body, tag) = packet.split_at_mut(len);
                tag.copy_from_slice(&cm_tag(auth, [body, &seq.roll_over().to_be_bytes()]).as_ref()[..CM_TAG]);
            }
        }
        Some(end)
    }

    /// Protects the compound RTCP packet in `buffer[..len]`; returns the new length, at most [`MAX_OVERHEAD`] more.
    /// `None` when it is no packet, has no room, or no index is left.
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Option<usize> {
        if len < 8 || buffer.len() < len + MAX_OVERHEAD {
            return None;
        }
        let index = self.rtcp_index;
        if index >= self.rtcp_ceiling {
            return None;
        }
        self.rtcp_index = index + 1;
        // The E bit says that the packet is encrypted.
        let trailer = (index | 1 << 31).to_be_bytes();
        let ssrc: [u8; 4] = buffer[4..8].try_into().ok()?;
        match self.rtcp.get() {
            Crypt::Gcm { key, salt } => {
                let nonce = gcm_nonce(salt, &ssrc, u64::from(index));
                let mut aad = [0; 12];
                aad[..8].copy_from_slice(&buffer[..8]);
                aad[8..].copy_from_slice(&trailer);
                let tag = key.seal_in_place_separate_tag(nonce, aead::Aad::from(aad), &mut buffer[8..len]).ok()?;
                buffer[len..len + GCM_TAG].copy_from_slice(tag.as_ref());
                buffer[len + GCM_TAG..len + GCM_TAG + 4].copy_from_slice(&trailer);
                Some(len + GCM_TAG + 4)
            }
            Crypt::Cm { key, auth, salt } => {
                cm_apply(key, salt, ssrc, u64::from(index), &mut buffer[8..len]).ok()?;
                buffer[len..len + 4].copy_from_slice(&trailer);
                let tag = cm_tag(auth, [&buffer[..len + 4], &[]]);
                buffer[len + 4..len + 4 + CM_TAG].copy_from_slice(&tag.as_ref()[..CM_TAG]);
                Some(len + 4 + CM_TAG)
            }
        }
    }
}

impl Footprint for Protector {
    fn heap_bytes(&self) -> usize {
        self.rtp.heap_bytes() + self.rtcp.heap_bytes()
    }
}
