//! The raw plane: the bits outside a mask of each 16-bit word, without gaps.
//!
//! The b bits of a word outside the mask, lowest first, are its *field*. The n fields are padded
//! with zero fields to N = 8 * ceil(n/8), so that the plane has b * N/8 bytes. For each of the
//! widths d of 16, 8, 4, 2 and 1 that sum to b, the largest first, there is a sub-plane of
//! d * N/8 bytes that takes the next d bits of every field, lowest first:
//!
//! - d = 16: N little-endian words, d = 8: N bytes, in order;
//! - d < 8: byte j holds 8/d fields, of the words j, j + L, j + 2L, ... with L = d * N/8, the first
//!   in the lowest bits.

use alloc::vec::Vec;

use crate::FormatError;

/// Adjacent bits of a word that stay adjacent in a sub-plane's value.
#[derive(Clone, Copy)]
struct Piece {
    word_shift: u32,
    value_shift: u32,
    low_bits: u16,
}

/// Return the size of the raw plane of `count` words, bytes.
pub(super) fn plane_len(mask: u16, count: usize) -> usize {
    mask.count_zeros() as usize * count.div_ceil(8)
}

/// Return the words with their raw parts in place and all other bits zero.
///
/// `plane` has exactly `plane_len(mask, count)` bytes.
pub(super) fn unpack(plane: &[u8], mask: u16, count: usize) -> Result<Vec<u16>, FormatError> {
    let eighth = count.div_ceil(8);
    let mut words = alloc::vec![0u16; eighth * 8];
    let mut rest = plane;
    let mut free = !mask;
    for width in [16, 8, 4, 2, 1] {
        if mask.count_zeros() & width == 0 {
            continue;
        }
        let taken = width as usize * eighth;
        let (stored, later) =
            rest.split_at_checked(taken).ok_or(FormatError::Truncated { what: "raw plane" })?;
        rest = later;
        let (pieces, left) = pieces(free, width);
        free = left;
        spread(stored, width, &pieces, &mut words);
    }
    if words[count..].iter().any(|&word| word != 0) {
        return Err(FormatError::Reserved { what: "raw plane" });
    }
    words.truncate(count);
    Ok(words)
}

/// Put the values of one sub-plane into the words.
fn spread(stored: &[u8], width: u32, pieces: &[Piece], words: &mut [u16]) {
    for piece in pieces {
        let put = |word: &mut u16, value: u16| {
            *word |= (value >> piece.value_shift & piece.low_bits) << piece.word_shift;
        };
        if width == 16 {
            let (values, _) = stored.as_chunks::<2>();
            let values = values.iter().map(|value| u16::from_le_bytes(*value));
            words.iter_mut().zip(values).for_each(|(word, value)| put(word, value));
            continue;
        }
        // At width 8 one turn covers all words.
        for (turn, words) in words.chunks_mut(stored.len().max(1)).enumerate() {
            let shift = turn as u32 * width;
            let low_bits = (1u16 << width) - 1;
            for (word, &byte) in words.iter_mut().zip(stored) {
                put(word, u16::from(byte) >> shift & low_bits);
            }
        }
    }
}

/// Return the pieces of the lowest `width` bits of `free`, and the bits that are left.
fn pieces(free: u16, width: u32) -> (Vec<Piece>, u16) {
    let mut pieces = Vec::new();
    let mut left = free;
    let mut at = 0;
    while at < width && left != 0 {
        let word_shift = left.trailing_zeros();
        let run = (left >> word_shift).trailing_ones().min(width - at);
        let low_bits = u16::MAX >> (16 - run);
        pieces.push(Piece { word_shift, value_shift: at, low_bits });
        left &= !(low_bits << word_shift);
        at += run;
    }
    (pieces, left)
}
