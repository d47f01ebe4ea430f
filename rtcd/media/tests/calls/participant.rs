//! A participant made of str0m, which opens its own sockets never: bytes and time in, bytes out.
mod hello;

use crate::encoder::{Encoder, Layer};
use crate::heard::Heard;
use crate::screen::Screen;
use hello::Hello;
use rtcd_media::ice::Credentials;
use rtcd_media::sfu::command::{TrackId, TransportId};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use str0m::channel::{ChannelConfig, ChannelId};
use str0m::media::{KeyframeRequestKind, MediaKind, Mid};
use str0m::net::{Protocol, Receive, TcpType};
use str0m::rtp::rtcp::SenderInfo;
use str0m::rtp::{ExtensionValues, RtpWrite, Ssrc};
use str0m::{Candidate, Event, IceCreds, Input, Output, Rtc, RtcConfig};

pub const VP8: u8 = 96;
pub const VP8_RTX: u8 = 97;
pub const OPUS: u8 = 111;
const VOICE_INTERVAL: Duration = Duration::from_millis(20);
/// 40 kbit/s.
const VOICE_PACKET: usize = 100;
/// Of a voice whose loudness does not matter, in dBov.
const LEVEL: i8 = -30;

/// The ports of all participants; what comes from another one has passed a NAT.
const UDP_PORT: u16 = 5000;
pub const TCP_PORT: u16 = 5001;

/// How a participant differs from a browser on UDP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// It knows neither RTX nor transport-wide feedback.
    pub is_simple: bool,
    /// It has a TCP connection, too.
    pub has_tcp: bool,
    /// It insists on being the DTLS server.
    pub is_dtls_server: bool,
}

/// A track that it sends.
pub struct Sent {
    pub track: TrackId,
    pub mid: String,
    pub encoders: Vec<(Encoder, Ssrc, u64)>,
    voice: Option<Voice>,
}

/// A microphone.
struct Voice {
    ssrc: Ssrc,
    number: u64,
    next: Instant,
    /// How loud its packets are, in turn, in dBov.
    levels: &'static [i8],
}

/// What became of it.
#[derive(Default)]
pub struct Seen {
    pub is_connected: bool,
    pub connected_at: Option<Instant>,
    pub channel_at: Option<Instant>,
    /// What was said on the data channel.
    pub messages: Vec<String>,
    pub keyframe_requests: Vec<Instant>,
    pub screens: HashMap<TrackId, Screen>,
    pub voices: HashMap<TrackId, Heard>,
    /// What sender reports said of a track's clock, and when.
    pub clocks: HashMap<TrackId, Vec<(Instant, SenderInfo)>>,
}

pub struct Participant {
    pub id: TransportId,
    /// Its UDP socket.
    pub address: SocketAddr,
    pub rtc: Rtc,
    pub sent: Vec<Sent>,
    /// Tracks that come, by the SSRC that they have here.
    pub received: HashMap<u32, (TrackId, MediaKind)>,
    pub seen: Seen,
    channel: Option<ChannelId>,
    pub timeout: Instant,
    started: Instant,
    /// Its first words of DTLS, while nothing has come in answer.
    hello: Option<Hello>,
    pub manner: Manner,
}

/// What it wants others to be told.
pub enum Wants {
    Send { from: SocketAddr, to: SocketAddr, bytes: Vec<u8> },
}

impl Participant {
    /// `began`: where the clock of all voices begins.
    pub fn new(id: TransportId, host: IpAddr, manner: Manner, began: Instant, now: Instant) -> Self {
        let mut config = RtcConfig::new().set_rtp_mode(true).set_stats_interval(None);
        // Browsers check a path that does not answer several times a second; up to 30 s of darkness.
        config.set_initial_stun_rto(Duration::from_millis(100));
        config.set_max_stun_rto(Duration::from_millis(500));
        // With another path at hand they give one up much sooner.
        config.set_max_stun_retransmits(if manner.has_tcp { 8 } else { 60 });
        let mut rtc = config.build(now);
        let address = SocketAddr::new(host, UDP_PORT);
        rtc.add_local_candidate(over_udp(address));
        if manner.has_tcp {
            rtc.add_local_candidate(over_tcp(SocketAddr::new(host, TCP_PORT), TcpType::Active));
        }
        let mut api = rtc.direct_api();
        api.set_ice_controlling(true);
        if !manner.is_simple {
            api.enable_twcc_feedback();
        }
        api.create_data_channel(ChannelConfig { label: "calls-dc".into(), ..ChannelConfig::default() });
        Self {
            id,
            address,
            rtc,
            sent: Vec::new(),
            received: HashMap::new(),
            seen: Seen::default(),
            channel: None,
            timeout: now,
            started: began,
            hello: None,
            manner,
        }
    }

    /// Begins to connect to a server with these credentials.
    pub fn connect(&mut self, server: SocketAddr, credentials: &Credentials, fingerprint: &str) {
        self.rtc.add_remote_candidate(over_udp(server));
        self.rtc.add_remote_candidate(over_tcp(server, TcpType::Passive));
        let mut api = self.rtc.direct_api();
        api.set_remote_ice_credentials(IceCreds {
            ufrag: credentials.ufrag.clone(),
            pass: credentials.password.clone(),
        });
        api.set_remote_fingerprint(fingerprint.parse().expect("a fingerprint"));
        let is_client = !self.manner.is_dtls_server;
        api.start_dtls(is_client).expect("DTLS");
        api.start_sctp(is_client);
    }

    /// Its network has come back: it checks the path over UDP anew, which it may have given up. Browsers do so when an
    /// interface is up again.
    pub fn renew_udp(&mut self) {
        let candidate = over_udp(self.address);
        self.rtc.direct_api().invalidate_candidate(&candidate);
        self.rtc.add_local_candidate(candidate);
    }

    /// Its end of its TCP connection.
    pub fn tcp_address(&self) -> SocketAddr {
        SocketAddr::new(self.address.ip(), TCP_PORT)
    }

    /// Whether it has a socket there.
    pub fn is_at(&self, address: SocketAddr) -> bool {
        address.ip() == self.address.ip() && (address.port() != TCP_PORT || self.manner.has_tcp)
    }

    pub fn add_video(&mut self, track: TrackId, mid: &str, layers: &[Layer], now: Instant) {
        let mut api = self.rtc.direct_api();
        api.declare_media(Mid::from(mid), MediaKind::Video);
        let mut encoders = Vec::new();
        for layer in layers {
            let (ssrc, rtx) = (api.new_ssrc(), api.new_ssrc());
            api.declare_stream_tx(ssrc, Some(rtx), Mid::from(mid), layer.rid.map(Into::into));
            encoders.push((Encoder::new(*layer, now), ssrc, 0));
        }
        self.sent.push(Sent { track, mid: mid.into(), encoders, voice: None });
    }

    pub fn add_voice(&mut self, track: TrackId, mid: &str, now: Instant) {
        let mut api = self.rtc.direct_api();
        api.declare_media(Mid::from(mid), MediaKind::Audio);
        let ssrc = api.new_ssrc();
        api.declare_stream_tx(ssrc, None, Mid::from(mid), None);
        let voice = Some(Voice { ssrc, number: 0, next: now, levels: &[LEVEL] });
        self.sent.push(Sent { track, mid: mid.into(), encoders: Vec::new(), voice });
    }

    /// Its voices are so loud from now on, in dBov; one packet after the other.
    pub fn set_levels(&mut self, levels: &'static [i8]) {
        self.sent.iter_mut().filter_map(|sent| sent.voice.as_mut()).for_each(|voice| voice.levels = levels);
    }

    /// A track of somebody else's will come in a section and under an SSRC of its own.
    pub fn expect(&mut self, track: TrackId, kind: MediaKind, mid: &str, ssrc: u32, rtx: Option<u32>) {
        let mut api = self.rtc.direct_api();
        api.declare_media(Mid::from(mid), kind);
        let stream = api.expect_stream_rx(ssrc.into(), rtx.map(Into::into), Mid::from(mid), None);
        // Browsers do not ask for lost voice again.
        stream.suppress_nack(kind == MediaKind::Audio);
        self.received.insert(ssrc, (track, kind));
    }

    /// The track ends; its stream, if it came.
    pub fn forget(&mut self, track: TrackId) -> Option<u32> {
        self.seen.screens.remove(&track);
        let ssrc = self.received.iter().find(|(_, (known, _))| *known == track).map(|(ssrc, _)| *ssrc)?;
        self.received.remove(&ssrc);
        Some(ssrc)
    }

    /// Stops or goes on with one layer of what it sends.
    pub fn set_running(&mut self, track: TrackId, layer: u8, is_running: bool, now: Instant) {
        let of_track = self.sent.iter_mut().filter(|sent| sent.track == track).flat_map(|sent| &mut sent.encoders);
        for (encoder, ..) in of_track.filter(|(encoder, ..)| encoder.layer.number == layer) {
            encoder.is_running = is_running;
            encoder.next_frame = encoder.next_frame.max(now);
        }
    }

    /// When it wants to be called: its own deadlines and what its tracks have to send.
    /// Says something on the data channel.
    pub fn say(&mut self, text: &str) {
        let mut channel =
            self.channel.and_then(|id| self.rtc.channel(id)).unwrap_or_else(|| panic!("no channel for {text:?}"));
        assert!(matches!(channel.write(false, text.as_bytes()), Ok(true)), "no room for a message");
    }

    pub fn next_timeout(&self) -> Instant {
        let frames = self.sent.iter().flat_map(|sent| &sent.encoders).filter(|(encoder, ..)| encoder.is_running);
        let frames = frames.map(|(encoder, ..)| encoder.next_frame);
        let voices = self.sent.iter().filter_map(|sent| Some(sent.voice.as_ref()?.next));
        let hello = self.hello.as_ref().map(|hello| hello.again);
        frames.chain(voices).chain(hello).fold(self.timeout, Instant::min)
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        self.rtc.handle_input(Input::Timeout(now)).expect("no error");
        let mut writes = Vec::new();
        for sent in &mut self.sent {
            for (encoder, ssrc, number) in &mut sent.encoders {
                while encoder.is_running && encoder.next_frame <= now {
                    let (time, payloads) = encoder.encode(now);
                    for payload in payloads {
                        let ext_vals = ExtensionValues::default();
                        let write = RtpWrite::new(VP8.into(), (*number).into(), time, now, payload.bytes);
                        writes.push((*ssrc, write.marker(payload.marker).nackable(true).ext_vals(ext_vals)));
                        *number += 1;
                    }
                }
            }
            if let Some(Voice { ssrc, number, next, levels }) = &mut sent.voice
                && *next <= now
            {
                *next = now + VOICE_INTERVAL;
                if self.seen.is_connected {
                    let audio_level = Some(levels[*number as usize % levels.len()]);
                    let ext_vals = ExtensionValues { audio_level, voice_activity: Some(true), ..Default::default() };
                    let mut payload = vec![0; VOICE_PACKET];
                    payload[..8].copy_from_slice(&(now.duration_since(self.started).as_micros() as u64).to_be_bytes());
                    let write = RtpWrite::new(OPUS.into(), (*number).into(), *number as u32 * 960, now, payload);
                    writes.push((*ssrc, write.ext_vals(ext_vals)));
                    *number += 1;
                }
            }
        }
        for (ssrc, write) in writes {
            if let Some(stream) = self.rtc.direct_api().stream_tx(&ssrc) {
                stream.write_rtp(write);
            }
        }
        let starved: Vec<u32> = self.starved(now);
        for ssrc in starved {
            if let Some(stream) = self.rtc.direct_api().stream_rx(&ssrc.into()) {
                stream.request_keyframe(KeyframeRequestKind::Pli);
            }
        }
    }

    /// Asks for a key frame of a track, as a client does that has just been shown it.
    pub fn ask_keyframe(&mut self, track: TrackId) {
        let of_track = self.received.iter().find(|(_, (known, _))| *known == track);
        let Some(ssrc) = of_track.map(|(ssrc, _)| *ssrc) else { return };
        if let Some(stream) = self.rtc.direct_api().stream_rx(&ssrc.into()) {
            stream.request_keyframe(KeyframeRequestKind::Pli);
        }
    }

    fn starved(&mut self, now: Instant) -> Vec<u32> {
        let screens = &mut self.seen.screens;
        let starves = |(_, (track, _)): &(&u32, &(TrackId, MediaKind))| {
            screens.get_mut(track).is_some_and(|screen| screen.wants_keyframe(now))
        };
        self.received.iter().filter(starves).map(|(ssrc, _)| *ssrc).collect()
    }

    pub fn handle_datagram(&mut self, now: Instant, (from, to): (SocketAddr, SocketAddr), bytes: &[u8]) {
        if matches!(bytes.first(), Some(20..=63)) {
            self.hello = None;
        }
        let Ok(contents) = bytes.try_into() else { return };
        let proto = if to.port() == TCP_PORT { Protocol::Tcp } else { Protocol::Udp };
        let receive = Receive { proto, source: from, destination: to, contents };
        // What it does not understand is its own business; the test sees what comes of it.
        let _ = self.rtc.handle_input(Input::Receive(now, receive));
    }

    pub fn poll(&mut self, now: Instant) -> Option<Wants> {
        if let Some(again) = self.hello.as_mut().and_then(|hello| hello.repeat(now)) {
            return Some(again);
        }
        loop {
            match self.rtc.poll_output().ok()? {
                Output::Timeout(at) => {
                    self.timeout = at;
                    return None;
                }
                Output::Transmit(out) => {
                    let (from, to, bytes) = (out.source, out.destination, out.contents.to_vec());
                    self.hello = Hello::of(now, (from, to), &bytes).or(self.hello.take());
                    return Some(Wants::Send { from, to, bytes });
                }
                Output::Event(event) => self.handle_event(now, event),
            }
        }
    }

    fn handle_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Connected => {
                self.seen.is_connected = true;
                self.seen.connected_at.get_or_insert(now);
            }
            Event::ChannelOpen(id, _) => {
                self.channel = Some(id);
                self.seen.channel_at.get_or_insert(now);
            }
            Event::ChannelData(message) => {
                self.seen.messages.push(String::from_utf8(message.data).expect("text"));
            }
            Event::KeyframeRequest(request) => {
                self.seen.keyframe_requests.push(now);
                let rid = request.rid.map(|rid| rid.to_string());
                let of_mid = self.sent.iter_mut().filter(|sent| *sent.mid == *request.mid.to_string());
                for (encoder, ..) in of_mid.flat_map(|sent| &mut sent.encoders) {
                    if encoder.layer.rid == rid.as_deref() {
                        encoder.want_keyframe();
                    }
                }
            }
            Event::RtpPacket(packet) => {
                let Some((track, kind)) = self.received.get(&*packet.header.ssrc).copied() else { return };
                let reports = self.seen.clocks.entry(track).or_default();
                let newest = reports.last().map(|(_, report)| report.ntp_time);
                reports
                    .extend(packet.last_sender_info.filter(|info| Some(info.ntp_time) != newest).map(|it| (now, it)));
                if kind == MediaKind::Video {
                    let screen = self.seen.screens.entry(track).or_default();
                    screen.handle_packet(now, *packet.seq_no, packet.header.marker, &packet.payload);
                } else {
                    let made: [u8; 8] = packet.payload[..8].try_into().expect("eight octets");
                    let made = Duration::from_micros(u64::from_be_bytes(made));
                    let heard = self.seen.voices.entry(track).or_default();
                    heard.began.get_or_insert(self.started);
                    heard.packets.push((now, *packet.seq_no, made));
                }
            }
            _ => {}
        }
    }
}

fn over_udp(address: SocketAddr) -> Candidate {
    Candidate::host(address, "udp").expect("a candidate")
}

fn over_tcp(address: SocketAddr, kind: TcpType) -> Candidate {
    Candidate::builder().tcp().host(address).tcptype(kind).build().expect("a candidate")
}
