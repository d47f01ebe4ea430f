//! Browsers on the media's TCP port: whoever begins with TLS or HTTP in place of ICE-TCP is passed on to control, while it
//! wants that (`check_page`). One look at the first two bytes tells them apart; nothing is taken from the connection.
use nix::sys::socket::{MsgFlags, recv};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tokio::sync::mpsc;

/// Connections that may wait for control; it takes them within milliseconds.
const VISITORS: usize = 64;

/// A connection that is not ICE's, with nothing read from it.
#[derive(Debug)]
pub struct Visitor {
    /// The socket, which does not block.
    pub stream: TcpStream,
    /// The peer.
    pub remote: SocketAddr,
}

/// Where they are passed on.
#[derive(Debug, Default)]
pub struct WebDoor {
    is_open: AtomicBool,
    visitors: OnceLock<mpsc::Sender<Visitor>>,
}

impl WebDoor {
    /// What comes through the door. There is one who takes it: `None` for everybody else.
    pub(super) fn visitors(&self) -> Option<mpsc::Receiver<Visitor>> {
        let (sender, visitors) = mpsc::channel(VISITORS);
        self.visitors.set(sender).ok().map(|()| visitors)
    }

    /// Whether anybody is passed on.
    pub(super) fn set_open(&self, is_open: bool) {
        self.is_open.store(is_open, Relaxed);
    }

    /// Whether anybody is passed on.
    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Relaxed)
    }

    /// Passes one on, unless too many wait already.
    pub(super) fn pass(&self, visitor: Visitor) -> bool {
        self.visitors.get().is_some_and(|visitors| visitors.try_send(visitor).is_ok())
    }
}

/// Whether the peer begins with what a browser does. As lengths of a frame (RFC 4571), both are longer than any that we take.
pub(super) fn begins_as_browser(stream: &TcpStream) -> bool {
    let mut first = [0; 2];
    let peeked = recv(stream.as_raw_fd(), &mut first, MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT);
    // A record of TLS's handshake, version 3.x; GET, HEAD.
    matches!(peeked, Ok(2)) && matches!(&first, [0x16, 0x03] | b"GE" | b"HE")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plane::deframer::MAX_FRAME;
    use std::io::Write as _;
    use std::net::TcpListener;

    #[test]
    fn a_browser_is_told_from_a_participant_by_two_bytes_that_no_frame_begins_with() {
        let check = |sent: &[u8], expected: bool| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
            let mut theirs = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
            let (ours, _) = listener.accept().expect("accepted");
            theirs.write_all(sent).expect("sent");
            drop(theirs);
            // Until it is there, or the end is.
            let _ = ours.peek(&mut [0; 2]);
            assert_eq!(begins_as_browser(&ours), expected, "{sent:?}");
        };
        check(&[0x16, 0x03, 0x01, 0x02, 0x00], true);
        check(b"GET / HTTP/1.1\r\n", true);
        check(b"HEAD /", true);
        check(&[0x00, 0x54, 0x00, 0x01], false);
        check(b"SSH-2.0", false);
        check(&[0x16], false);
        check(b"", false);
        for first in [[0x16, 0x03], *b"GE", *b"HE"] {
            assert!(usize::from(u16::from_be_bytes(first)) > MAX_FRAME);
        }
    }

    #[test]
    fn a_door_has_one_keeper_and_a_few_who_wait() {
        let door = WebDoor::default();
        let visitor = || {
            let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
            let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
            Visitor { remote: listener.local_addr().expect("bound"), stream }
        };
        assert!(!door.pass(visitor()), "nobody takes it");
        let _visitors = door.visitors().expect("the first");
        assert!(door.visitors().is_none());
        assert_eq!((0..100).filter(|_| door.pass(visitor())).count(), VISITORS);
    }
}
