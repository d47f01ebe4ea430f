//! rtcd: the media server of Mattermost Calls.
//!
//! Three worlds kept apart: control (api, signal, auth, store, config, metrics), plane, and the media core (`rtcd-media`).
pub mod admission;
pub mod api;
pub mod auth;
pub mod build_info;
pub mod check;
pub mod check_page;
pub mod cli;
pub mod client;
pub mod demo;
pub mod exit_code;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod handover;
pub mod ids;
pub mod listener;
mod local_socket;
pub mod logging;
pub mod memory;
pub mod metrics;
pub mod net;
pub mod notices;
pub mod plane;
pub mod privileges;
pub mod reload;
pub mod service;
pub mod shutdown;
pub mod signal;
pub use rtcd_media::source;
pub mod status;
pub mod store;
pub mod systemd;
mod web_page;

pub use rtcd_config as config;
