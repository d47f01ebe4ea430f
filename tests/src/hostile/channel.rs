//! The attacker's SCTP association: chunks by hand, and enough manners to know whether it still lives.
use super::{Attacker, PATIENCE};
use anyhow::{Context as _, Result};
use rtcd_media::fuzzing::forge::{self, Data, FIRST_TSN, SctpClient};
use std::time::{Duration, Instant};

/// How long to wait before something is said again: below the daemon's patience, above a busy machine's.
const REPEAT: Duration = Duration::from_millis(300);

/// An association with `calls-dc` open on stream 1.
pub struct Channel {
    /// The attacker below it.
    pub attacker: Attacker,
    client: SctpClient,
    /// Number of the next DATA chunk and of the next message.
    pub next: (u32, u16),
    /// The daemon's newest TSN.
    heard: Option<u32>,
    /// Whole messages of the daemon.
    messages: Vec<Vec<u8>>,
}

impl Channel {
    /// Checks, shakes hands, associates and opens the channel.
    pub fn open(mut attacker: Attacker) -> Result<Self> {
        attacker.check()?;
        attacker.handshake()?;
        let (client, echo) = loop {
            attacker.send_data(&SctpClient::init())?;
            if let Some(packet) = attacker.receive_data(REPEAT)?
                && let Some(accepted) = SctpClient::accept(&packet)
            {
                break accepted;
            }
            anyhow::ensure!(!attacker.is_closed(), "closed before the association was up");
        };
        attacker.send_data(&echo)?;
        let mut channel = Self { attacker, client, next: (FIRST_TSN + 1, 1), heard: None, messages: Vec::new() };
        let open = forge::open_channel(FIRST_TSN, 1, "calls-dc");
        // The channel's ACK is the daemon's first message.
        channel.ask(&open, |message| message == [2])?.then_some(()).context("the channel does not open")?;
        Ok(channel)
    }

    /// One packet with these chunks.
    pub fn send(&mut self, chunks: &[u8]) -> Result<()> {
        let packet = self.client.packet(chunks);
        self.attacker.send_data(&packet)
    }

    /// Many, at a pace that the receive buffer stands, and below what the daemon takes in a second if `polite`.
    pub fn flood(&mut self, chunks: impl IntoIterator<Item = Vec<u8>>, polite: bool) -> Result<()> {
        for (count, chunks) in chunks.into_iter().enumerate() {
            self.send(&chunks)?;
            if polite || count % 32 == 31 {
                std::thread::sleep(Duration::from_millis(if polite { 6 } else { 1 }));
            }
        }
        Ok(())
    }

    /// The next message in order, as a chunk.
    pub fn message(&mut self, payload: &[u8]) -> Vec<u8> {
        let (tsn, ssn) = self.next;
        self.next = (tsn.wrapping_add(1), ssn.wrapping_add(1));
        Data::whole(tsn, 1, ssn).chunk(payload)
    }

    /// Whether a ping is answered: the association, the channel and the session live.
    pub fn ping(&mut self) -> Result<bool> {
        let ping = self.message(&[1]);
        // Messages of before do not count.
        self.messages.clear();
        self.ask(&ping, |message| message == [2])
    }

    /// Repeats a chunk until `answered` likes a message.
    fn ask(&mut self, chunk: &[u8], answered: impl Fn(&[u8]) -> bool) -> Result<bool> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && !self.attacker.is_closed() {
            self.send(chunk)?;
            while let Some(packet) = self.attacker.receive_data(REPEAT)? {
                self.read(&packet)?;
                if self.messages.iter().any(|message| answered(message)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn read(&mut self, packet: &[u8]) -> Result<()> {
        let mut chunks = packet.get(12..).unwrap_or_default();
        let mut acknowledge = false;
        while let Some(header) = chunks.get(..4) {
            let len = usize::from(u16::from_be_bytes([header[2], header[3]])).max(4);
            let chunk = chunks.get(..len).context("the daemon's chunk lies")?;
            if header[0] == 0 && len > 16 {
                let tsn = u32::from_be_bytes(chunk[4..8].try_into()?);
                acknowledge = true;
                if self.heard.is_none_or(|heard| tsn.wrapping_sub(heard) == 1) {
                    self.heard = Some(tsn);
                    self.messages.push(chunk[16..].to_vec());
                }
            }
            chunks = chunks.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
        if let Some(heard) = self.heard.filter(|_| acknowledge) {
            let mut sack = heard.to_be_bytes().to_vec();
            sack.extend([0, 2, 0, 0, 0, 0, 0, 0]);
            self.send(&forge::chunk(3, 0, &sack))?;
        }
        Ok(())
    }
}
