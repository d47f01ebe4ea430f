//! A daemon, a Mattermost node that is connected to it, and participants: the stage of most tests.
use crate::daemon::{Daemon, DaemonConfig};
use crate::mattermost::Mattermost;
use crate::peer::{Peer, PeerConfig};
use crate::plugin::Plugin;
use anyhow::Result;
use std::net::SocketAddr;

/// An Opus frame is opaque to everybody but its decoder.
pub const VOICE: &[u8] = b"twenty milliseconds of voice";
/// VP8 payload: the lowest bit of the first byte is 0 in a key frame (RFC 6386, section 9.1).
pub const KEY_FRAME: &[u8] = &[0x10, 2, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00, 7, 7, 7, 7];
/// VP8 payload of a frame that refers to others.
pub const DELTA_FRAME: &[u8] = &[0x11, 2, 0, 8, 8, 8, 8, 8];

pub struct World {
    pub daemon: Daemon,
    /// The installation `mattermost`.
    pub plugin: Plugin,
    pub node: Mattermost,
}

impl World {
    pub async fn start() -> Result<Self> {
        Self::start_with(DaemonConfig::new()).await
    }
    /// The same with another configuration.
    pub async fn start_with(config: DaemonConfig) -> Result<Self> {
        let daemon = Daemon::start(config);
        let plugin = Plugin::new(daemon.api_addr(), "mattermost");
        let node = Mattermost::connect(&plugin).await?;
        Ok(Self { daemon, plugin, node })
    }
    pub fn media(&self) -> SocketAddr {
        self.daemon.media_addr()
    }
    /// A participant of the call `call`.
    pub async fn join(&self, name: &str) -> Result<Peer> {
        self.join_with(PeerConfig::new("call", name)).await
    }
    pub async fn join_with(&self, config: PeerConfig) -> Result<Peer> {
        Peer::join(&self.node, config, self.media()).await
    }
    /// `rtcd_rtc_errors_total` of `mattermost` of one type.
    pub fn errors(&self, kind: &str) -> f64 {
        self.daemon.metric(&format!("rtcd_rtc_errors_total{{groupID=\"mattermost\",type=\"{kind}\"}}"))
    }
}
