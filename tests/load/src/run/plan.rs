//! What is played.
use crate::process;
use crate::traffic::Shape;
use anyhow::{Result, bail};
use std::net::IpAddr;
use std::time::Duration;

/// What is played.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Calls.
    pub calls: u32,
    /// Participants of each.
    pub participants: u32,
    /// How many of each call speak.
    pub voices: u32,
    /// Whether one of each call shares its screen.
    pub screen: bool,
    /// How many of each call show themselves.
    pub cameras: u32,
    /// Screens come in two layers.
    pub simulcast: bool,
    /// Media over TCP.
    pub tcp: bool,
    /// How long it is measured.
    pub lasting: Duration,
    /// How long nothing is measured after everybody is there.
    pub warm_up: Duration,
    /// Participants who leave, and others who come, each second.
    pub churn: f64,
    /// Threads that play.
    pub threads: usize,
    /// The server's process, when it is on this machine.
    pub pid: Option<u32>,
    /// The address that participants have; else the one that leads to the API.
    pub local: Option<IpAddr>,
}

impl Plan {
    /// All participants.
    pub fn total(&self) -> u32 {
        self.calls * self.participants
    }

    /// What the participant of this place in its call sends.
    pub fn sections(&self, place: u32) -> Vec<Vec<Shape>> {
        let mut sections = Vec::new();
        if place < self.voices {
            sections.push(vec![Shape::VOICE]);
        }
        if place == 0 && self.screen {
            sections.push(if self.simulcast { Shape::SCREEN_LAYERS.to_vec() } else { vec![Shape::SCREEN] });
        }
        if place < self.cameras {
            sections.push(vec![Shape::CAMERA]);
        }
        sections
    }
}

/// Whether it can be played at all.
pub(super) fn check(plan: &Plan) -> Result<()> {
    if plan.calls == 0 || plan.participants == 0 || plan.threads == 0 || plan.lasting.is_zero() {
        bail!("--calls, --participants, --threads and --seconds must be 1 at least");
    }
    if plan.voices > plan.participants || plan.cameras > plan.participants {
        bail!("--voices and --cameras are of each call: at most its --participants ({})", plan.participants);
    }
    let senders = plan.voices.max(plan.cameras).max(u32::from(plan.screen));
    if plan.churn > 0.0 && senders >= plan.participants {
        bail!("--churn lets those leave who only listen, and here everybody sends: raise --participants");
    }
    if let Some(pid) = plan.pid {
        process::cpu(pid)?;
    }
    Ok(())
}
