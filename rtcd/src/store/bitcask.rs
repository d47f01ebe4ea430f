//! The files of a bitcask store (git.mills.io/prologic/bitcask 1.0), read from their bytes.
//!
//! A data file is a sequence of entries, each at the end when it was written, so that a later one wins: length of the key
//! (32 bits), length of the value (64 bits), key, value, CRC-32 of the value, and since version 1 the second of Unix time at
//! which it expires, 0 for never (64 bits); numbers are big-endian. An empty value removes the key.
use serde::Deserialize;

/// No key is longer, whatever the store's configuration says.
const MAX_KEY: u64 = 64 * 1024;
/// No value is longer, whatever the store's configuration says.
const MAX_VALUE: u64 = 1024 * 1024;
/// The lengths before key and value.
const HEAD: usize = 12;
const CHECKSUM: usize = 4;
const EXPIRY: usize = 8;

/// What a data file cannot be read past. The number is the offset of the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    #[error("the lengths of the entry at byte {0} are impossible")]
    Lengths(usize),
    #[error("the checksum of the entry at byte {0} is wrong")]
    Checksum(usize),
}

/// `config.json` cannot be read, or is of a version that is not known.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnknownFormat {
    #[error("it is no configuration of bitcask")]
    Json,
    #[error("the format has version {0}, of which nothing is known")]
    Version(u32),
}

/// How entries are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    max_key: u64,
    max_value: u64,
    expires: bool,
}

impl Default for Format {
    fn default() -> Self {
        Self { max_key: MAX_KEY, max_value: MAX_VALUE, expires: true }
    }
}

impl Format {
    /// Reads `config.json`. A limit of 0 is none.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, UnknownFormat> {
        #[derive(Deserialize)]
        struct Config {
            max_key_size: u32,
            max_value_size: u64,
            #[serde(default)]
            db_version: u32,
        }
        let config: Config = serde_json::from_slice(json).map_err(|_| UnknownFormat::Json)?;
        let limit = |configured: u64, most: u64| if configured == 0 { most } else { configured.min(most) };
        Ok(Self {
            max_key: limit(config.max_key_size.into(), MAX_KEY),
            max_value: limit(config.max_value_size, MAX_VALUE),
            expires: match config.db_version {
                0 => false,
                1 => true,
                version => return Err(UnknownFormat::Version(version)),
            },
        })
    }

    /// Reads a data file from its beginning to its end, and returns how many bytes at the end are of an entry that was never
    /// written to its end: the process or the machine has crashed.
    pub(crate) fn read<'a>(&self, file: &'a [u8], mut take: impl FnMut(Entry<'a>)) -> Result<usize, Damage> {
        let mut rest = file;
        while !rest.is_empty() {
            let at = file.len() - rest.len();
            match self.entry(rest, at)? {
                Some((entry, behind)) => {
                    take(entry);
                    rest = behind;
                }
                None => break,
            }
        }
        Ok(rest.len())
    }

    /// `None`: these bytes are all that was written of it.
    fn entry<'a>(&self, bytes: &'a [u8], at: usize) -> Result<Option<(Entry<'a>, &'a [u8])>, Damage> {
        // A file system may have given the file its length, and not yet its bytes.
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else { return Ok(None) };
        let [a, b, c, d, value_len @ ..] = *head;
        let (key_len, value_len) = (u64::from(u32::from_be_bytes([a, b, c, d])), u64::from_be_bytes(value_len));
        if key_len == 0 || key_len > self.max_key || value_len > self.max_value {
            return Err(Damage::Lengths(at));
        }
        // Both fit: they are within the limits.
        let (key_len, value_len) = (key_len as usize, value_len as usize);
        let Some((key, rest)) = rest.split_at_checked(key_len) else { return Ok(None) };
        let Some((value, rest)) = rest.split_at_checked(value_len) else { return Ok(None) };
        let Some((checksum, rest)) = rest.split_first_chunk::<CHECKSUM>() else { return Ok(None) };
        let (expires, rest) = match self.expires {
            true => match rest.split_first_chunk::<EXPIRY>() {
                Some((expires, rest)) => (u64::from_be_bytes(*expires), rest),
                None => return Ok(None),
            },
            false => (0, rest),
        };
        if crc32fast::hash(value) == u32::from_be_bytes(*checksum) {
            return Ok(Some((Entry { key, value, expires }, rest)));
        }
        // Length without bytes again, from somewhere in the value on.
        let unwritten = *checksum == [0; CHECKSUM] && rest.iter().all(|byte| *byte == 0);
        if unwritten { Ok(None) } else { Err(Damage::Checksum(at)) }
    }
}

/// One entry of a data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) key: &'a [u8],
    /// Empty: the key is removed.
    pub(crate) value: &'a [u8],
    /// Second of Unix time, 0 for never.
    pub(crate) expires: u64,
}

/// What the file `index` says of one key: its value is in the data file of this number, which reaches to this offset at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: u32,
    pub(crate) end: u64,
}

/// All places of the file `index`; `None` when it cannot be read.
pub(crate) fn index(mut bytes: &[u8]) -> Option<Vec<Place>> {
    let mut places = Vec::new();
    while !bytes.is_empty() {
        let (key_len, rest) = bytes.split_first_chunk::<4>()?;
        let (_key, rest) = rest.split_at_checked(u32::from_be_bytes(*key_len).try_into().ok()?)?;
        let (file, rest) = rest.split_first_chunk::<4>()?;
        let (offset, rest) = rest.split_first_chunk::<8>()?;
        let (size, rest) = rest.split_first_chunk::<8>()?;
        let end = u64::from_be_bytes(*offset).checked_add(u64::from_be_bytes(*size))?;
        places.push(Place { file: u32::from_be_bytes(*file), end });
        bytes = rest;
    }
    Some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: Format = Format { max_key: 64, max_value: 1000, expires: true };

    fn entry(key: &[u8], value: &[u8], expires: u64) -> Vec<u8> {
        let lengths = [&(key.len() as u32).to_be_bytes()[..], &(value.len() as u64).to_be_bytes()].concat();
        [&lengths, key, value, &crc32fast::hash(value).to_be_bytes(), &expires.to_be_bytes()].concat()
    }

    /// Key, value, expiry.
    type Owned = (Vec<u8>, Vec<u8>, u64);

    fn read(format: &Format, file: &[u8]) -> Result<(Vec<Owned>, usize), Damage> {
        let mut found = Vec::new();
        let torn = format.read(file, |entry| found.push((entry.key.into(), entry.value.into(), entry.expires)))?;
        Ok((found, torn))
    }

    #[test]
    fn a_file_cut_anywhere_gives_the_entries_before_the_cut() {
        let file = [entry(b"a", b"one", 0), entry(b"b", b"", 7)].concat();
        let first = entry(b"a", b"one", 0).len();
        for cut in 0..=file.len() {
            let (found, torn) = read(&FORMAT, &file[..cut]).expect("only cut");
            let whole = if cut == file.len() { 2 } else { usize::from(cut >= first) };
            assert_eq!(found.len(), whole, "{cut}");
            assert_eq!(torn, cut - if whole == 2 { file.len() } else { whole * first }, "{cut}");
        }
        let all = [(b"a".to_vec(), b"one".to_vec(), 0), (b"b".to_vec(), Vec::new(), 7)];
        assert_eq!(read(&FORMAT, &file), Ok((all.into(), 0)));
    }

    #[test]
    fn length_without_bytes_is_an_end_and_other_bytes_are_damage() {
        let first = entry(b"a", b"one", 0);
        let unwritten = |from: usize| {
            let mut second = entry(b"b", b"two", 0);
            second[from..].fill(0);
            read(&FORMAT, &[&first[..], &second].concat()).map(|(found, torn)| (found.len(), torn))
        };
        assert_eq!(unwritten(0), Ok((1, first.len())));
        assert_eq!(unwritten(14), Ok((1, first.len())));
        let mut damaged = [first.clone(), first.clone()].concat();
        damaged[14] ^= 1;
        assert_eq!(read(&FORMAT, &damaged), Err(Damage::Checksum(0)));
        assert_eq!(read(&FORMAT, &entry(b"", b"value", 0)), Err(Damage::Lengths(0)));
        assert_eq!(
            read(&FORMAT, &[first.clone(), entry(&[b'k'; 65], b"v", 0)].concat()),
            Err(Damage::Lengths(first.len()))
        );
        assert_eq!(read(&FORMAT, &[b'x'; 40]), Err(Damage::Lengths(0)));
    }

    #[test]
    fn the_format_is_what_the_configuration_says() {
        let config = |json: &str| Format::parse(json.as_bytes());
        let known = r#"{"max_datafile_size":150,"max_key_size":64,"max_value_size":1000,"db_version":1,"sync":false}"#;
        assert_eq!(config(known), Ok(FORMAT));
        let old = config(r#"{"max_key_size":0,"max_value_size":0}"#).expect("version 0");
        assert_eq!(old, Format { max_key: MAX_KEY, max_value: MAX_VALUE, expires: false });
        let with_expiry = entry(b"a", b"one", 0);
        let (found, torn) = read(&old, &with_expiry[..with_expiry.len() - EXPIRY]).expect("readable");
        assert_eq!((found.len(), torn), (1, 0));
        assert_eq!(config(&known.replace("version\":1", "version\":2")), Err(UnknownFormat::Version(2)));
        assert_eq!(config("{}"), Err(UnknownFormat::Json));
    }

    #[test]
    fn an_index_is_read_whole_or_not_at_all() {
        let one = [&3u32.to_be_bytes()[..], b"key", &7u32.to_be_bytes(), &100u64.to_be_bytes(), &20u64.to_be_bytes()]
            .concat();
        assert_eq!(index(&one), Some(vec![Place { file: 7, end: 120 }]));
        assert_eq!(index(b""), Some(Vec::new()));
        assert!((1..one.len()).all(|cut| index(&one[..cut]).is_none()));
    }
}
