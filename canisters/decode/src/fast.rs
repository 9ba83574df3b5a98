//! The loops that decide what decoding costs, with unchecked access to memory.
//!
//! The only module with unsafe code. Every function states which check makes its accesses valid.
//! `merge` has a scalar twin, which native builds use and which the tests compare on chain.
#![allow(unsafe_code)]

use crate::backward::Backward;
use crate::huffman::{MOST_BITS, MOST_PACKED, STATES};

/// Look-ups between two refills: 5 of at most 11 bits, and at most 8 that a refill leaves used.
const LOOK_UPS: usize = 5;
/// Where an entry of `huffman::Code` has the length of its codes, and that of its output.
const BITS_BYTE: usize = 6;
const OUTPUT_BYTE: usize = 7;
/// Most bytes that a round consumes.
const ROUND_BYTES: usize = 7;
const _: () = assert!(LOOK_UPS * MOST_BITS as usize + 8 <= 63);

/// A bit stream read backward in rounds, eight bytes in view.
pub struct Window<'a> {
    bytes: &'a [u8],
    /// Where the view begins; at most `bytes.len() - 8`.
    at: usize,
    /// The view without its used bits; its lowest set bit marks how many those are.
    view: u64,
}

impl<'a> Window<'a> {
    /// Open a stream of at least eight bytes with an end mark; none for another.
    pub fn open(bytes: &'a [u8]) -> Option<Self> {
        let last = bytes.last().filter(|&&last| last != 0)?;
        let view = u64::from_le_bytes(*bytes.last_chunk()?);
        Some(Self { bytes, at: bytes.len() - 8, view: (view | 1) << (last.leading_zeros() + 1) })
    }

    /// Decode as many symbols as whole rounds give; return how many bytes of `output` they fill.
    ///
    /// `packed` has the layout of `huffman::Code`.
    pub fn decode<const WIDTH: usize>(
        &mut self,
        packed: &[u64; STATES],
        output: &mut [u8],
    ) -> usize {
        let mut written = 0;
        loop {
            let room = output.len() - written;
            let by_room = room.saturating_sub(8) / (LOOK_UPS * MOST_PACKED * WIDTH);
            let rounds = by_room.min(self.at / ROUND_BYTES);
            if rounds == 0 {
                return written;
            }
            let before = written;
            // SAFETY: a round writes at most LOOK_UPS * MOST_PACKED * WIDTH bytes, and `by_room` leaves
            // eight bytes after the last one. `at` falls from at most `bytes.len() - 8` by at most
            // ROUND_BYTES a round, and there are at most `at / ROUND_BYTES` rounds. `packed` has the
            // states of MOST_BITS bits.
            unsafe {
                let packed = packed.as_ptr().cast();
                let output = output.as_mut_ptr().add(written);
                let mut place = Place { bytes: self.bytes.as_ptr().add(self.at), output };
                self.view = rounds_of(packed, &mut place, self.view, rounds);
                self.at = place.bytes.offset_from_unsigned(self.bytes.as_ptr());
                written += place.output.offset_from_unsigned(output);
            }
            // A look-up may give nothing; see `huffman::Code`.
            if written == before {
                return written;
            }
        }
    }

    /// Return the bits that are left.
    pub fn rest(self) -> Backward<'a> {
        Backward::resume(&self.bytes[..self.at + 8], self.view.trailing_zeros())
    }
}

/// Where a round reads and writes.
struct Place {
    bytes: *const u8,
    output: *mut u8,
}

/// Decode whole rounds; return the view after them.
///
/// Pointers instead of slices: the parts of an entry are then loaded apart, which takes fewer
/// instructions than to shift them out of it.
///
/// # Safety
/// `packed` points to `STATES` entries. Each round reads eight bytes from at most `ROUND_BYTES` before
/// the last ones, and writes as many as its look-ups give, the last of them eight bytes.
#[inline(never)]
unsafe fn rounds_of(packed: *const u8, place: &mut Place, mut view: u64, rounds: usize) -> u64 {
    let Place { mut bytes, mut output } = *place;
    for _ in 0..rounds {
        for _ in 0..LOOK_UPS {
            // SAFETY: the upper MOST_BITS bits number an entry of eight bytes.
            unsafe {
                let entry = packed.add((view >> (64 - MOST_BITS)) as usize * 8);
                output.cast::<u64>().write_unaligned(entry.cast::<u64>().read_unaligned());
                output = output.add(usize::from(entry.add(OUTPUT_BYTE).read()));
                view = view.wrapping_shl(entry.add(BITS_BYTE).read().into());
            }
        }
        // At most 63 bits are used: the marker is still there.
        let used = view.trailing_zeros();
        // SAFETY: see above.
        unsafe {
            bytes = bytes.sub(used as usize >> 3);
            view = (u64::from_le(bytes.cast::<u64>().read_unaligned()) | 1) << (used & 7);
        }
    }
    *place = Place { bytes, output };
    view
}

/// How bits of a stored byte come to their place in a word.
#[derive(Clone, Copy)]
pub struct Shift {
    pub left: u32,
    pub right: u32,
    /// Where the bits lie in the word.
    pub bits: u16,
}

/// Stored bytes, one for each word, and where their bits go.
pub type Source<'a> = (&'a [u8], Shift);

/// Most sources of one `merge`.
pub const MOST_SOURCES: usize = 4;

/// Set bits of little-endian words from up to four sources; each has a byte for every word.
pub fn merge(words: &mut [u8], sources: &[Source<'_>]) {
    let done = vector::merge(words, sources);
    scalar_merge(words, sources, done);
}

/// The words from number `first` on, one by one.
fn scalar_merge(words: &mut [u8], sources: &[Source<'_>], first: usize) {
    let (words, _) = words.as_chunks_mut::<2>();
    for &(stored, shift) in sources {
        for (word, &byte) in words.iter_mut().zip(stored).skip(first) {
            let bits = u16::from(byte) << shift.left >> shift.right & shift.bits;
            *word = (u16::from_le_bytes(*word) | bits).to_le_bytes();
        }
    }
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod vector {
    /// Without SIMD, no word is done here.
    pub fn merge(_: &mut [u8], _: &[super::Source<'_>]) -> usize {
        0
    }
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod vector {
    use core::arch::wasm32::*;

    use super::Source;

    /// Merge whole groups of 16 words; return how many words are done.
    pub fn merge(words: &mut [u8], sources: &[Source<'_>]) -> usize {
        match *sources {
            [a] => groups(words, [a]),
            [a, b] => groups(words, [a, b]),
            [a, b, c] => groups(words, [a, b, c]),
            [a, b, c, d] => groups(words, [a, b, c, d]),
            _ => 0,
        }
    }

    fn groups<const N: usize>(words: &mut [u8], sources: [Source<'_>; N]) -> usize {
        let shortest = sources.iter().map(|(stored, _)| stored.len()).min().unwrap_or(0);
        let count = shortest.min(words.len() / 2) / 16 * 16;
        let masks = sources.map(|(_, shift)| u16x8_splat(shift.bits));
        let out = words.as_mut_ptr();
        let mut at = 0;
        while at < count {
            // SAFETY: `at + 16 <= count`, which is at most the length of each source and at most
            // half of that of the words.
            unsafe {
                let target = out.add(2 * at).cast::<v128>();
                let (mut low, mut high) = (v128_load(target), v128_load(target.add(1)));
                for ((stored, shift), mask) in sources.iter().zip(masks) {
                    let bytes = stored.as_ptr().add(at).cast::<u64>();
                    let place = |bytes| {
                        let left = i16x8_shl(bytes, shift.left);
                        v128_and(u16x8_shr(left, shift.right), mask)
                    };
                    low = v128_or(low, place(u16x8_load_extend_u8x8(bytes.cast())));
                    high = v128_or(high, place(u16x8_load_extend_u8x8(bytes.add(1).cast())));
                }
                v128_store(target, low);
                v128_store(target.add(1), high);
            }
            at += 16;
        }
        count
    }
}
