//! What signalling decides, in virtual time: clients, participants and a plane of values around [`Signalling`].
use super::*;

mod candidates;
mod connections;
mod crash;
mod forwarding;
mod handover;
mod life;
mod lock;
mod participant;
mod tracks;
mod turns;
mod world;
