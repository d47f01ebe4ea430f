//! Incoming: protected packets become plain ones, in place, or are refused with a reason.
use super::KeyingMaterial;
use super::crypt::{CM_TAG, Crypt, GCM_TAG, NotAuthentic, Purpose, SessionKey, cm_apply, cm_verify, gcm_nonce};
use super::streams::{Known, Streams};
use crate::footprint::Footprint;
use crate::rtp::{self, SeqNo, Ssrc};
use aws_lc_rs::aead;
use serde::Serialize;
use std::sync::Arc;

/// Why a packet was refused: the peer's fault or the network's, counted and dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SrtpError {
    /// Not an SRTP or SRTCP packet.
    #[error("malformed")]
    Malformed,
    /// Seen before, or older than the window.
    #[error("replayed or too old")]
    Replayed,
    /// The tag does not fit.
    #[error("not authentic")]
    NotAuthentic,
    /// SRTCP without encryption, which WebRTC does not use.
    #[error("not encrypted")]
    NotEncrypted,
}

impl From<NotAuthentic> for SrtpError {
    fn from(_: NotAuthentic) -> Self {
        Self::NotAuthentic
    }
}

/// Unprotects what one peer sends.
#[derive(Serialize)]
pub struct Unprotector {
    #[serde(skip)]
    rtp: SessionKey,
    #[serde(skip)]
    rtcp: SessionKey,
    streams: Streams,
    /// By the SSRC of the compound packet's sender: each of them numbers its packets for itself (RFC 3711, 3.2.1).
    rtcp_streams: Streams,
}

impl Unprotector {
    pub(crate) fn new(keys: &Arc<KeyingMaterial>, of_client: bool) -> Self {
        Self {
            rtp: SessionKey::new(keys, of_client, Purpose::Rtp),
            rtcp: SessionKey::new(keys, of_client, Purpose::Rtcp),
            streams: Streams::default(),
            rtcp_streams: Streams::default(),
        }
    }

    /// Goes on for another process, which has seen these streams of RTP and of RTCP.
    pub(super) fn go_on(&mut self, streams: Streams, rtcp_streams: Streams) {
        (self.streams, self.rtcp_streams) = (streams, rtcp_streams);
    }

    /// The newest number heard of each stream of RTP.
    pub(crate) fn newest(&self) -> impl ExactSizeIterator<Item = (u32, SeqNo)> {
        self.streams.newest()
    }

    /// The newest number heard from each sender of RTCP.
    pub(crate) fn newest_rtcp(&self) -> impl ExactSizeIterator<Item = (u32, SeqNo)> {
        self.rtcp_streams.newest()
    }

    /// Whoever died had heard so much, of RTP and of RTCP: it is not heard again.
    pub(crate) fn leap(&mut self, rtp: &[(u32, SeqNo)], rtcp: &[(u32, SeqNo)]) {
        rtp.iter().for_each(|(ssrc, newest)| self.streams.pass_over(*ssrc, *newest));
        rtcp.iter().for_each(|(ssrc, newest)| self.rtcp_streams.pass_over(*ssrc, *newest));
    }

    /// Opens an RTP packet in place; returns the plain length and the extended sequence number. Nothing is remembered
    /// of a packet that is not authentic.
    #[inline]
    pub fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Result<(usize, SeqNo), SrtpError> {
        let header = rtp::header_len(packet).ok_or(SrtpError::Malformed)?;
        let ssrc_bytes: [u8; 4] = packet[8..12].try_into().map_err(|_| SrtpError::Malformed)?;
        let ssrc = u32::from_be_bytes(ssrc_bytes);
        let wire = u16::from_be_bytes([packet[2], packet[3]]);
        let known = self.streams.find(ssrc);
        let seq = self.streams.extend(&known, wire);
        if !self.streams.is_fresh(&known, seq) {
            return Err(SrtpError::Replayed);
        }
        let len = self.open_rtp(packet, header, ssrc_bytes, seq)?;
        self.streams.commit(known, ssrc, seq);
        Ok((len, seq))
    }

    fn open_rtp(&self, packet: &mut [u8], header: usize, ssrc: [u8; 4], seq: SeqNo) -> Result<usize, SrtpError> {
        match self.rtp.get() {
            Crypt::Gcm { key, salt } => {
                let nonce = gcm_nonce(salt, &ssrc, seq.0);
                let (head, body) = packet.split_at_mut(header);
                let plain = key.open_in_place(nonce, aead::Aad::from(&*head), body).map_err(|_| NotAuthentic)?;
                Ok(header + plain.len())
            }
            Crypt::Cm { key, auth, salt } => {
                let len = packet.len().checked_sub(CM_TAG).filter(|len| *len >= header).ok_or(SrtpError::Malformed)?;
                let (body, tag) = packet.split_at_mut(len);
                cm_verify(auth, [body, &seq.roll_over().to_be_bytes()], tag)?;
                cm_apply(key, salt, ssrc, seq.0, &mut body[header..])?;
                Ok(len)
            }
        }
    }

    /// A packet of `ssrc` with the number `wire` has come inside of another stream (RFC 4588). It counts as seen from now
    /// on; `None` when it was seen before, is too old, or nothing of the stream has been heard yet.
    pub fn accept_repaired(&mut self, ssrc: Ssrc, wire: u16) -> Option<SeqNo> {
        let known = self.streams.find(ssrc);
        if matches!(known, Known::New) {
            return None;
        }
        let seq = self.streams.extend(&known, wire);
        self.streams.is_fresh(&known, seq).then(|| {
            self.streams.commit(known, ssrc, seq);
            seq
        })
    }

    /// Opens a compound RTCP packet in place; returns the plain length.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let tail = match self.rtcp.get() {
            Crypt::Gcm { .. } => 4,
            Crypt::Cm { .. } => 4 + CM_TAG,
        };
        let min = 8 + if tail == 4 { GCM_TAG } else { 0 };
        let end = packet.len().checked_sub(tail).filter(|end| *end >= min).ok_or(SrtpError::Malformed)?;
        let trailer: [u8; 4] = packet[end..end + 4].try_into().map_err(|_| SrtpError::Malformed)?;
        let word = u32::from_be_bytes(trailer);
        if word >> 31 == 0 {
            return Err(SrtpError::NotEncrypted);
        }
        let index = u64::from(word & 0x7fff_ffff);
        let ssrc: [u8; 4] = packet[4..8].try_into().map_err(|_| SrtpError::Malformed)?;
        let sender = u32::from_be_bytes(ssrc);
        let known = self.rtcp_streams.find(sender);
        if !self.rtcp_streams.is_fresh(&known, SeqNo(index)) {
            return Err(SrtpError::Replayed);
        }
        let len = match self.rtcp.get() {
            Crypt::Gcm { key, salt } => {
                let nonce = gcm_nonce(salt, &ssrc, index);
                let mut aad = [0; 12];
                aad[..8].copy_from_slice(&packet[..8]);
                aad[8..].copy_from_slice(&trailer);
                let body = &mut packet[8..end];
                8 + key.open_in_place(nonce, aead::Aad::from(aad), body).map_err(|_| NotAuthentic)?.len()
            }
            Crypt::Cm { key, auth, salt } => {
                let (body, tag) = packet.split_at_mut(end + 4);
                cm_verify(auth, [body, &[]], tag)?;
                cm_apply(key, salt, ssrc, index, &mut body[8..end])?;
                end
            }
        };
        self.rtcp_streams.commit(known, sender, SeqNo(index));
        Ok(len)
    }

    /// Streams of RTP and of RTCP whose windows are kept, for tests of the bound.
    pub fn stream_count(&self) -> (usize, usize) {
        (self.streams.len(), self.rtcp_streams.len())
    }
}

impl Footprint for Unprotector {
    fn heap_bytes(&self) -> usize {
        let keys = self.rtp.heap_bytes() + self.rtcp.heap_bytes();
        keys + self.streams.heap_bytes() + self.rtcp_streams.heap_bytes()
    }
}
