//! The provisioning agent: from what an admin and a cloud say to a running rtcd.
//!
//! The way of a value: [`facts`] -> [`detect`] -> [`source`] -> [`metadata::Metadata`] -> [`user_data`] (its forms) ->
//! [`cloud_config`] (what it may say, with every mistake) -> merge -> render -> apply. Before anybody is asked over the network,
//! [`network`] has set it up; after a run that failed, [`retry`] makes others.
#![forbid(unsafe_code)]
pub mod agent;
pub mod apply;
mod chain;
pub mod cli;
pub mod cloud_config;
pub mod commands;
pub mod console;
pub mod detect;
pub mod draft;
mod encoding;
pub mod exit_code;
pub mod facts;
pub mod failure;
pub mod fuzzing;
pub mod http;
pub mod journal;
pub mod logs_watch;
pub mod merge;
pub mod metadata;
pub mod mistake;
pub mod nearest;
pub mod network;
pub mod notice;
pub mod plan;
pub mod refresh;
pub mod render;
pub mod retry;
pub mod run;
pub mod source;
pub mod state;
pub mod status;
pub mod syslog;
pub mod system;
pub mod update;
pub mod user_data;
pub mod volume;
pub mod yaml;
