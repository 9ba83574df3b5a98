//! A reader of deterministic CBOR (RFC 8949, 4.2.1), driven by the schema of its caller.
//!
//! Only unsigned integers, byte strings, text strings, arrays and maps exist here. Integers and
//! lengths must be in their shortest form, lengths definite. There is no recursion, and a count is
//! checked against the bytes that are left before anybody allocates for it.

use crate::FormatError;

const UNSIGNED: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;

/// Items not read yet.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    data: &'a [u8],
    at: usize,
    format: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(data: &'a [u8], format: &'static str) -> Self {
        Self { data, at: 0, format }
    }

    fn truncated(&self) -> FormatError {
        FormatError::Truncated { what: self.format }
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], FormatError> {
        let end = usize::try_from(count).ok().and_then(|count| self.at.checked_add(count));
        let taken = end.and_then(|end| self.data.get(self.at..end)).ok_or(self.truncated())?;
        self.at += taken.len();
        Ok(taken)
    }

    fn big_endian(&mut self, bytes: u64) -> Result<u64, FormatError> {
        let taken = self.take(bytes)?;
        Ok(taken.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    /// Read an item's head: its argument, if it is of the `major` type.
    fn head(&mut self, major: u8, what: &'static str) -> Result<u64, FormatError> {
        let at = self.at;
        let first = *self.data.get(at).ok_or(self.truncated())?;
        if first >> 5 != major {
            return Err(FormatError::Type { what, at });
        }
        self.at += 1;
        let (value, least) = match first & 0x1f {
            small @ 0..=23 => (u64::from(small), 0),
            24 => (self.big_endian(1)?, 24),
            25 => (self.big_endian(2)?, 1 << 8),
            26 => (self.big_endian(4)?, 1 << 16),
            27 => (self.big_endian(8)?, 1 << 32),
            _ => return Err(FormatError::NotShortest { at }),
        };
        if value < least {
            return Err(FormatError::NotShortest { at });
        }
        Ok(value)
    }

    /// Offset of the next item, bytes.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The bytes between two offsets that were returned by `at`.
    pub(crate) fn between(&self, start: usize, end: usize) -> &'a [u8] {
        self.data.get(start..end).unwrap_or(&[])
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, FormatError> {
        self.head(UNSIGNED, what)
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, FormatError> {
        let found = self.u64(what)?;
        let allowed = u64::from(u32::MAX);
        u32::try_from(found).map_err(|_| FormatError::Range { what, found, allowed })
    }

    pub(crate) fn digest(&mut self, what: &'static str) -> Result<[u8; 32], FormatError> {
        let found = self.head(BYTES, what)?;
        let taken = self.take(found)?;
        taken.try_into().map_err(|_| FormatError::Range { what, found, allowed: 32 })
    }

    /// Read a text of at most `most` bytes.
    pub(crate) fn text(&mut self, what: &'static str, most: usize) -> Result<&'a str, FormatError> {
        let found = self.head(TEXT, what)?;
        let allowed = most as u64;
        if found > allowed {
            return Err(FormatError::Range { what, found, allowed });
        }
        core::str::from_utf8(self.take(found)?).map_err(|_| FormatError::Utf8 { what })
    }

    /// Read an array's count; each of its items takes at least `item_bytes`.
    pub(crate) fn array(
        &mut self,
        what: &'static str,
        item_bytes: usize,
    ) -> Result<usize, FormatError> {
        let count = self.head(ARRAY, what)?;
        self.fitting(count, item_bytes)
    }

    /// Read the count of an array that must have `count` items.
    pub(crate) fn tuple(&mut self, what: &'static str, count: u64) -> Result<(), FormatError> {
        let found = self.head(ARRAY, what)?;
        if found != count {
            return Err(FormatError::Range { what, found, allowed: count });
        }
        Ok(())
    }

    /// Read a map's count of pairs.
    pub(crate) fn map(&mut self, what: &'static str) -> Result<usize, FormatError> {
        let count = self.head(MAP, what)?;
        self.fitting(count, 2)
    }

    fn fitting(&self, count: u64, item_bytes: usize) -> Result<usize, FormatError> {
        let left = self.data.len() - self.at;
        let count = usize::try_from(count).map_err(|_| self.truncated())?;
        match count.checked_mul(item_bytes) {
            Some(bytes) if bytes <= left => Ok(count),
            _ => Err(self.truncated()),
        }
    }

    /// Check that nothing is left.
    pub(crate) fn end(&self) -> Result<(), FormatError> {
        match self.data.len() - self.at {
            0 => Ok(()),
            bytes => Err(FormatError::Trailing { what: self.format, bytes }),
        }
    }
}
