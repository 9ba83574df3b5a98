//! Merge the raw plane of a mask split into words. The layout is that of `datanode_codec`'s
//! `decode/bits.rs` and of `datanode/codec/bits.py`.

use alloc::vec::Vec;

use crate::fast::{self, MOST_SOURCES, Shift, Source};
use crate::{Outcome, take};

/// Return the size of the raw plane of `count` words, bytes.
pub fn plane_len(mask: u16, count: usize) -> usize {
    mask.count_zeros() as usize * count.div_ceil(8)
}

/// Bits of a word that are adjacent in a stored value too.
#[derive(Clone, Copy)]
struct Piece {
    word_shift: u32,
    value_shift: u32,
    bits: u16,
}

/// Values of one width, `width` of them a word's bits.
struct SubPlane<'a> {
    width: usize,
    stored: &'a [u8],
    pieces: Vec<Piece>,
}

/// Set the bits outside the mask in `words`, whose length is a multiple of eight words.
///
/// `plane` has exactly `plane_len` bytes for these words.
pub fn merge(mut plane: &[u8], mask: u16, words: &mut [u8]) -> Outcome<()> {
    let eighth = words.len() / 16;
    if eighth == 0 || mask == u16::MAX {
        return Ok(());
    }
    if mask == 0 {
        let bytes = take(&mut plane, words.len(), "raw plane")?;
        words.copy_from_slice(bytes);
        return Ok(());
    }
    let mut sub_planes = Vec::new();
    let mut free = !mask;
    for width in [8, 4, 2, 1] {
        if mask.count_zeros() & width != 0 {
            let stored = take(&mut plane, width as usize * eighth, "raw plane")?;
            let (pieces, left) = pieces(free, width);
            free = left;
            sub_planes.push(SubPlane { width: width as usize, stored, pieces });
        }
    }
    // In an eighth of the words, the bits of a width all come from one place of the bytes.
    for (index, words) in words.chunks_exact_mut(2 * eighth).enumerate() {
        let mut sources: Vec<Source<'_>> = Vec::with_capacity(8);
        for SubPlane { width, stored, pieces } in &sub_planes {
            let stored = stored.get(index % width * eighth..).unwrap_or(&[]);
            let from = (index / width * width) as u32;
            sources.extend(pieces.iter().map(|piece| {
                let (word, value) = (piece.word_shift, from + piece.value_shift);
                let (left, right) = (word.saturating_sub(value), value.saturating_sub(word));
                (stored, Shift { left, right, bits: piece.bits })
            }));
        }
        sources.chunks(MOST_SOURCES).for_each(|sources| fast::merge(words, sources));
    }
    Ok(())
}

/// Return the pieces of the lowest `width` bits of `free`, and the bits that are left.
fn pieces(free: u16, width: u32) -> (Vec<Piece>, u16) {
    let mut pieces = Vec::new();
    let mut left = free;
    let mut at = 0;
    while at < width && left != 0 {
        let word_shift = left.trailing_zeros();
        let run = (left >> word_shift).trailing_ones().min(width - at);
        let bits = u16::MAX >> (16 - run) << word_shift;
        pieces.push(Piece { word_shift, value_shift: at, bits });
        left &= !bits;
        at += run;
    }
    (pieces, left)
}
