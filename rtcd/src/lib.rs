//! rtcd: the media server of Mattermost Calls.
//!
//! Three worlds kept apart: control (api, signal, auth, store, config, metrics), plane, and the media core (`rtcd-media`).
pub mod api;
pub mod auth;
pub mod demo;
pub mod ids;
pub mod metrics;
pub mod plane;
pub mod signal;
pub mod store;
