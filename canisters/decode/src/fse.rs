//! Finite state entropy tables (RFC 8878, 4.1).

use alloc::vec::Vec;

use crate::backward::Backward;
use crate::{Outcome, broken};

/// One state.
#[derive(Clone, Copy)]
struct Cell {
    symbol: u8,
    bits: u8,
    base: u16,
}

/// A decoding table of `1 << log` states.
#[derive(Clone)]
pub struct Table {
    log: u32,
    cells: Vec<Cell>,
}

/// A state of a table, below the count of its cells.
#[derive(Clone, Copy)]
pub struct State(usize);

impl Table {
    /// Build a table of one state that always gives the same symbol.
    pub fn constant(symbol: u8) -> Self {
        Self { log: 0, cells: alloc::vec![Cell { symbol, bits: 0, base: 0 }] }
    }

    /// Build the table of a distribution that sums to `1 << log`, -1 counting as one.
    pub fn from_counts(counts: &[i16], log: u32) -> Self {
        let size = 1usize << log;
        let mut cells = alloc::vec![Cell { symbol: 0, bits: 0, base: 0 }; size];
        let mut high = size;
        for (symbol, _) in counts.iter().enumerate().filter(|(_, count)| **count == -1) {
            high -= 1;
            cells[high].symbol = symbol as u8;
        }
        let step = (size >> 1) + (size >> 3) + 3;
        let mut position = 0;
        for (symbol, &count) in counts.iter().enumerate() {
            for _ in 0..count.max(0) {
                cells[position].symbol = symbol as u8;
                position = position.wrapping_add(step) & (size - 1);
                while position >= high {
                    position = position.wrapping_add(step) & (size - 1);
                }
            }
        }
        let mut next: Vec<u32> =
            counts.iter().map(|&count| if count == -1 { 1 } else { count as u32 }).collect();
        for cell in &mut cells {
            let number = &mut next[usize::from(cell.symbol)];
            let bits = log - number.ilog2();
            cell.bits = bits as u8;
            cell.base = ((*number << bits) - size as u32) as u16;
            *number += 1;
        }
        Self { log, cells }
    }

    /// Parse a distribution; return its table and the length of the description, bytes.
    pub fn parse(bytes: &[u8], most_log: u32, most_symbol: usize) -> Outcome<(Self, usize)> {
        let mut bits = Forward { bytes, at: 0 };
        let log = bits.take(4) + 5;
        if log > most_log {
            return broken("an FSE table is too large");
        }
        let mut counts: Vec<i16> = Vec::with_capacity(most_symbol + 1);
        let mut left = 1i32 << log;
        while left > 0 {
            if counts.len() > most_symbol {
                return broken("an FSE table has too many symbols");
            }
            let width = (left + 1).ilog2() + 1;
            let value = bits.peek(width) as i32;
            let lower = (1 << (width - 1)) - 1;
            let threshold = (1 << width) - 1 - (left + 1);
            let is_short = (value & lower) < threshold;
            bits.at += width as usize - usize::from(is_short);
            let count = match value {
                _ if is_short => value & lower,
                _ if value > lower => value - threshold,
                _ => value,
            } - 1;
            left -= count.abs();
            counts.push(count as i16);
            if count == 0 {
                bits.zero_counts(&mut counts, most_symbol)?;
            }
        }
        let length = bits.at.div_ceil(8);
        if left != 0 || counts.len() > most_symbol + 1 || length > bytes.len() {
            return broken("an FSE table does not sum to its size");
        }
        Ok((Self::from_counts(&counts, log), length))
    }

    /// Read the first state.
    pub fn start(&self, bits: &mut Backward<'_>) -> State {
        State(bits.take(self.log) as usize)
    }

    fn cell(&self, state: State) -> Cell {
        // `cells` has a power of two of cells, so that the mask bounds the index.
        self.cells[state.0 & (self.cells.len() - 1)]
    }

    /// Return the symbol of a state.
    pub fn symbol(&self, state: State) -> u8 {
        self.cell(state).symbol
    }

    /// Read the next state.
    pub fn next(&self, state: State, bits: &mut Backward<'_>) -> State {
        let cell = self.cell(state);
        State(usize::from(cell.base) + bits.take(cell.bits.into()) as usize)
    }
}

/// Bits read from the first byte on, lowest first; zeros beyond the end.
struct Forward<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Forward<'_> {
    fn peek(&self, count: u32) -> u32 {
        let first = self.at / 8;
        let window = (0..4).fold(0, |window, index| {
            window | u32::from(self.bytes.get(first + index).copied().unwrap_or(0)) << (8 * index)
        });
        window >> (self.at % 8) & ((1 << count) - 1)
    }

    fn take(&mut self, count: u32) -> u32 {
        let value = self.peek(count);
        self.at += count as usize;
        value
    }

    /// Read how many symbols after one of probability zero have probability zero too.
    fn zero_counts(&mut self, counts: &mut Vec<i16>, most_symbol: usize) -> Outcome<()> {
        loop {
            let repeat = self.take(2);
            counts.extend((0..repeat).map(|_| 0));
            if counts.len() > most_symbol + 1 {
                return broken("an FSE table has too many symbols");
            }
            if repeat < 3 {
                return Ok(());
            }
        }
    }
}
