//! SCTP with its guard: an association with an open channel, then whatever the input says.
use super::forge::{self, FIRST_TSN, SctpClient};
use super::operations;
use crate::handover;
use crate::sctp::{ChannelId, MAX_MESSAGE, Sctp, SctpEvent};
use std::time::{Duration, Instant};

/// Answers to one packet: an acknowledgement, retransmissions of a window, no more.
const MAX_ANSWERS: usize = 600;

/// Steps: 0 a raw packet, 1 ours to send, 2 time passes, 3 another process goes on, after a death when bytes come with it, others
/// chunks behind a right header. A first step 255 begins before the association is up.
pub fn sctp(input: &[u8]) {
    let mut now = Instant::now();
    let mut server = Sctp::new(now);
    let mut steps = operations(input).peekable();
    let from_nothing = steps.next_if(|step| step.what == 255).is_some();
    let Some(client) = associate(&mut server, now, !from_nothing) else { unreachable!("the server answers INIT") };
    for step in steps {
        let data = step.bytes;
        match step.what % 8 {
            0 => server.handle_packet(now, data.to_vec()),
            1 => {
                let _ = server.send(now, ChannelId(1), false, data);
            }
            2 => {
                now += Duration::from_millis(10 * u64::from(data.first().copied().unwrap_or(100)));
                server.handle_timeout(now);
            }
            3 if data.is_empty() => server = handed_over(server, now),
            3 => server = survived(&server, now),
            _ => server.handle_packet(now, client.packet(data)),
        }
        if drain(&mut server) {
            return;
        }
    }
}

/// The association as another process goes on with it, or begins it anew.
fn handed_over(server: Sctp, now: Instant) -> Sctp {
    let mut bytes = Vec::new();
    handover::write(&mut bytes, 1, now, &server.suspend(now));
    match handover::read(&bytes, 1, now) {
        Ok(state) => Sctp::resume(state, now),
        Err(error) => panic!("what was written can be read: {error}"),
    }
}

/// The association as another process goes on with it when this one has died.
fn survived(server: &Sctp, now: Instant) -> Sctp {
    let (mut state, numbers) = (server.outline(), server.numbers());
    state.leap(Some(numbers));
    Sctp::resume(state, now)
}

fn associate(server: &mut Sctp, now: Instant, whole: bool) -> Option<SctpClient> {
    server.handle_packet(now, SctpClient::init());
    let (client, echo) = SctpClient::accept(&server.poll_packet()?)?;
    if whole {
        server.handle_packet(now, echo);
        server.handle_packet(now, client.packet(&forge::open_channel(FIRST_TSN, 1, "calls-dc")));
        let opened = server.poll_event();
        assert!(matches!(opened, Some(SctpEvent::ChannelOpen { id: ChannelId(1), .. })), "{opened:?}");
    }
    Some(client)
}

/// Whether the association has ended.
fn drain(server: &mut Sctp) -> bool {
    let mut lost = false;
    let mut answers = 0;
    while let Some(packet) = server.poll_packet() {
        assert!(packet.len() <= 1500, "a packet of {} bytes", packet.len());
        answers += 1;
    }
    assert!(answers <= MAX_ANSWERS, "{answers} packets at once");
    while let Some(event) = server.poll_event() {
        match event {
            SctpEvent::Message { data, .. } => assert!(data.len() <= MAX_MESSAGE),
            SctpEvent::ChannelOpen { label, .. } => assert!(label.len() <= 256),
            SctpEvent::Lost => lost = true,
        }
    }
    lost
}
