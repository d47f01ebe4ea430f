//! The memory that a record travels in: a memfd that nobody but our own user can open, of a fixed size, and never on a disk.
//! It counts who has begun to read it, so that a record that kills its readers is not read for ever.
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{Mode, fchmod};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use zeroize::Zeroizing;

/// In front of every record: what it is, then how often it was begun to be read.
const MAGIC: [u8; 8] = *b"rtcd/1\0\0";
const READS_AT: u64 = MAGIC.len() as u64;
const HEADER: usize = MAGIC.len() + 1;
/// Readers that may have died of it: the first may have died of something else.
const MAX_READS: u8 = 2;
/// Longest record: a kilobyte or two for a session, and what waits.
const MAX_LEN: u64 = 1 << 30;

/// Why there is no memory, or nothing in it.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The kernel refuses it: older than 3.17, or out of memory.
    #[error("the state of the calls cannot be kept in memory")]
    System(#[from] io::Error),
    /// Not one of ours.
    #[error("what was left is no state of calls")]
    Foreign,
    /// It was read before, and whoever read it has not lived to say so.
    #[error("{MAX_READS} processes have died of what was left: it is discarded, and all calls with it")]
    Deadly,
}

/// A record on its way.
#[derive(Debug)]
pub struct Memory(File);

impl Memory {
    /// Makes one that holds `record`.
    pub fn new(record: &[u8]) -> Result<Self, MemoryError> {
        let memory = memfd_create(c"rtcd-calls", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING);
        let fd = memory.map_err(io::Error::from)?;
        fchmod(&fd, Mode::S_IRUSR | Mode::S_IWUSR).map_err(io::Error::from)?;
        let mut file = File::from(fd);
        file.write_all(&MAGIC)?;
        file.write_all(&[0])?;
        file.write_all(record)?;
        // Whoever maps it cannot be made to fault. Not against writing: readers count themselves, and wipe it.
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).map_err(io::Error::from)?;
        Ok(Self(file))
    }

    /// One that has come.
    pub fn adopt(fd: OwnedFd) -> Self {
        Self(File::from(fd))
    }

    /// What is in it, and whether nobody has read it before. To be [wiped](Self::wipe) when it has been used, as a sign that it
    /// could be.
    pub fn read(&mut self) -> Result<(Zeroizing<Vec<u8>>, bool), MemoryError> {
        let len = self.0.metadata()?.len();
        let mut header = [0; HEADER];
        if len < HEADER as u64 || len > MAX_LEN || self.0.read_exact_at(&mut header, 0).is_err() {
            return Err(MemoryError::Foreign);
        }
        let [magic @ .., reads] = header;
        if magic != MAGIC {
            return Err(MemoryError::Foreign);
        }
        if reads >= MAX_READS {
            return Err(MemoryError::Deadly);
        }
        self.0.write_all_at(&[reads + 1], READS_AT)?;
        let mut record = Zeroizing::new(vec![0; len as usize - HEADER]);
        self.0.read_exact_at(&mut record, HEADER as u64)?;
        Ok((record, reads == 0))
    }

    /// Nothing is left of it, whoever still has it.
    pub fn wipe(mut self) -> io::Result<()> {
        let len = self.0.metadata()?.len();
        io::Seek::rewind(&mut self.0)?;
        io::copy(&mut io::repeat(0).take(len), &mut self.0).map(drop)
    }
}

impl From<Memory> for OwnedFd {
    fn from(memory: Memory) -> Self {
        memory.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_was_left_is_read_and_wiped_and_nobody_else_can_open_it() {
        let memory = Memory::new(b"secret").expect("made");
        assert_eq!(memory.0.metadata().expect("there").permissions().mode() & 0o777, 0o600);
        let other = memory.0.try_clone().expect("cloned");
        let mut next = Memory::adopt(memory.into());
        let (record, is_first) = next.read().expect("readable");
        assert_eq!((&record[..], is_first), (&b"secret"[..], true));
        next.wipe().expect("wiped");
        let mut left = Vec::new();
        io::Seek::rewind(&mut &other).expect("there");
        (&other).read_to_end(&mut left).expect("read");
        assert_eq!(left, [0; HEADER + 6]);
        assert!(matches!(Memory(other).read(), Err(MemoryError::Foreign)));
    }

    #[test]
    fn a_record_that_kills_its_readers_is_discarded() {
        let mut memory = Memory::new(b"poison").expect("made");
        for _ in 0..MAX_READS {
            memory.read().expect("readable").0.first().expect("something");
        }
        assert!(matches!(memory.read(), Err(MemoryError::Deadly)));
    }

    #[test]
    fn what_is_not_ours_is_not_read() {
        let foreign = memfd_create(c"x", MFdFlags::MFD_CLOEXEC).expect("made");
        assert!(matches!(Memory::adopt(foreign).read(), Err(MemoryError::Foreign)));
        let null = File::options().read(true).write(true).open("/dev/null").expect("there");
        assert!(matches!(Memory::adopt(null.into()).read(), Err(MemoryError::Foreign)));
    }
}
