//! The memory that a process writes down in what it wants to be known when it has died: a memfd that systemd keeps, of which
//! nobody but our own user can open a copy, never on a disk, and gone with the last process that has it.
//!
//! It is a row of cells. A cell has two halves, which are written in turn: a process that dies while it writes leaves the half
//! before. Halves lie far apart, what is not written takes no room.
use crc32fast::Hasher;
use nix::fcntl::{FallocateFlags, OFlag, fallocate, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{Mode, fchmod};
use rtcd_media::footprint::{Footprint, flat};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;
use zeroize::Zeroizing;

/// What it is, then whose it is and which one.
const MAGIC: [u8; 8] = *b"rtcdcel1";
const HEADER: usize = MAGIC.len() + 1 + 8;
const FIRST: u64 = 4096;
/// Marks lie between the header and the first cell.
const FIRST_MARK: u64 = 64;
const MARK_STRIDE: u64 = 32;
/// Marks that there is room for.
pub const MARKS: usize = ((FIRST - FIRST_MARK) / MARK_STRIDE) as usize;
/// Bytes of a mark.
pub const MARK: usize = 20;
/// Bytes that a half may take.
const HALF: u64 = 1 << 28;
/// A buffer that is not kept.
const LARGE: usize = 64 * 1024;
/// In front of each half: its number, when it was written, its length, its sum.
const FRONT: usize = 8 + 8 + 4 + 4;
const CONTROL: u8 = u8::MAX;

/// Whose memory it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// Of signalling and the API.
    Control,
    /// Of a worker of the plane.
    Worker(u8),
}

/// How a cell is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// Both halves stay: it is written all the time.
    Both,
    /// The half before is given back.
    One,
}

/// The memory of one thread, to write to.
pub struct Cells {
    file: File,
    /// The half that was written last, of each cell.
    last: Vec<bool>,
    number: u64,
    buffer: Zeroizing<Vec<u8>>,
}

/// The memory itself is the kernel's.
impl Footprint for Cells {
    fn heap_bytes(&self) -> usize {
        flat(&self.last) + flat(&self.buffer)
    }
}

/// A memfd; where a sandbox forbids that, a file of the same kind without a name.
fn memory() -> io::Result<File> {
    let refused = match memfd_create(c"rtcd-memory", MFdFlags::MFD_CLOEXEC) {
        Ok(fd) => return Ok(File::from(fd)),
        Err(refused) => refused,
    };
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    let file = open("/dev/shm", flags, Mode::S_IRUSR | Mode::S_IWUSR).map_err(|_| refused)?;
    Ok(File::from(file))
}

fn begin_of(cell: usize, half: bool) -> u64 {
    FIRST + (2 * cell as u64 + u64::from(half)) * HALF
}

fn sum(front: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(front);
    hasher.update(payload);
    hasher.finalize()
}

impl Cells {
    /// Empty ones. `generation` grows from process to process.
    pub fn new(owner: Owner, generation: u64) -> io::Result<Self> {
        let file = memory()?;
        fchmod(&file, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let owner = match owner {
            Owner::Control => CONTROL,
            Owner::Worker(number) => number,
        };
        file.write_all_at(&[&MAGIC[..], &[owner], &generation.to_le_bytes()].concat(), 0)?;
        Ok(Self { file, last: Vec::new(), number: 0, buffer: Zeroizing::default() })
    }

    /// Another handle on it, for whoever keeps it.
    pub fn handle(&self) -> io::Result<OwnedFd> {
        Ok(self.file.try_clone()?.into())
    }

    /// Writes what `fill` appends, at `now` by CLOCK_MONOTONIC.
    pub fn write(&mut self, cell: usize, room: Room, now: Duration, fill: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let buffer = &mut *self.buffer;
        buffer.clear();
        buffer.resize(FRONT, 0);
        fill(buffer);
        let len = u32::try_from(buffer.len() - FRONT).ok().filter(|len| u64::from(*len) < HALF - FRONT as u64);
        let len = len.ok_or(io::ErrorKind::FileTooLarge)?;
        self.number += 1;
        buffer[..8].copy_from_slice(&self.number.to_le_bytes());
        buffer[8..16].copy_from_slice(&(now.as_micros() as u64).to_le_bytes());
        buffer[16..20].copy_from_slice(&len.to_le_bytes());
        let sum = sum(&buffer[..20], &buffer[FRONT..]);
        buffer[20..FRONT].copy_from_slice(&sum.to_le_bytes());
        if self.last.len() <= cell {
            self.last.resize(cell + 1, true);
        }
        let half = !self.last[cell];
        self.file.write_all_at(buffer, begin_of(cell, half))?;
        self.last[cell] = half;
        if room == Room::One {
            self.give_back(begin_of(cell, !half), HALF);
            // What is not written all the time need not have its room all the time.
            if self.buffer.capacity() > LARGE {
                self.buffer = Zeroizing::default();
            }
        }
        Ok(())
    }

    /// Writes a mark: a few bytes, in place.
    pub fn mark(&self, slot: usize, mark: &[u8; MARK]) -> io::Result<()> {
        let mut bytes = [0; MARK + 4];
        bytes[..MARK].copy_from_slice(mark);
        bytes[MARK..].copy_from_slice(&sum(&MAGIC, mark).to_le_bytes());
        self.file.write_all_at(&bytes, FIRST_MARK + (slot % MARKS) as u64 * MARK_STRIDE)
    }

    /// How many cells have been written.
    pub fn count(&self) -> usize {
        self.last.len()
    }

    /// Nothing is in it any more.
    pub fn clear(&mut self, cell: usize) -> io::Result<()> {
        for half in [false, true] {
            self.file.write_all_at(&[0; FRONT], begin_of(cell, half))?;
        }
        self.give_back(begin_of(cell, false), 2 * HALF);
        Ok(())
    }

    /// Where the kernel does not take it back it is used again.
    fn give_back(&self, begin: u64, len: u64) {
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let _ = fallocate(&self.file, flags, begin as i64, len as i64);
    }

    /// Nothing is left of it, whoever still has it.
    pub fn wipe(&mut self) -> io::Result<()> {
        self.last.clear();
        wipe(&self.file)
    }
}

fn wipe(file: &File) -> io::Result<()> {
    file.set_len(0)
}

/// A cell as it was read.
pub struct Cell {
    /// When it was written, by CLOCK_MONOTONIC.
    pub written: Duration,
    /// What it says.
    pub bytes: Zeroizing<Vec<u8>>,
}

/// The memory of a process that has died.
pub struct Remains {
    file: File,
    /// Whose it was.
    pub owner: Owner,
    /// Of which process.
    pub generation: u64,
}

impl Remains {
    /// `None`: it is none, or was wiped.
    pub fn of(fd: OwnedFd) -> Option<Self> {
        let file = File::from(fd);
        let mut header = [0; HEADER];
        file.read_exact_at(&mut header, 0).ok()?;
        let [magic @ .., owner, g0, g1, g2, g3, g4, g5, g6, g7] = header;
        let owner = if owner == CONTROL { Owner::Control } else { Owner::Worker(owner) };
        let generation = u64::from_le_bytes([g0, g1, g2, g3, g4, g5, g6, g7]);
        (magic == MAGIC).then_some(Self { file, owner, generation })
    }

    /// How many cells there may be.
    pub fn count(&self) -> usize {
        let len = self.file.metadata().map_or(0, |metadata| metadata.len());
        usize::try_from(len.saturating_sub(FIRST).div_ceil(2 * HALF)).unwrap_or_default()
    }

    /// All marks that are whole.
    pub fn marks(&self) -> Vec<[u8; MARK]> {
        let mut all = [0; (FIRST - FIRST_MARK) as usize];
        // Nothing was ever written behind them when that fails: they end with zeros.
        let len = self.file.read_at(&mut all, FIRST_MARK).unwrap_or(0);
        let slots = all[..len].chunks(MARK_STRIDE as usize);
        let whole = slots.filter_map(|slot| {
            let (mark, rest) = slot.split_first_chunk::<MARK>()?;
            (rest.first_chunk() == Some(&sum(&MAGIC, mark).to_le_bytes())).then_some(*mark)
        });
        whole.collect()
    }

    /// What was written to a cell last, and whole.
    pub fn read(&self, cell: usize) -> Option<Cell> {
        let halves = [false, true].into_iter().filter_map(|half| self.read_half(cell, half));
        halves.max_by_key(|(number, _)| *number).map(|(_, cell)| cell)
    }

    fn read_half(&self, cell: usize, half: bool) -> Option<(u64, Cell)> {
        let mut front = [0; FRONT];
        self.file.read_exact_at(&mut front, begin_of(cell, half)).ok()?;
        let word = |at: usize| u64::from_le_bytes(front[at..at + 8].try_into().unwrap_or_default());
        let (number, written, rest) = (word(0), Duration::from_micros(word(8)), word(16));
        let (len, expected) = (rest as u32, (rest >> 32) as u32);
        // Of a half that was never written there is nothing.
        if number == 0 || u64::from(len) >= HALF - FRONT as u64 {
            return None;
        }
        let end = begin_of(cell, half) + FRONT as u64 + u64::from(len);
        if end > self.file.metadata().ok()?.len() {
            return None;
        }
        let mut bytes = Zeroizing::new(vec![0; len as usize]);
        self.file.read_exact_at(&mut bytes, begin_of(cell, half) + FRONT as u64).ok()?;
        (sum(&front[..20], &bytes) == expected).then_some((number, Cell { written, bytes }))
    }

    /// Nothing is left of it, whoever still has it.
    pub fn wipe(&self) -> io::Result<()> {
        wipe(&self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(remains: &Remains, cell: usize) -> Option<(u64, String)> {
        let cell = remains.read(cell)?;
        Some((cell.written.as_secs(), String::from_utf8(cell.bytes.to_vec()).expect("text")))
    }

    fn say(cells: &mut Cells, cell: usize, at: u64, what: &str) {
        let fill = |out: &mut Vec<u8>| out.extend(what.as_bytes());
        cells.write(cell, Room::One, Duration::from_secs(at), fill).expect("written");
    }

    #[test]
    fn what_was_written_last_is_read_and_what_was_cleared_is_not() {
        let mut cells = Cells::new(Owner::Worker(3), 7).expect("made");
        let remains = Remains::of(cells.handle().expect("a handle")).expect("ours");
        assert_eq!((remains.owner, remains.generation, remains.count()), (Owner::Worker(3), 7, 0));
        for at in 1..=5 {
            say(&mut cells, 0, at, &format!("first {at}"));
            say(&mut cells, 9, at, &format!("tenth {at}"));
        }
        assert_eq!(text(&remains, 0), Some((5, "first 5".into())));
        assert_eq!(text(&remains, 9), Some((5, "tenth 5".into())));
        assert_eq!((text(&remains, 4), remains.count()), (None, 10));
        cells.clear(9).expect("cleared");
        assert_eq!(text(&remains, 9), None);
        say(&mut cells, 9, 6, "again");
        assert_eq!(text(&remains, 9), Some((6, "again".into())));
        cells.wipe().expect("wiped");
        assert_eq!((text(&remains, 0), remains.count()), (None, 0));
        assert!(Remains::of(cells.handle().expect("a handle")).is_none());
    }

    #[test]
    fn of_a_writing_that_was_cut_short_the_one_before_is_left() {
        let mut cells = Cells::new(Owner::Control, 1).expect("made");
        let remains = Remains::of(cells.handle().expect("a handle")).expect("ours");
        for written in 0..2 {
            let fill = |out: &mut Vec<u8>| out.extend([b'a' + written; 100]);
            cells.write(2, Room::Both, Duration::ZERO, fill).expect("written");
        }
        assert_eq!(remains.read(2).expect("whole").bytes[0], b'b');
        // The second half is the newer one.
        for at in 0..(FRONT + 100) as u64 {
            let mut byte = [0];
            remains.file.read_exact_at(&mut byte, begin_of(2, true) + at).expect("read");
            remains.file.write_all_at(&[byte[0] ^ 1], begin_of(2, true) + at).expect("written");
            assert_eq!(remains.read(2).expect("the one before").bytes[0], b'a', "byte {at}");
            remains.file.write_all_at(&byte, begin_of(2, true) + at).expect("written");
        }
    }

    #[test]
    fn marks_stay_beside_cells_and_those_that_are_not_whole_are_not_read() {
        let mut cells = Cells::new(Owner::Worker(0), 1).expect("made");
        let remains = Remains::of(cells.handle().expect("a handle")).expect("ours");
        assert_eq!(remains.marks(), [[0; MARK]; 0]);
        for (slot, byte) in [(0, 1), (MARKS - 1, 2), (MARKS, 3)] {
            cells.mark(slot, &[byte; MARK]).expect("written");
        }
        assert_eq!(remains.marks(), [[3; MARK], [2; MARK]], "one that finds no place takes another's");
        say(&mut cells, 0, 1, "first");
        assert_eq!((text(&remains, 0), remains.marks().len()), (Some((1, "first".into())), 2));
        remains.file.write_all_at(&[9], FIRST_MARK + 5).expect("written");
        assert_eq!(remains.marks(), [[2; MARK]]);
    }

    #[test]
    fn what_is_not_ours_is_not_read() {
        assert!(Remains::of(memfd_create(c"x", MFdFlags::MFD_CLOEXEC).expect("made")).is_none());
        assert!(Remains::of(File::open("/dev/null").expect("there").into()).is_none());
    }
}
