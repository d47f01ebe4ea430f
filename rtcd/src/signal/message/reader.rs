//! A msgpack reader over a frame: no allocation, every length checked against what the frame still holds.
use super::{MAX_DEPTH, MAX_ID_LEN, MessageError};
use rmp::Marker;

/// Walks the values of one frame.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `frame`.
    pub fn new(frame: &'a [u8]) -> Self {
        Self { rest: frame }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The number of entries of the map that comes next.
    pub fn map(&mut self, field: &'static str) -> Result<usize, MessageError> {
        let len = match self.marker(field)? {
            Marker::FixMap(n) => n.into(),
            Marker::Map16 => self.uint(2, field)?,
            Marker::Map32 => self.uint(4, field)?,
            _ => return Err(MessageError::WrongType { field, expected: "a map" }),
        };
        self.entries(len, 2, field)
    }

    /// A map key; `None` when it is no UTF-8 and therefore none that we know.
    pub fn key(&mut self) -> Result<Option<&'a str>, MessageError> {
        match self.bytes("a map key") {
            Ok(key) => Ok(std::str::from_utf8(key).ok()),
            Err(MessageError::WrongType { .. }) => Err(MessageError::Malformed("a map key is no string")),
            Err(other) => Err(other),
        }
    }

    /// A string; `nil` counts as the empty one, as Go writes it.
    pub fn text(&mut self, field: &'static str) -> Result<&'a str, MessageError> {
        let wrong = MessageError::WrongType { field, expected: "a string" };
        match self.bytes(field) {
            Ok(bytes) => std::str::from_utf8(bytes).map_err(|_| wrong),
            Err(MessageError::WrongType { .. }) => Err(wrong),
            Err(other) => Err(other),
        }
    }

    /// A string of at most [`MAX_ID_LEN`] bytes.
    pub fn id(&mut self, field: &'static str) -> Result<&'a str, MessageError> {
        let id = self.text(field)?;
        if id.len() > MAX_ID_LEN { Err(MessageError::TooLong(field)) } else { Ok(id) }
    }

    /// `bin`, `str` or `nil` (none).
    pub fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], MessageError> {
        let len = match self.marker(field)? {
            Marker::Null => 0,
            Marker::FixStr(n) => n.into(),
            Marker::Str8 | Marker::Bin8 => self.uint(1, field)?,
            Marker::Str16 | Marker::Bin16 => self.uint(2, field)?,
            Marker::Str32 | Marker::Bin32 => self.uint(4, field)?,
            _ => return Err(MessageError::WrongType { field, expected: "bytes" }),
        };
        self.take(len, field)
    }

    /// An integer of any width.
    pub fn int(&mut self, field: &'static str) -> Result<i64, MessageError> {
        let wrong = MessageError::WrongType { field, expected: "an integer" };
        let marker = self.marker(field)?;
        let width = match marker {
            Marker::FixPos(n) => return Ok(n.into()),
            Marker::FixNeg(n) => return Ok(n.into()),
            Marker::U8 | Marker::I8 => 1,
            Marker::U16 | Marker::I16 => 2,
            Marker::U32 | Marker::I32 => 4,
            Marker::U64 | Marker::I64 => 8,
            _ => return Err(wrong),
        };
        let raw = self.be(width, field)?;
        match marker {
            Marker::I8 | Marker::I16 | Marker::I32 | Marker::I64 => {
                // Sign extension: the value sits in the low `width` bytes.
                let shift = 64 - 8 * width as u32;
                Ok(((raw << shift) as i64) >> shift)
            }
            _ => i64::try_from(raw).map_err(|_| wrong),
        }
    }

    /// A number of any kind, as JavaScript writes whole ones as integers.
    pub fn float(&mut self, field: &'static str) -> Result<f64, MessageError> {
        let mut ahead = Self { rest: self.rest };
        let value = match ahead.marker(field)? {
            Marker::F32 => f64::from(f32::from_bits(ahead.be(4, field)? as u32)),
            Marker::F64 => f64::from_bits(ahead.be(8, field)?),
            _ => {
                return Ok(self.int(field).map_err(|_| MessageError::WrongType { field, expected: "a number" })? as f64);
            }
        };
        *self = ahead;
        Ok(value)
    }

    /// A boolean; `nil` counts as false.
    pub fn bool(&mut self, field: &'static str) -> Result<bool, MessageError> {
        match self.marker(field)? {
            Marker::True => Ok(true),
            Marker::False | Marker::Null => Ok(false),
            _ => Err(MessageError::WrongType { field, expected: "a boolean" }),
        }
    }

    /// Passes over one value of any type.
    pub fn skip(&mut self) -> Result<(), MessageError> {
        self.skip_nested(0)
    }

    fn skip_nested(&mut self, depth: usize) -> Result<(), MessageError> {
        const WHAT: &str = "a value";
        if depth > MAX_DEPTH {
            return Err(MessageError::TooDeep);
        }
        let (len, nested) = match self.marker(WHAT)? {
            Marker::Reserved => return Err(MessageError::Malformed("a reserved byte")),
            Marker::FixPos(_) | Marker::FixNeg(_) | Marker::Null | Marker::True | Marker::False => (0, 0),
            Marker::U8 | Marker::I8 => (1, 0),
            Marker::U16 | Marker::I16 => (2, 0),
            Marker::U32 | Marker::I32 | Marker::F32 => (4, 0),
            Marker::U64 | Marker::I64 | Marker::F64 => (8, 0),
            Marker::FixStr(n) => (n.into(), 0),
            Marker::Str8 | Marker::Bin8 => (self.uint(1, WHAT)?, 0),
            Marker::Str16 | Marker::Bin16 => (self.uint(2, WHAT)?, 0),
            Marker::Str32 | Marker::Bin32 => (self.uint(4, WHAT)?, 0),
            // One more byte than the data: the extension's type.
            Marker::Ext8 => (self.uint(1, WHAT)? + 1, 0),
            Marker::Ext16 => (self.uint(2, WHAT)? + 1, 0),
            Marker::Ext32 => (self.uint(4, WHAT)? + 1, 0),
            Marker::FixExt1 => (2, 0),
            Marker::FixExt2 => (3, 0),
            Marker::FixExt4 => (5, 0),
            Marker::FixExt8 => (9, 0),
            Marker::FixExt16 => (17, 0),
            Marker::FixArray(n) => (0, self.entries(n.into(), 1, WHAT)?),
            Marker::Array16 => (0, self.array(2)?),
            Marker::Array32 => (0, self.array(4)?),
            Marker::FixMap(n) => (0, 2 * self.entries(n.into(), 2, WHAT)?),
            Marker::Map16 => (0, 2 * self.map_entries(2)?),
            Marker::Map32 => (0, 2 * self.map_entries(4)?),
        };
        self.take(len, WHAT)?;
        for _ in 0..nested {
            self.skip_nested(depth + 1)?;
        }
        Ok(())
    }

    fn array(&mut self, width: usize) -> Result<usize, MessageError> {
        let len = self.uint(width, "an array")?;
        self.entries(len, 1, "an array")
    }

    fn map_entries(&mut self, width: usize) -> Result<usize, MessageError> {
        let len = self.uint(width, "a map")?;
        self.entries(len, 2, "a map")
    }

    /// Each entry takes at least `least` bytes: a count that cannot fit is refused before anything is walked.
    fn entries(&self, len: usize, least: usize, field: &'static str) -> Result<usize, MessageError> {
        if len > self.rest.len() / least { Err(MessageError::Truncated(field)) } else { Ok(len) }
    }

    fn marker(&mut self, field: &'static str) -> Result<Marker, MessageError> {
        Ok(Marker::from_u8(self.take(1, field)?[0]))
    }

    fn uint(&mut self, width: usize, field: &'static str) -> Result<usize, MessageError> {
        usize::try_from(self.be(width, field)?).map_err(|_| MessageError::Truncated(field))
    }

    fn be(&mut self, width: usize, field: &'static str) -> Result<u64, MessageError> {
        Ok(self.take(width, field)?.iter().fold(0, |n, &byte| n << 8 | u64::from(byte)))
    }

    fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], MessageError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(MessageError::Truncated(field))?;
        self.rest = rest;
        Ok(head)
    }
}
