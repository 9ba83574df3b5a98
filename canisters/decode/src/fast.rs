//! The loops that decide what decoding costs, with unchecked access to memory.
//!
//! The only module with unsafe code. Every function states which check makes its accesses valid.
//! `merge` has a scalar twin, which native builds use and which the tests compare on chain.
#![allow(unsafe_code)]

use crate::Outcome;
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
    /// Where the view begins; at most `bytes.len() - 8`. 0 without a view.
    at: usize,
    /// The view without its used bits; its lowest set bit marks how many those are. 0 without a view.
    view: u64,
}

impl<'a> Window<'a> {
    /// Open a stream; of one that is shorter than the view, or has no end mark, nothing is in view.
    pub fn open(bytes: &'a [u8]) -> Self {
        let last = bytes.last().copied().unwrap_or(0);
        let (Some(view), 1..) = (bytes.last_chunk(), last) else {
            return Self { bytes, at: 0, view: 0 };
        };
        let view = (u64::from_le_bytes(*view) | 1) << (last.leading_zeros() + 1);
        Self { bytes, at: bytes.len() - 8, view }
    }

    /// Return the bits that are left.
    pub fn rest(self) -> Outcome<Backward<'a>> {
        match self.view {
            0 => Backward::open(self.bytes),
            view => Ok(Backward::resume(&self.bytes[..self.at + 8], view.trailing_zeros())),
        }
    }
}

/// Decode as many symbols of each stream as whole rounds of all give; return how many bytes of each
/// output they fill.
///
/// The streams take turns, so that a processor need not wait for a look-up of one before it begins
/// that of another. `packed` has the layout of `huffman::Code`.
pub fn decode<const WIDTH: usize, const N: usize>(
    windows: &mut [Window<'_>; N],
    packed: &[u64; STATES],
    outputs: &mut [&mut [u8]; N],
) -> [usize; N] {
    let mut written = [0; N];
    loop {
        let rounds = (0..N).map(|n| {
            let room = outputs[n].len() - written[n];
            let by_room = room.saturating_sub(8) / (LOOK_UPS * MOST_PACKED * WIDTH);
            by_room.min(windows[n].at / ROUND_BYTES)
        });
        let rounds = rounds.min().unwrap_or(0);
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
            let mut places: [Place; N] = core::array::from_fn(|n| Place {
                bytes: windows[n].bytes.as_ptr().add(windows[n].at),
                output: outputs[n].as_mut_ptr().add(written[n]),
                view: windows[n].view,
            });
            rounds_of(packed, &mut places, rounds);
            for n in 0..N {
                windows[n].view = places[n].view;
                windows[n].at = places[n].bytes.offset_from_unsigned(windows[n].bytes.as_ptr());
                written[n] = places[n].output.offset_from_unsigned(outputs[n].as_ptr());
            }
        }
        // A look-up may give nothing; see `huffman::Code`.
        if written == before {
            return written;
        }
    }
}

/// Where a stream is read and written, and its bits in view.
#[derive(Clone, Copy)]
struct Place {
    bytes: *const u8,
    output: *mut u8,
    view: u64,
}

/// Decode whole rounds of each stream.
///
/// Pointers instead of slices: the parts of an entry are then loaded apart, which takes fewer
/// instructions than to shift them out of it.
///
/// # Safety
/// `packed` points to `STATES` entries. Each round reads eight bytes from at most `ROUND_BYTES` before
/// the last ones, and writes as many as its look-ups give, the last of them eight bytes.
#[inline(never)]
unsafe fn rounds_of<const N: usize>(packed: *const u8, places: &mut [Place; N], rounds: usize) {
    let mut now = *places;
    for _ in 0..rounds {
        for Place { bytes, output, view } in &mut now {
            for _ in 0..LOOK_UPS {
                // SAFETY: the upper MOST_BITS bits number an entry of eight bytes.
                unsafe {
                    let entry = packed.add((*view >> (64 - MOST_BITS)) as usize * 8);
                    output.cast::<u64>().write_unaligned(entry.cast::<u64>().read_unaligned());
                    *output = output.add(usize::from(entry.add(OUTPUT_BYTE).read()));
                    *view = view.wrapping_shl(entry.add(BITS_BYTE).read().into());
                }
            }
            // At most 63 bits are used: the marker is still there.
            let used = view.trailing_zeros();
            // SAFETY: see above.
            unsafe {
                *bytes = bytes.sub(used as usize >> 3);
                *view = (u64::from_le(bytes.cast::<u64>().read_unaligned()) | 1) << (used & 7);
            }
        }
    }
    *places = now;
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
