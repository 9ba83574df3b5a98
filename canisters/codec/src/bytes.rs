//! A cursor over little-endian bytes that never reads past the end.

use crate::FormatError;

/// Bytes not read yet, and the part's name for errors.
#[derive(Clone, Copy)]
pub(crate) struct Bytes<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Bytes<'a> {
    pub(crate) fn new(data: &'a [u8], what: &'static str) -> Self {
        Self { rest: data, what }
    }

    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], FormatError> {
        let (head, rest) =
            self.rest.split_at_checked(count).ok_or(FormatError::Truncated { what: self.what })?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (head, rest) =
            self.rest.split_first_chunk::<N>().ok_or(FormatError::Truncated { what: self.what })?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, FormatError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, FormatError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FormatError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Read `count` bytes that must be zero.
    pub(crate) fn zeros(&mut self, count: usize) -> Result<(), FormatError> {
        if self.take(count)?.iter().any(|&byte| byte != 0) {
            return Err(FormatError::Reserved { what: self.what });
        }
        Ok(())
    }

    /// Check that nothing is left.
    pub(crate) fn end(&self) -> Result<(), FormatError> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(FormatError::Trailing { what: self.what, bytes }),
        }
    }
}
