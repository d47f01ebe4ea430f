//! A device or an image file as blocks, with a budget: no chain of clusters, however tangled, is followed for ever.
use super::Format;
use hadris_fs::{Error, ErrorKind};
use hadris_io::ErrorType;
use hadris_storage::sync::BlockDevice;
use hadris_storage::{BlockIndex, BlockSize};
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::rc::Rc;

/// The unit of FAT; the optical formats read four of them.
const BLOCK: u32 = 512;
/// What may be read from one volume: its head, a few directories and a few files of at most 1 MiB each.
const BUDGET: u64 = 64 << 20;
/// Where a UDF volume recognition sequence begins: after the 32 KiB system area, in sectors of 2 KiB.
const RECOGNITION: u64 = 32 << 10;
/// How many structures of that sequence are looked at.
const RECOGNITION_SECTORS: u64 = 16;

/// What a volume may be on.
pub trait Device {
    /// Its size in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Fills `buffer` from the place `at`.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()>;
}

/// A block device or an image.
impl Device for File {
    fn size(&self) -> io::Result<u64> {
        let mut file = self;
        file.seek(SeekFrom::End(0))
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        self.read_exact_at(buffer, at)
    }
}

/// An image in memory.
impl Device for Vec<u8> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let there = usize::try_from(at).ok().and_then(|at| self.get(at..)?.get(..buffer.len()));
        buffer.copy_from_slice(there.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

#[derive(Clone)]
pub(super) struct Disk {
    device: Rc<dyn Device>,
    size: u64,
    left: u64,
}

impl Disk {
    pub(super) fn new(device: impl Device + 'static) -> io::Result<Self> {
        Ok(Self { size: device.size()?, device: Rc::new(device), left: BUDGET })
    }

    /// Whether the signature of `format` is there; cheap, so that most devices are left alone after a few reads.
    pub(super) fn looks_like(&self, format: Format) -> io::Result<bool> {
        match format {
            // A boot sector says `FAT` in one of two places; MBR partition tables and NTFS say it in none.
            Format::Vfat => Ok(self.says(54, b"FAT")? || self.says(82, b"FAT")?),
            Format::Iso9660 => self.says(RECOGNITION + 1, b"CD001"),
            Format::Udf => {
                for sector in 0..RECOGNITION_SECTORS {
                    if self.says(RECOGNITION + sector * 2048 + 1, b"NSR0")? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    fn says(&self, at: u64, word: &[u8]) -> io::Result<bool> {
        let mut there = [0; 8];
        let Some(there) = there.get_mut(..word.len()) else { return Ok(false) };
        if at + word.len() as u64 > self.size {
            return Ok(false);
        }
        self.device.read_at(there, at)?;
        Ok(there == word)
    }
}

impl ErrorType for Disk {
    type Error = io::Error;
}

impl BlockDevice for Disk {
    fn block_size(&self) -> BlockSize {
        const { BlockSize::new(BLOCK).expect("512 is a block size") }
    }

    fn block_count(&self) -> u64 {
        self.size / u64::from(BLOCK)
    }

    fn read_blocks(&mut self, first: BlockIndex, buffer: &mut [u8]) -> Result<(), Error<io::Error>> {
        let length = buffer.len() as u64;
        let start = first.get().checked_mul(u64::from(BLOCK)).filter(|start| *start <= self.size);
        let Some(start) = start.filter(|start| length <= self.size - start) else {
            return Err(Error::new(ErrorKind::Corrupt, "a block beyond the end of the device"));
        };
        let Some(left) = self.left.checked_sub(length) else {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "it refers to itself, or is far bigger than what belongs there",
            ));
        };
        self.left = left;
        self.device.read_at(buffer, start).map_err(|error| Error::device(error, "the device cannot be read"))
    }
}
