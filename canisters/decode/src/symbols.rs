//! What the bytes of a zstd stream stand for.

use crate::{Outcome, broken};

/// The output of each byte: `WIDTH` bytes, little-endian; `count` of them are allowed.
pub struct Symbols<const WIDTH: usize> {
    words: [u16; 256],
    count: usize,
}

impl Symbols<1> {
    /// Return the bytes themselves, the first `count` of them allowed.
    pub fn identity(count: usize) -> Self {
        Self { words: core::array::from_fn(|byte| byte as u16), count }
    }
}

impl Symbols<2> {
    /// Return the words that little-endian `table` lists; it has at most 256.
    pub fn of_table(table: &[u8]) -> Self {
        let (listed, _) = table.as_chunks::<2>();
        let mut words = [0; 256];
        for (word, bytes) in words.iter_mut().zip(listed) {
            *word = u16::from_le_bytes(*bytes);
        }
        Self { words, count: listed.len() }
    }
}

impl<const WIDTH: usize> Symbols<WIDTH> {
    /// Return the output of a byte.
    pub fn get(&self, byte: u8) -> Outcome<u16> {
        if usize::from(byte) >= self.count {
            return broken("an index of a symbol is beyond the symbol count");
        }
        Ok(self.words[usize::from(byte)])
    }

    /// Write the outputs of bytes to `output`, which has room for exactly as many.
    pub fn write(&self, bytes: &[u8], output: &mut [u8]) -> Outcome<()> {
        for (&byte, output) in bytes.iter().zip(output.chunks_exact_mut(WIDTH)) {
            output.copy_from_slice(&self.get(byte)?.to_le_bytes()[..WIDTH]);
        }
        Ok(())
    }

    /// Fill `output` with the output of one byte.
    pub fn fill(&self, byte: u8, output: &mut [u8]) -> Outcome<()> {
        let word = self.get(byte)?.to_le_bytes();
        for output in output.chunks_exact_mut(WIDTH) {
            output.copy_from_slice(&word[..WIDTH]);
        }
        Ok(())
    }
}
