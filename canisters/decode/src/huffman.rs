//! Huffman codes of literals (RFC 8878, 4.2), decoded straight to what the symbols stand for.
//!
//! A look-up by the next 11 bits gives as many symbols as end within them, at most three: for the
//! skewed planes of weights mostly three, which makes a look-up cheap for each of them.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::backward::Backward;
use crate::fast;
use crate::fse::Table as FseTable;
use crate::symbols::Symbols;
use crate::{Outcome, broken};

/// Longest code, bits.
pub const MOST_BITS: u32 = 11;
/// States of the tables.
pub const STATES: usize = 1 << MOST_BITS;
/// Most symbols of a look-up.
pub const MOST_PACKED: usize = 3;
/// Fewer literals than these do not pay for the packed table.
const LEAST_FOR_PACKED: usize = 4_096;
const MOST_WEIGHT_LOG: u32 = 6;

/// A code, with a table of single symbols and one of several.
pub struct Code {
    /// By the next 11 bits: the symbol, and the length of its code in the upper byte.
    single: Box<[u16; STATES]>,
    /// By the next 11 bits, little-endian: up to three outputs of `WIDTH` bytes, then from bit 48 the
    /// length of their codes (6 bits), from bit 56 the length of the outputs, bytes.
    packed: Box<[u64; STATES]>,
    is_packed: bool,
}

impl Code {
    /// Parse the description of a code; return it and the description's length, bytes.
    pub fn parse(bytes: &[u8]) -> Outcome<(Self, usize)> {
        let (mut weights, length) = parse_weights(bytes)?;
        let sum: u32 = weights.iter().map(|&weight| (1u32 << weight) >> 1).sum();
        if sum == 0 {
            return broken("a Huffman table is empty");
        }
        let log = sum.ilog2() + 1;
        let rest = (1u32 << log) - sum;
        if log > MOST_BITS || !rest.is_power_of_two() || weights.len() > 255 {
            return broken("a Huffman table is not complete");
        }
        weights.push(rest.ilog2() as u8 + 1);
        // The symbols by their weights, in order.
        let mut first = [0usize; MOST_BITS as usize + 2];
        for &weight in &weights {
            first[usize::from(weight) + 1] += 1;
        }
        let mut total = 0;
        for first in &mut first {
            total += *first;
            *first = total;
        }
        let mut sorted = [(0u8, 0u8); 256];
        for (symbol, &weight) in weights.iter().enumerate() {
            let at = &mut first[usize::from(weight)];
            sorted[*at] = (weight, symbol as u8);
            *at += 1;
        }
        let mut single = Box::new([0u16; STATES]);
        let mut at = 0;
        for &(weight, symbol) in sorted[..weights.len()].iter().filter(|(weight, _)| *weight > 0) {
            let states = 1usize << (u32::from(weight) - 1 + MOST_BITS - log);
            let code_bits = log as u16 + 1 - u16::from(weight);
            let Some(cells) = single.get_mut(at..at + states) else {
                return broken("a Huffman table is not complete");
            };
            cells.fill(code_bits << 8 | u16::from(symbol));
            at += states;
        }
        if at != STATES {
            return broken("a Huffman table is not complete");
        }
        Ok((Self { single, packed: Box::new([0; STATES]), is_packed: false }, length))
    }

    /// Make the table of several symbols.
    ///
    /// A look-up ends before a symbol that stands for nothing. So the fast loop stops there, and the
    /// slow one, if the symbol occurs indeed, refuses it.
    fn pack<const WIDTH: usize>(&mut self, symbols: &Symbols<WIDTH>) {
        // The output of each symbol, the length of its code; longer than any for what stands for nothing.
        let cells = self.single.map(|cell| match symbols.get(cell as u8) {
            Ok(word) => u32::from(word) | u32::from(cell >> 8) << 16,
            Err(_) => u32::from(u8::MAX) << 16,
        });
        let cell = |state: usize| {
            let cell = cells[state & (STATES - 1)];
            (u64::from(cell as u16), cell >> 16)
        };
        for (state, packed) in self.packed.iter_mut().enumerate() {
            let (mut entry, mut used, mut count) = (0, 0, 0);
            let (word, bits) = cell(state);
            if bits <= MOST_BITS {
                (entry, used, count) = (word, bits, 1);
                let (word, bits) = cell(state << used);
                if used + bits <= MOST_BITS {
                    (entry, used, count) = (entry | word << (8 * WIDTH), used + bits, 2);
                    let (word, bits) = cell(state << used);
                    if used + bits <= MOST_BITS {
                        (entry, used, count) = (entry | word << (16 * WIDTH), used + bits, 3);
                    }
                }
            }
            *packed = (entry | u64::from(used) << 48 | ((count * WIDTH) as u64) << 56).to_le();
        }
        self.is_packed = true;
    }

    /// Decode one stream, or four if `is_split`, to exactly the length of `output`.
    pub fn decode<const WIDTH: usize>(
        &mut self,
        bytes: &[u8],
        is_split: bool,
        symbols: &Symbols<WIDTH>,
        output: &mut [u8],
    ) -> Outcome<()> {
        if !self.is_packed && output.len() >= LEAST_FOR_PACKED * WIDTH {
            self.pack(symbols);
        }
        if !is_split {
            return self.streams([bytes], symbols, [output]);
        }
        let Some((&[a0, a1, b0, b1, c0, c1], mut rest)) = bytes.split_first_chunk() else {
            return broken("four Huffman streams are cut off");
        };
        let segment = (output.len() / WIDTH).div_ceil(4) * WIDTH;
        if 3 * segment > output.len() {
            return broken("four Huffman streams of too few literals");
        }
        let mut streams = [&[][..]; 4];
        for (stream, length) in streams.iter_mut().zip([[a0, a1], [b0, b1], [c0, c1]]) {
            let length = usize::from(u16::from_le_bytes(length));
            *stream = crate::take(&mut rest, length, "Huffman streams")?;
        }
        let [a, b, c, _] = streams;
        let (first, output) = output.split_at_mut(segment);
        let (second, output) = output.split_at_mut(segment);
        let (third, fourth) = output.split_at_mut(segment);
        self.streams([a, b, c, rest], symbols, [first, second, third, fourth])
    }

    /// Decode streams, each to exactly the length of its output.
    fn streams<const WIDTH: usize, const N: usize>(
        &self,
        streams: [&[u8]; N],
        symbols: &Symbols<WIDTH>,
        mut outputs: [&mut [u8]; N],
    ) -> Outcome<()> {
        let mut windows = streams.map(fast::Window::open);
        let mut written = [0; N];
        if self.is_packed {
            written = fast::decode::<WIDTH, N>(&mut windows, &self.packed, &mut outputs);
        }
        for ((window, output), written) in windows.into_iter().zip(outputs).zip(written) {
            self.rest(window.rest()?, symbols, &mut output[written..])?;
        }
        Ok(())
    }

    /// Decode symbol by symbol to the end of a stream.
    fn rest<const WIDTH: usize>(
        &self,
        mut bits: Backward<'_>,
        symbols: &Symbols<WIDTH>,
        output: &mut [u8],
    ) -> Outcome<()> {
        for output in output.chunks_exact_mut(WIDTH) {
            let cell = self.single[bits.peek(MOST_BITS) as usize];
            bits.take(u32::from(cell >> 8));
            output.copy_from_slice(&symbols.get(cell as u8)?.to_le_bytes()[..WIDTH]);
        }
        if !bits.is_finished() {
            return broken("a Huffman stream does not end with its literals");
        }
        Ok(())
    }
}

/// Parse the weights of all symbols but the last; return them and the length read, bytes.
fn parse_weights(bytes: &[u8]) -> Outcome<(Vec<u8>, usize)> {
    let Some((&head, rest)) = bytes.split_first() else {
        return broken("a Huffman table is cut off");
    };
    let head = usize::from(head);
    if head >= 128 {
        let count = head - 127;
        let length = count.div_ceil(2);
        let Some(stored) = rest.get(..length) else {
            return broken("a Huffman table is cut off");
        };
        let weights = stored.iter().flat_map(|&byte| [byte >> 4, byte & 15]).take(count).collect();
        return Ok((weights, 1 + length));
    }
    let Some(stored) = rest.get(..head) else {
        return broken("a Huffman table is cut off");
    };
    let (table, length) = FseTable::parse(stored, MOST_WEIGHT_LOG, 255)?;
    let mut bits = Backward::open(&stored[length..])?;
    let mut states = [table.start(&mut bits), table.start(&mut bits)];
    if bits.is_overrun() {
        return broken("a Huffman table is cut off");
    }
    let mut weights = Vec::with_capacity(256);
    // The states take turns; the stream has no end but the first read beyond its start.
    for turn in 0.. {
        let (this, other) = (turn % 2, 1 - turn % 2);
        weights.push(table.symbol(states[this]));
        states[this] = table.next(states[this], &mut bits);
        if bits.is_overrun() {
            weights.push(table.symbol(states[other]));
            break;
        }
        if weights.len() > 255 {
            return broken("a Huffman table has too many symbols");
        }
    }
    if weights.iter().any(|&weight| u32::from(weight) > MOST_BITS) {
        return broken("a Huffman table has too long a code");
    }
    Ok((weights, 1 + head))
}
