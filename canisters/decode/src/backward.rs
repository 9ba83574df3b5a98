//! A bit stream that is read from its last byte to its first, as in RFC 8878, 4.1.

use crate::{Outcome, broken};

/// Bits not read yet. Reading beyond the start gives zeros; `is_overrun` then tells.
pub struct Backward<'a> {
    bytes: &'a [u8],
    /// The next bits, the first to be read uppermost; zero below the `held` valid ones.
    window: u64,
    held: u32,
    is_overrun: bool,
}

impl<'a> Backward<'a> {
    /// Open a stream: its last byte holds the end mark, the highest set bit.
    pub fn open(bytes: &'a [u8]) -> Outcome<Self> {
        let last = bytes.last().copied().unwrap_or(0);
        if last == 0 {
            return broken("a zstd bit stream has no end mark");
        }
        let mut stream = Self { bytes, window: 0, held: 0, is_overrun: false };
        stream.take(last.leading_zeros() + 1);
        Ok(stream)
    }

    /// Continue within a stream: `skip` bits, at most 64, of `bytes` are used up from the end.
    pub fn resume(bytes: &'a [u8], skip: u32) -> Self {
        let kept = bytes.len().saturating_sub(skip as usize / 8);
        let bytes = bytes.get(..kept).unwrap_or(bytes);
        let mut stream = Self { bytes, window: 0, held: 0, is_overrun: false };
        stream.take(skip % 8);
        stream
    }

    fn refill(&mut self) {
        while self.held <= 56
            && let Some((&byte, rest)) = self.bytes.split_last()
        {
            self.window |= u64::from(byte) << (56 - self.held);
            self.held += 8;
            self.bytes = rest;
        }
    }

    /// Return the next `count` bits, 1 to 56, without reading them.
    pub fn peek(&mut self, count: u32) -> u64 {
        self.refill();
        self.window >> (64 - count)
    }

    /// Read `count` bits, 0 to 56.
    pub fn take(&mut self, count: u32) -> u64 {
        if count == 0 {
            return 0;
        }
        if self.held < count {
            self.refill();
        }
        let value = self.window >> (64 - count);
        self.window <<= count;
        self.is_overrun |= self.held < count;
        self.held = self.held.saturating_sub(count);
        value
    }

    /// Return how many bits are left.
    pub fn left(&self) -> usize {
        self.bytes.len() * 8 + self.held as usize
    }

    /// Tell whether more bits were read than there are.
    pub fn is_overrun(&self) -> bool {
        self.is_overrun
    }

    /// Tell whether the stream was read exactly to its end.
    pub fn is_finished(&self) -> bool {
        !self.is_overrun && self.left() == 0
    }
}
