//! ICE-TCP (RFC 6544, passive): datagrams framed by a 16-bit length (RFC 4571) over connections that peers open.
use super::counters::Counters;
use super::deframer::{Deframer, FrameTooLong};
use super::outbox::Outbox;
use super::torn::{Torn, rest_of};
use super::web::begins_as_browser;
use rtcd_media::footprint::Footprint;
use rtcd_media::sfu::switch::Class;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A connection that has carried no authentic check by then is closed.
pub const AUTHENTICATION_TIMEOUT: Duration = Duration::from_secs(10);

/// One connection.
pub struct Connection {
    stream: TcpStream,
    remote: SocketAddr,
    deframer: Deframer,
    outgoing: Outbox,
    /// Nothing has been read from it.
    is_untouched: bool,
    /// When it must have carried an authentic check; `None` once it has.
    pub deadline: Option<Instant>,
}

impl Footprint for Connection {
    fn heap_bytes(&self) -> usize {
        self.deframer.heap_bytes() + self.outgoing.heap_bytes()
    }
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
            is_untouched: read.is_empty(),
            deframer: Deframer::with(read),
            outgoing: Outbox::default(),
            deadline: Some(now + AUTHENTICATION_TIMEOUT),
        })
    }

    /// One that carried the calls of a process which has died, in the middle of whatever it read and wrote.
    pub fn inherited(stream: TcpStream, remote: SocketAddr, torn: &[Torn], now: Instant) -> io::Result<Self> {
        let mut connection = Self::new(stream, remote, Vec::new(), now)?;
        if let Some(rest) = rest_of(&connection.stream, torn) {
            connection.finish_first(rest);
        }
        Ok(Self { deframer: Deframer::in_the_middle(), deadline: None, is_untouched: false, ..connection })
    }

    /// Where a frame is torn if nobody goes on now.
    pub fn torn(&self) -> Option<Torn> {
        Torn::of(&self.stream, self.outgoing.begun()?)
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The peer's address.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Whether a browser begins to speak, by a look at what nobody has read yet.
    pub fn begins_as_browser(&mut self) -> bool {
        std::mem::take(&mut self.is_untouched) && self.deadline.is_some() && begins_as_browser(&self.stream)
    }

    /// The socket, for whoever reads it from its first byte on.
    pub fn into_stream(self) -> TcpStream {
        self.stream
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

    /// Copies the next whole frame into `buffer` (at least [`MAX_FRAME`](super::deframer::MAX_FRAME) long).
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

    /// Two ends of a connection of which the reading one has a buffer of a few KiB.
    fn narrow_pair() -> (Connection, TcpStream) {
        use nix::sys::socket::{setsockopt, sockopt};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        setsockopt(&listener, sockopt::RcvBuf, &4096).expect("set");
        let ours = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (theirs, remote) = listener.accept().expect("accepted");
        (Connection::new(ours, remote, Vec::new(), Instant::now()).expect("set up"), theirs)
    }

    /// Takes up to 700 bytes, if there are any; returns whole frames.
    fn read_some(theirs: &mut TcpStream, deframer: &mut Deframer) -> Vec<Vec<u8>> {
        let (mut frames, mut scratch) = (Vec::new(), [0; 700]);
        if let Ok(len) = theirs.read(&mut scratch) {
            deframer.push(&scratch[..len]);
        }
        while let Some(frame) = deframer.next_frame().expect("frames are whole") {
            frames.push(frame.to_vec());
        }
        frames
    }

    /// Wherever the process died: just when the kernel had taken a part, or when it had taken more meanwhile.
    #[test]
    fn who_goes_on_behind_a_death_fills_up_the_frame_that_is_torn() {
        let (counters, now) = (Counters::default(), Instant::now());
        let packet = |tag: u8| [vec![0x90; 12], vec![tag; 1100]].concat();
        for takes_more in [false, true] {
            let (mut before, mut theirs) = narrow_pair();
            theirs.set_nonblocking(true).expect("set");
            let (mut deframer, mut frames) = (Deframer::default(), Vec::new());
            for tag in (0..100).cycle().take(10_000) {
                before.queue(now, Class::Voice, &packet(tag), &counters);
                if !before.flush(now, &counters).expect("open") && before.torn().is_some() {
                    break;
                }
                frames.extend(read_some(&mut theirs, &mut deframer));
            }
            let torn = Torn::of_mark(before.torn().expect("so it is").to_mark());
            let copy = before.stream().try_clone().expect("one more");
            let (_, _, rest) = before.leave();
            assert!(!rest.is_empty() && rest.len() < 1114, "the rest of one frame: {}", rest.len());
            let mut more = if takes_more { &rest[..rest.len() / 2] } else { &[] };
            while !more.is_empty() {
                more = &more[(&copy).write(more).unwrap_or(0)..];
                frames.extend(read_some(&mut theirs, &mut deframer));
            }
            let remote = theirs.local_addr().expect("bound");
            let mut next = Connection::inherited(copy, remote, &[torn], now).expect("it goes on");
            next.queue(now, Class::Voice, &packet(250), &counters);
            next.queue(now, Class::Voice, &packet(251), &counters);
            for _ in 0..10_000 {
                next.flush(now, &counters).expect("open");
                frames.extend(read_some(&mut theirs, &mut deframer));
                if frames.ends_with(&[packet(250), packet(251)]) {
                    break;
                }
            }
            assert!(frames.ends_with(&[packet(250), packet(251)]), "{} frames", frames.len());
            let filled = frames.iter().filter(|frame| packet(frame[12]) != **frame).count();
            assert_eq!(filled, 1);
        }
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
