//! Descriptions out of bytes: inflating, JSON, SDP. It takes milliseconds and happens beside the actor.
use super::data_channel::{self, DataChannelError, MAX_SDP};
use crate::metrics::ErrorKind;
use rtcd_media::sdp::{Description, SdpError};
use rtcd_media::sfu::command::TransportId;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// The way that a description takes; an answer goes back the way its offer came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum SignalingChannel {
    WebSocket,
    DataChannel,
}

/// Reads a JSON object. Serde alone would take an array of the fields' values for one, too.
pub(super) fn object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    json.trim_ascii_start().starts_with(b"{").then(|| serde_json::from_slice(json).ok()).flatten()
}

/// A description as it travels.
#[derive(Serialize, Deserialize)]
pub(super) struct DescriptionJson<'a> {
    #[serde(rename = "type")]
    pub(super) kind: Cow<'a, str>,
    pub(super) sdp: Cow<'a, str>,
}

/// What has been read.
#[derive(Debug)]
pub(super) enum Read {
    Offer(Description),
    Answer(Description),
}

/// Why a description cannot be read: the participant's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Channel(#[from] DataChannelError),
    #[error("a description that is too large")]
    TooLarge,
    #[error("a description that is not the JSON of one")]
    NotJson,
    #[error(transparent)]
    Sdp(#[from] SdpError),
    #[error("a description that is neither offer nor answer")]
    UnknownType,
    /// Ours to mend; the panic was logged.
    #[error("a description that hit a bug")]
    Bug,
}

impl ReadError {
    pub(super) fn kind(&self) -> ErrorKind {
        if let Self::Channel(_) = self { ErrorKind::DataChannel } else { ErrorKind::Signaling }
    }
}

/// What has become of a description that was read beside the actor.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) id: TransportId,
    pub(super) channel: SignalingChannel,
    /// How long it took.
    pub(super) took: Duration,
    pub(super) read: Result<Read, ReadError>,
}

/// Reads on a thread for blocking work; the outcome comes out of `outcomes`.
pub(super) fn spawn(
    id: TransportId,
    channel: SignalingChannel,
    bytes: Vec<u8>,
    outcomes: mpsc::UnboundedSender<Outcome>,
) {
    tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        let read = std::panic::catch_unwind(|| read(channel, &bytes)).unwrap_or(Err(ReadError::Bug));
        // An actor that has ended wants none.
        let _ = outcomes.send(Outcome { id, channel, took: begun.elapsed(), read });
    });
}

/// What a description says.
pub(super) fn read(channel: SignalingChannel, bytes: &[u8]) -> Result<Read, ReadError> {
    let json = match channel {
        SignalingChannel::DataChannel => Cow::from(data_channel::inflate(bytes)?),
        SignalingChannel::WebSocket => Cow::from(bytes),
    };
    if json.len() > MAX_SDP {
        return Err(ReadError::TooLarge);
    }
    let message = object::<DescriptionJson<'_>>(&json).ok_or(ReadError::NotJson)?;
    let description = Description::parse(&message.sdp)?;
    match message.kind.as_ref() {
        "offer" => Ok(Read::Offer(description)),
        "answer" => Ok(Read::Answer(description)),
        _ => Err(ReadError::UnknownType),
    }
}
