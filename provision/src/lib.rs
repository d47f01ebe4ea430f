//! The provisioning agent: from what an admin and a cloud say to a running rtcd.
//!
//! The way of a value: [`facts`] -> [`detect`] -> [`source`] -> [`metadata::Metadata`] -> [`user_data`] (its forms) ->
//! [`cloud_config`] (what it may say, with every mistake) -> merge -> render -> apply.
#![forbid(unsafe_code)]
pub mod cloud_config;
pub mod detect;
pub mod facts;
pub mod fuzzing;
pub mod http;
pub mod metadata;
pub mod mistake;
pub mod nearest;
pub mod source;
pub mod user_data;
pub mod volume;
pub mod yaml;
