//! ICE-TCP (RFC 6544, passive): datagrams framed by a 16-bit length (RFC 4571) over connections that peers open.
use super::counters::Counters;
use super::outbox::Outbox;
use rtcd_media::sfu::switch::Class;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Longest frame that is looked at; what a peer sends is made for datagrams.
pub const MAX_FRAME: usize = super::socket::RECV_SIZE;
/// Shorter ones are no packet of anything.
const MIN_DATAGRAM: usize = 8;
/// A connection that has carried no authentic check by then is closed.
pub const AUTHENTICATION_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes in which a stream that was cut somewhere must come into step again.
const UNSURE: usize = 64 * 1024;

/// Splits a byte stream into frames.
#[derive(Debug, Default)]
pub struct Deframer {
    bytes: Vec<u8>,
    read: usize,
    /// In so many bytes what looks like the length of a frame may be something else.
    unsure: usize,
}

/// Whether a datagram of ours can begin so (RFC 7983): STUN by its cookie, DTLS, SRTP.
fn can_be(begin: &[u8; MIN_DATAGRAM]) -> bool {
    match begin {
        [0..=3, _, _, _, cookie @ ..] => *cookie == [0x21, 0x12, 0xa4, 0x42],
        [first, ..] => matches!(first, 20..=63 | 128..=191),
    }
}

/// The peer announced a frame longer than [`MAX_FRAME`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {0} bytes")]
pub struct FrameTooLong(pub usize);

impl Deframer {
    /// A deframer that has already received `bytes`.
    pub fn with(bytes: Vec<u8>) -> Self {
        Self { bytes, read: 0, unsure: 0 }
    }

    /// One for a stream that somebody else has read up to the end of a frame, or into one.
    pub fn in_the_middle() -> Self {
        Self { unsure: UNSURE, ..Self::default() }
    }

    /// Bytes have come.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.read > 0 {
            self.bytes.drain(..self.read);
            self.read = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame.
    pub fn next_frame(&mut self) -> Result<Option<&mut [u8]>, FrameTooLong> {
        self.come_into_step();
        let rest = &self.bytes[self.read..];
        let Some(header) = rest.first_chunk() else { return Ok(None) };
        let len = u16::from_be_bytes(*header) as usize;
        if len > MAX_FRAME {
            return Err(FrameTooLong(len));
        }
        if rest.len() < 2 + len {
            return Ok(None);
        }
        let start = self.read + 2;
        self.read = start + len;
        self.unsure = self.unsure.saturating_sub(2 + len);
        Ok(Some(&mut self.bytes[start..start + len]))
    }

    /// Passes over what cannot be the beginning of a frame.
    fn come_into_step(&mut self) {
        while self.unsure > 0
            && let Some([high, low, datagram @ ..]) = self.bytes[self.read..].first_chunk::<10>()
        {
            let len = usize::from(u16::from_be_bytes([*high, *low]));
            if (MIN_DATAGRAM..=MAX_FRAME).contains(&len) && can_be(datagram) {
                return;
            }
            self.read += 1;
            self.unsure -= 1;
        }
    }

    /// What has not been taken as a frame.
    pub fn into_rest(mut self) -> Vec<u8> {
        self.bytes.drain(..self.read);
        self.bytes
    }
}

/// One connection.
pub struct Connection {
    stream: TcpStream,
    remote: SocketAddr,
    deframer: Deframer,
    outgoing: Outbox,
    /// When it must have carried an authentic check; `None` once it has.
    pub deadline: Option<Instant>,
}

impl Connection {
    /// Takes over an accepted connection, with what was already read from it.
    pub fn new(stream: TcpStream, remote: SocketAddr, read: Vec<u8>, now: Instant) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        super::socket::keep_little_unsent(&stream)?;
        Ok(Self {
            stream,
            remote,
            deframer: Deframer::with(read),
            outgoing: Outbox::default(),
            deadline: Some(now + AUTHENTICATION_TIMEOUT),
        })
    }

    /// One that carried the calls of a process which has died, in the middle of whatever it read.
    pub fn inherited(stream: TcpStream, remote: SocketAddr, now: Instant) -> io::Result<Self> {
        let connection = Self::new(stream, remote, Vec::new(), now)?;
        Ok(Self { deframer: Deframer::in_the_middle(), deadline: None, ..connection })
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The peer's address.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Reads what is there, at most `scratch` at once. `Ok(false)`: the peer has closed.
    pub fn fill(&mut self, scratch: &mut [u8]) -> io::Result<bool> {
        match self.stream.read(scratch) {
            Ok(0) => Ok(false),
            Ok(len) => {
                self.deframer.push(&scratch[..len]);
                Ok(true)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Copies the next whole frame into `buffer` (at least [`MAX_FRAME`] long).
    pub fn next_frame(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, FrameTooLong> {
        let Some(frame) = self.deframer.next_frame()? else { return Ok(None) };
        buffer[..frame.len()].copy_from_slice(frame);
        Ok(Some(frame.len()))
    }

    /// Queues a datagram; false when the connection is too slow for it and it was dropped.
    pub fn queue(&mut self, now: Instant, class: Class, datagram: &[u8], counters: &Counters) -> bool {
        self.outgoing.push(now, class, datagram, counters)
    }

    /// Writes what the socket takes; whether everything is out.
    pub fn flush(&mut self, now: Instant, counters: &Counters) -> io::Result<bool> {
        while let Some(bytes) = self.outgoing.next(now, counters) {
            match self.stream.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.outgoing.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Streams that need a key frame now, since something of them was dropped.
    pub fn take_broken(&mut self, now: Instant) -> Vec<u32> {
        self.outgoing.take_broken(now)
    }

    /// The rest of a frame that another process has begun to send.
    pub fn finish_first(&mut self, unsent: Vec<u8>) {
        self.outgoing.finish_first(unsent);
    }

    /// Gives the connection up to another process: socket, what was read but not taken, and the rest of what has begun to
    /// leave. What waits behind that is lost, as on any network.
    pub fn leave(self) -> (TcpStream, Vec<u8>, Vec<u8>) {
        (self.stream, self.deframer.into_rest(), self.outgoing.into_begun())
    }

    /// Gives the connection up to another worker: socket, address, and what was read but not taken; `frame` is put in
    /// front again.
    pub fn into_parts(self, frame: &[u8]) -> (TcpStream, SocketAddr, Vec<u8>) {
        let mut read = (frame.len() as u16).to_be_bytes().to_vec();
        read.extend_from_slice(frame);
        read.extend(self.deframer.into_rest());
        (self.stream, self.remote, read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_however_the_bytes_come_in() {
        let mut deframer = Deframer::default();
        let mut frames = Vec::new();
        for byte in [0, 3, 1, 2, 3, 0, 0, 0, 1, 9] {
            deframer.push(&[byte]);
            while let Some(frame) = deframer.next_frame().expect("short enough") {
                frames.push(frame.to_vec());
            }
        }
        assert_eq!(frames, [vec![1, 2, 3], vec![], vec![9]]);
    }

    #[test]
    fn a_stream_that_was_cut_within_a_frame_comes_into_step_again() {
        // RTP packets of growing length whose bytes are lengths of nothing.
        let frame = |len: usize| [vec![0x90], vec![0xfe; len - 1]].concat();
        let mut stream = Vec::new();
        for len in 40..90 {
            stream.extend((len as u16).to_be_bytes());
            stream.extend(frame(len));
        }
        for cut in [0, 1, 2, 3, 20, 41, 42, 43, 44, 100] {
            let mut deframer = Deframer::in_the_middle();
            deframer.push(&stream[cut..]);
            let mut frames = Vec::new();
            while let Some(frame) = deframer.next_frame().expect("short enough") {
                frames.push(frame.to_vec());
            }
            let expected: Vec<_> = (43..90).map(frame).collect();
            assert!(frames.ends_with(&expected), "cut at {cut}: {} frames", frames.len());
        }
        let mut deframer = Deframer::in_the_middle();
        deframer.push(&vec![0xff; UNSURE + 2]);
        assert_eq!(deframer.next_frame(), Err(FrameTooLong(65_535)), "not for ever");
    }

    #[test]
    fn a_frame_too_long_is_an_error_before_it_is_stored() {
        let mut deframer = Deframer::default();
        deframer.push(&[0xff, 0xff]);
        assert_eq!(deframer.next_frame(), Err(FrameTooLong(65_535)));
    }

    #[test]
    fn what_was_not_taken_can_be_handed_on() {
        let mut deframer = Deframer::default();
        deframer.push(&[0, 1, 7, 0, 2, 8]);
        assert_eq!(deframer.next_frame(), Ok(Some(&mut [7][..])));
        assert_eq!(deframer.into_rest(), [0, 2, 8]);
    }

    /// Two ends of a connection of which the reading one has a buffer of a few KiB.
    fn narrow_pair() -> (Connection, TcpStream) {
        use nix::sys::socket::{setsockopt, sockopt};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        setsockopt(&listener, sockopt::RcvBuf, &4096).expect("set");
        let ours = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (theirs, remote) = listener.accept().expect("accepted");
        (Connection::new(ours, remote, Vec::new(), Instant::now()).expect("set up"), theirs)
    }

    /// A packet of the stream `ssrc` that says when it was sent.
    fn stamped(start: Instant, ssrc: u8, len: usize) -> Vec<u8> {
        let mut packet = vec![0; len];
        packet[8..12].copy_from_slice(&[0, 0, 0, ssrc]);
        packet[12..20].copy_from_slice(&(start.elapsed().as_micros() as u64).to_be_bytes());
        packet
    }

    const VOICE: u8 = 1;
    const SCREEN: u8 = 2;

    /// How late each packet came, by stream, to a reader that takes `rate` bytes a second while there is a screen of
    /// 2.5 Mbit/s and one voice; it does not read in `stall`.
    fn lateness(rate: usize, seconds: u64, stall: std::ops::Range<u64>) -> Vec<(u8, Duration, Duration)> {
        let (mut connection, mut theirs) = narrow_pair();
        theirs.set_nonblocking(true).expect("set");
        let (counters, start) = (Counters::default(), Instant::now());
        let (mut deframer, mut scratch, mut heard) = (Deframer::default(), vec![0; 64 * 1024], Vec::new());
        let (mut voices, mut screens, mut read) = (0, 0, 0usize);
        while start.elapsed() < Duration::from_secs(seconds) {
            let (now, millis) = (Instant::now(), start.elapsed().as_millis() as u64);
            while screens * 4 < millis {
                screens += 1;
                let class = Class::Video { keyframe: screens % 250 == 1 };
                connection.queue(now, class, &stamped(start, SCREEN, 1200), &counters);
            }
            while voices * 20 < millis {
                voices += 1;
                connection.queue(now, Class::Voice, &stamped(start, VOICE, 120), &counters);
            }
            connection.flush(now, &counters).expect("open");
            connection.take_broken(now);
            let stalled = stall.contains(&(millis / 1000));
            let due = millis as usize * rate / 1000;
            if stalled {
                read = due;
            }
            while !stalled && read < due {
                let room = scratch.len().min(due - read);
                match theirs.read(&mut scratch[..room]) {
                    Ok(len) => {
                        read += len;
                        deframer.push(&scratch[..len]);
                    }
                    // What was not there is not owed.
                    Err(_) => read = due,
                }
            }
            while let Some(frame) = deframer.next_frame().expect("frames are whole") {
                assert!(frame.len() == 1200 || frame.len() == 120, "{} bytes", frame.len());
                let sent = u64::from_be_bytes(frame[12..20].try_into().expect("eight bytes"));
                let sent = Duration::from_micros(sent);
                heard.push((frame[11], sent, start.elapsed().saturating_sub(sent)));
            }
            std::thread::sleep(Duration::from_millis(4));
        }
        heard
    }

    #[test]
    fn voice_is_in_time_beside_a_screen_that_is_too_much_for_the_way() {
        let heard = lateness(500_000 / 8, 4, 0..0);
        let mut voice: Vec<Duration> = heard.iter().filter(|(ssrc, ..)| *ssrc == VOICE).map(|heard| heard.2).collect();
        voice.sort();
        let screen = heard.iter().filter(|(ssrc, ..)| *ssrc == SCREEN).map(|heard| heard.2).max();
        let p95 = voice[voice.len() * 95 / 100];
        println!("{} of 200 voices, p95 {p95:?} max {:?}; screen max {screen:?}", voice.len(), voice.last());
        assert!(voice.len() > 150, "{} of 200 packets", voice.len());
        assert!(p95 < Duration::from_millis(300), "{p95:?}");
        assert!(screen.is_some_and(|late| late < Duration::from_millis(1800)), "{screen:?}: stale pictures");
    }

    #[test]
    fn after_a_stall_no_burst_of_stale_voice_goes_out() {
        let heard = lateness(500_000 / 8, 5, 1..4);
        // What the kernels had taken before the reader stopped cannot be taken back: a few KiB.
        let stale = |heard: &&(u8, Duration, Duration)| heard.0 == VOICE && heard.2 > Duration::from_millis(900);
        let stale = heard.iter().filter(stale).count();
        println!("{stale} stale voices");
        assert!(stale < 25, "{stale} of 150 voices of the stall came");
        let fresh = heard.iter().filter(|(ssrc, sent, _)| *ssrc == VOICE && sent.as_secs_f64() > 4.3).count();
        assert!(fresh > 10, "{fresh}: the way is used for what is said now");
    }
}
