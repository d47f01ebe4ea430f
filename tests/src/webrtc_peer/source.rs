//! What a participant of the `webrtc` crate sends: tracks, and packets on them.
use bytes::Bytes;
use rtc_crate::rtp::{Header, Packet};
use rtc_crate::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use std::sync::Arc;
use std::time::Duration;
use webrtc::media_stream::track_local::TrackLocal as _;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::{MediaStreamTrack, Track as _};

pub(super) fn track(kind: RtpCodecKind, stream: &str) -> Arc<TrackLocalStaticRTP> {
    let (mime_type, clock_rate, channels) =
        if kind == RtpCodecKind::Audio { ("audio/opus", 48_000, 2) } else { ("video/VP8", 90_000, 0) };
    let codec = RTCRtpCodec { mime_type: mime_type.into(), clock_rate, channels, ..Default::default() };
    let rtp_coding_parameters = RTCRtpCodingParameters { ssrc: Some(rand::random()), ..Default::default() };
    let coding = RTCRtpEncodingParameters { rtp_coding_parameters, codec, ..Default::default() };
    let track = MediaStreamTrack::new(stream.into(), format!("{stream}-track"), stream.into(), kind, vec![coding]);
    Arc::new(TrackLocalStaticRTP::new(track))
}

/// Packets every 20 ms until the connection is gone; before the track is negotiated they go nowhere.
pub(super) fn stream(track: Arc<TrackLocalStaticRTP>, payload_type: u8, ticks: u32, payload: &'static [u8]) {
    tokio::spawn(async move {
        let Some(ssrc) = track.ssrcs().await.first().copied() else { return };
        let mut interval = tokio::time::interval(Duration::from_millis(20));
        for number in 0u32.. {
            interval.tick().await;
            // Nobody holds the track but this loop: the participant has gone.
            if Arc::strong_count(&track) == 1 && number > 500 {
                return;
            }
            let header = Header {
                version: 2,
                marker: true,
                payload_type,
                sequence_number: number as u16,
                timestamp: number.wrapping_mul(ticks),
                ssrc,
                ..Default::default()
            };
            let _ = track.write_rtp(Packet { header, payload: Bytes::from_static(payload) }).await;
        }
    });
}
