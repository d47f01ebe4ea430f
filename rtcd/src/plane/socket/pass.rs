//! Descriptors that go from one process to another over a Unix socket (unix(7), `SCM_RIGHTS`), and those that systemd has
//! passed (sd_listen_fds(3)).
use nix::cmsg_space;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// Descriptors in one message; the kernel takes 253.
const AT_ONCE: usize = 128;
/// Most descriptors that are taken: every connection of a very large machine.
const MAX: u32 = 1 << 20;
/// The first that systemd passes.
const LISTEN_FDS_START: RawFd = 3;

/// Sends descriptors, as [`receive_descriptors`] expects them.
pub fn send_descriptors(stream: &UnixStream, descriptors: &[OwnedFd]) -> io::Result<()> {
    let count = u32::try_from(descriptors.len()).map_err(io::Error::other)?;
    io::Write::write_all(&mut &*stream, &count.to_le_bytes())?;
    for chunk in descriptors.chunks(AT_ONCE) {
        let raw: Vec<RawFd> = chunk.iter().map(|fd| fd.as_raw_fd()).collect();
        // One byte at least must go with them.
        let message = [ControlMessage::ScmRights(&raw)];
        sendmsg::<()>(stream.as_raw_fd(), &[IoSlice::new(&[0])], &message, MsgFlags::empty(), None)?;
    }
    Ok(())
}

/// Takes the descriptors that [`send_descriptors`] sends, in their order.
pub fn receive_descriptors(stream: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    let mut count = [0; 4];
    io::Read::read_exact(&mut &*stream, &mut count)?;
    let count = u32::from_le_bytes(count);
    if count > MAX {
        return Err(io::Error::other("more descriptors than any machine has"));
    }
    let mut all = Vec::new();
    let mut space = cmsg_space!([RawFd; AT_ONCE]);
    while all.len() < count as usize {
        let mut byte = [0];
        let mut parts = [IoSliceMut::new(&mut byte)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
        if message.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(raw) = control {
                // SAFETY: the kernel has just made them for us, nobody else owns them.
                all.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
    }
    Ok(all)
}

/// The first `count` descriptors that systemd has passed. To be called once, by whoever has found in the environment that they
/// are for this process.
pub fn passed_descriptors(count: usize) -> Vec<OwnedFd> {
    let raw = (LISTEN_FDS_START..).take(count);
    // SAFETY: a descriptor that is open is owned here from now on: systemd has passed it, and nothing of this process has
    // looked at it before.
    let owned = raw.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    // Not for children.
    owned.take_while(|fd| fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).is_ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn descriptors_arrive_in_their_order_however_many_there_are() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let streams: Vec<(UnixStream, UnixStream)> = (0..300).map(|_| UnixStream::pair().expect("a pair")).collect();
        let (near, far): (Vec<_>, Vec<_>) = streams.into_iter().unzip();
        let sender = std::thread::spawn(move || {
            let far: Vec<OwnedFd> = far.into_iter().map(OwnedFd::from).collect();
            send_descriptors(&ours, &far).expect("sent");
        });
        let received = receive_descriptors(&theirs).expect("received");
        sender.join().expect("sent");
        assert_eq!(received.len(), 300);
        for (at, (mut near, far)) in near.into_iter().zip(received).enumerate() {
            near.write_all(&[at as u8]).expect("written");
            let mut byte = [0];
            io::Read::read_exact(&mut UnixStream::from(far), &mut byte).expect("read");
            assert_eq!(byte[0], at as u8);
        }
    }

    #[test]
    fn a_sender_that_goes_or_lies_is_an_error() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        (&ours).write_all(&[2, 0, 0, 0]).expect("written");
        drop(ours);
        assert!(receive_descriptors(&theirs).is_err());
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        (&ours).write_all(&[255; 4]).expect("written");
        assert!(receive_descriptors(&theirs).is_err());
    }
}
