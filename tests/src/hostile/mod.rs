//! A participant that breaks the rules: signalling as any other, then STUN, DTLS records and SCTP chunks by hand.
mod channel;
pub mod records;

use crate::mattermost::Mattermost;
use crate::plugin::{Join, Received, rtc};
use anyhow::{Context as _, Result, ensure};
use rtcd_media::dtls::{Dtls, DtlsEvent, Fingerprint, Identity, Role};
use rtcd_media::fuzzing::forge;
use rtcd_media::srtp::{KeyingMaterial, Protector};
use serde_json::json;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

pub use channel::Channel;

/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long silence is listened to before it counts as such.
pub const SILENCE: Duration = Duration::from_millis(300);
/// Datagrams that are sent in one go; then the daemon gets a moment, as a full receive buffer would hit everybody.
const BURST: usize = 32;

const UFRAG: &str = "evil";
const PASSWORD: &str = "a password of the attacker";

/// What the daemon's answer said of its transport.
#[derive(Debug, Clone)]
struct Answer {
    ufrag: String,
    password: String,
    fingerprint: Fingerprint,
}

/// An attacker with a session of its own.
pub struct Attacker {
    pub join: Join,
    daemon: SocketAddr,
    socket: UdpSocket,
    said: mpsc::UnboundedReceiver<Received>,
    identity: Identity,
    answer: Answer,
    ufrag: String,
    dtls: Option<Dtls>,
    keys: Option<KeyingMaterial>,
    /// SCTP packets that came.
    packets: Vec<Vec<u8>>,
    closed: bool,
}

impl Attacker {
    /// Joins and offers a data channel with an honest fingerprint; nothing is sent to the media port.
    pub async fn join(node: &Mattermost, name: &str, daemon: SocketAddr) -> Result<Self> {
        let identity = Identity::generate()?;
        let fingerprint = identity.fingerprint();
        Self::join_as(node, name, daemon, identity, fingerprint).await
    }

    /// The same with a fingerprint that is none of its certificate.
    pub async fn join_lying(node: &Mattermost, name: &str, daemon: SocketAddr) -> Result<Self> {
        let other = Identity::generate()?.fingerprint();
        Self::join_as(node, name, daemon, Identity::generate()?, other).await
    }

    async fn join_as(
        node: &Mattermost,
        name: &str,
        daemon: SocketAddr,
        identity: Identity,
        fingerprint: Fingerprint,
    ) -> Result<Self> {
        let join = Join::new("call of an attacker", name);
        let mut said = node.listen(name);
        node.join(&join);
        node.rtc(&join, rtc::SDP, Some(json!({"type": "offer", "sdp": offer(fingerprint)})));
        let answer = loop {
            let message = tokio::time::timeout(PATIENCE, said.recv()).await.context("no answer came")?;
            match message.context("the node has gone")? {
                Received::Rtc(message) if message.kind == rtc::SDP => break read_answer(&message.json())?,
                _ => {}
            }
        };
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(5)))?;
        let (dtls, keys, packets) = (None, None, Vec::new());
        let ufrag = UFRAG.to_owned();
        Ok(Self { join, daemon, socket, said, identity, answer, ufrag, dtls, keys, packets, closed: false })
    }

    /// Offers `times` restarts of ICE in a row and waits for the last answer.
    pub async fn restart_ice(&mut self, node: &Mattermost, times: u32) -> Result<()> {
        let sdp = offer(self.identity.fingerprint());
        for number in 0..times {
            let sdp = sdp.replace(&format!("a=ice-ufrag:{UFRAG}"), &format!("a=ice-ufrag:{UFRAG}{number}"));
            node.rtc(&self.join, rtc::SDP, Some(json!({"type": "offer", "sdp": sdp})));
            let answer = loop {
                let message = tokio::time::timeout(PATIENCE, self.said.recv()).await.context("no answer came")?;
                match message.context("the node has gone")? {
                    Received::Rtc(message) if message.kind == rtc::SDP => break read_answer(&message.json())?,
                    _ => {}
                }
            };
            self.answer = answer;
        }
        self.ufrag = format!("{UFRAG}{}", times - 1);
        Ok(())
    }

    /// A connectivity check with this password instead of the right one, if any.
    pub fn check_with(&self, password: Option<&str>) -> Vec<u8> {
        let username = format!("{}:{}", self.answer.ufrag, self.ufrag);
        let attributes = [(6, username.as_bytes()), forge::PRIORITY, forge::ICE_CONTROLLING, forge::USE_CANDIDATE];
        forge::stun_request(rand::random(), &attributes, Some(password.unwrap_or(&self.answer.password)))
    }

    /// Checks until an answer comes: the daemon then knows the address.
    pub fn check(&self) -> Result<()> {
        self.ask(&self.check_with(None))
    }

    /// Repeats a check until its own answer comes, whatever else comes before.
    pub fn ask(&self, check: &[u8]) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            self.send(check)?;
            let sent = Instant::now();
            while sent.elapsed() < SILENCE
                && let Some(answer) = self.receive(SILENCE)?
            {
                if answer.starts_with(&[1, 1]) && answer.get(8..20) == check.get(8..20) {
                    return Ok(());
                }
            }
        }
        anyhow::bail!("no check was answered")
    }

    pub fn send(&self, datagram: &[u8]) -> Result<()> {
        self.socket.send_to(datagram, self.daemon)?;
        Ok(())
    }

    /// Many, at a pace that the receive buffer stands.
    pub fn flood<T: AsRef<[u8]>>(&self, datagrams: impl IntoIterator<Item = T>) -> Result<()> {
        for (count, datagram) in datagrams.into_iter().enumerate() {
            self.send(datagram.as_ref())?;
            if count % BURST == BURST - 1 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    /// The next datagram within `patience`.
    pub fn receive(&self, patience: Duration) -> Result<Option<Vec<u8>>> {
        let deadline = Instant::now() + patience;
        let mut buffer = [0; 2048];
        loop {
            match self.socket.recv_from(&mut buffer) {
                Ok((len, from)) if from == self.daemon => return Ok(Some(buffer[..len].to_vec())),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error.into()),
            }
            if Instant::now() > deadline {
                return Ok(None);
            }
        }
    }

    /// From another address that no check has come from: whether anything comes back for `datagram`.
    pub fn is_answered_elsewhere(&self, datagram: &[u8]) -> Result<bool> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(SILENCE))?;
        socket.send_to(datagram, self.daemon)?;
        Ok(socket.recv_from(&mut [0; 2048]).is_ok())
    }

    /// A DTLS client; its first flight, not yet sent.
    pub fn client_hello(&mut self) -> Result<Vec<u8>> {
        let mut dtls = Dtls::new(&self.identity, Role::Client, self.answer.fingerprint, Instant::now())?;
        let hello = dtls.poll_datagram().context("a client speaks first")?;
        self.dtls = Some(dtls);
        Ok(hello)
    }

    /// Says hello and takes the daemon's flight in, but leaves it unanswered.
    pub fn begin_handshake(&mut self) -> Result<()> {
        let hello = self.client_hello()?;
        self.send(&hello)?;
        let flight = self.receive(PATIENCE)?.context("hello is not answered")?;
        ensure!((20..=63).contains(&flight[0]), "no DTLS but {flight:02x?}");
        Ok(())
    }

    /// The whole handshake; an error when the daemon does not go along.
    pub fn handshake(&mut self) -> Result<()> {
        let hello = self.client_hello()?;
        self.send(&hello)?;
        let deadline = Instant::now() + PATIENCE;
        while self.keys.is_none() {
            ensure!(Instant::now() < deadline && !self.is_closed(), "the handshake did not succeed");
            self.pump(Duration::from_millis(50))?;
        }
        Ok(())
    }

    /// Takes in what comes until it is quiet for `quiet`.
    fn pump(&mut self, quiet: Duration) -> Result<()> {
        let mut datagram = self.receive(quiet)?;
        let now = Instant::now();
        let Some(dtls) = &mut self.dtls else { return Ok(()) };
        if datagram.is_none() && dtls.next_timeout().is_some_and(|at| at <= now) {
            dtls.handle_timeout(now)?;
        }
        while let Some(bytes) = datagram.take() {
            if (20..=63).contains(&bytes[0]) {
                dtls.handle_datagram(now, &bytes)?;
            }
        }
        while let Some(event) = dtls.poll_event() {
            match event {
                DtlsEvent::Connected(keys) => self.keys = Some(keys),
                DtlsEvent::Data(packet) => self.packets.push(packet),
                DtlsEvent::Closed => self.closed = true,
            }
        }
        while let Some(datagram) = self.dtls.as_mut().and_then(Dtls::poll_datagram) {
            self.send(&datagram)?;
        }
        Ok(())
    }

    /// Sends application data of DTLS: an SCTP packet.
    pub fn send_data(&mut self, packet: &[u8]) -> Result<()> {
        let dtls = self.dtls.as_mut().context("no handshake")?;
        dtls.send(packet)?;
        while let Some(datagram) = self.dtls.as_mut().and_then(Dtls::poll_datagram) {
            self.send(&datagram)?;
        }
        Ok(())
    }

    /// The next SCTP packet within `patience`.
    fn receive_data(&mut self, patience: Duration) -> Result<Option<Vec<u8>>> {
        let deadline = Instant::now() + patience;
        while self.packets.is_empty() && Instant::now() < deadline && !self.closed {
            self.pump(Duration::from_millis(20))?;
        }
        Ok((!self.packets.is_empty()).then(|| self.packets.remove(0)))
    }

    /// What protects the media that it sends.
    pub fn protector(&self) -> Result<Protector> {
        Ok(self.keys.as_ref().context("no handshake")?.split(true).0)
    }

    /// Whether `close` has come for its session.
    pub fn is_closed(&mut self) -> bool {
        while let Ok(message) = self.said.try_recv() {
            self.closed |= matches!(message, Received::Close { .. });
        }
        self.closed
    }
}

fn offer(fingerprint: Fingerprint) -> String {
    let lines = [
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        "a=mid:0",
        &format!("a=ice-ufrag:{UFRAG}"),
        &format!("a=ice-pwd:{PASSWORD}"),
        &format!("a=fingerprint:{fingerprint}"),
        "a=setup:active",
        "a=sctp-port:5000",
    ];
    lines.map(|line| format!("{line}\r\n")).concat()
}

fn read_answer(message: &serde_json::Value) -> Result<Answer> {
    let sdp = message["sdp"].as_str().context("no sdp")?;
    let value = |name: &str| sdp.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    Ok(Answer {
        ufrag: value("a=ice-ufrag:").context("no ufrag")?,
        password: value("a=ice-pwd:").context("no password")?,
        fingerprint: value("a=fingerprint:").and_then(|value| Fingerprint::parse(&value)).context("no fingerprint")?,
    })
}
