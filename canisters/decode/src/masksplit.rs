//! Codec 2. The payload's table stands in `datanode_codec`'s `decode/masksplit.rs` and in
//! `datanode/codec/masksplit.py`.

use alloc::vec::Vec;

use datanode_codec::FormatError;
use datanode_codec::frame::Element;

use crate::symbols::Symbols;
use crate::{Decoder, Outcome, array, planes, take, zstd};

const WHAT: &str = "masksplit payload";
const MAX_SYMBOLS: usize = 256;

struct PlaneHeader {
    mask: u16,
    symbol_count: usize,
    patch_count: usize,
    stream_len: usize,
}

/// Decode a payload into the first `raw_len` bytes of the decoder's buffer.
pub fn decode(
    decoder: &mut Decoder,
    mut payload: &[u8],
    raw_len: usize,
    element: Element,
) -> Outcome<()> {
    let plane_count = match element {
        Element::F16 | Element::Bf16 => 1,
        Element::F32 => 2,
        _ => return Err(FormatError::Disagree { what: "codec 2 is for F16, BF16 and F32" }),
    };
    let count = raw_len / (2 * plane_count);
    let [stated, reserved @ ..] = array::<4>(&mut payload, WHAT)?;
    if usize::from(stated) != plane_count {
        let (found, allowed) = (stated.into(), plane_count as u64);
        return Err(FormatError::Range { what: "plane count", found, allowed });
    }
    if reserved != [0; 3] {
        return Err(FormatError::Reserved { what: WHAT });
    }
    let first = parse_header(&mut payload, count)?;
    let second = if plane_count == 2 { Some(parse_header(&mut payload, count)?) } else { None };
    let Decoder { zstd, raw, half } = decoder;
    let Some(second) = second else {
        decode_plane(zstd, &mut payload, &first, count, raw)?;
        raw.truncate(2 * count);
        return end(payload, raw_len - 2 * count, raw);
    };
    let mut upper = Vec::new();
    decode_plane(zstd, &mut payload, &first, count, &mut upper)?;
    decode_plane(zstd, &mut payload, &second, count, half)?;
    raw.resize(4 * count, 0);
    let (upper, _) = upper.as_chunks::<2>();
    let (lower, _) = half.as_chunks::<2>();
    let (words, _) = raw.as_chunks_mut::<4>();
    for ((word, [c, d]), [a, b]) in words.iter_mut().zip(upper).zip(lower) {
        *word = [*a, *b, *c, *d];
    }
    end(payload, raw_len - 4 * count, raw)
}

/// Append the tail, which is all that is left.
fn end(mut payload: &[u8], tail_len: usize, raw: &mut Vec<u8>) -> Outcome<()> {
    raw.extend_from_slice(take(&mut payload, tail_len, WHAT)?);
    match payload.len() {
        0 => Ok(()),
        bytes => Err(FormatError::Trailing { what: WHAT, bytes }),
    }
}

fn parse_header(payload: &mut &[u8], count: usize) -> Outcome<PlaneHeader> {
    let [m0, m1, s0, s1, p0, p1, p2, p3, z0, z1, z2, z3, reserved @ ..] =
        array::<16>(payload, WHAT)?;
    let symbol_count = usize::from(u16::from_le_bytes([s0, s1]));
    let patch_count = u32::from_le_bytes([p0, p1, p2, p3]) as usize;
    let stream_len = u32::from_le_bytes([z0, z1, z2, z3]) as usize;
    if reserved != [0; 4] {
        return Err(FormatError::Reserved { what: WHAT });
    }
    if !(1..=MAX_SYMBOLS).contains(&symbol_count) {
        let (found, allowed) = (symbol_count as u64, MAX_SYMBOLS as u64);
        return Err(FormatError::Range { what: "symbol count", found, allowed });
    }
    if patch_count > count {
        let (found, allowed) = (patch_count as u64, count as u64);
        return Err(FormatError::Range { what: "patch count", found, allowed });
    }
    if (stream_len == 0) != (symbol_count == 1) {
        return Err(FormatError::Disagree { what: "a plane has a stream only for many symbols" });
    }
    Ok(PlaneHeader { mask: u16::from_le_bytes([m0, m1]), symbol_count, patch_count, stream_len })
}

/// Decode a plane to words, `count` of them and zeros up to a multiple of eight.
fn decode_plane(
    zstd: &mut zstd::Decoder,
    payload: &mut &[u8],
    header: &PlaneHeader,
    count: usize,
    words: &mut Vec<u8>,
) -> Outcome<()> {
    let &PlaneHeader { mask, symbol_count, patch_count, stream_len } = header;
    let table = take(payload, 2 * symbol_count, WHAT)?;
    let positions = take(payload, 4 * patch_count, WHAT)?;
    let patches = take(payload, 2 * patch_count, WHAT)?;
    require_inside(table, mask)?;
    require_inside(patches, mask)?;
    let plane = take(payload, planes::plane_len(mask, count), WHAT)?;
    let stream = take(payload, stream_len, WHAT)?;
    let symbols = Symbols::<2>::of_table(table);
    let padded = 2 * count.next_multiple_of(8);
    // What the last frame left is overwritten, except for the padding.
    words.resize(padded, 0);
    let (used, padding) = words.split_at_mut(2 * count);
    padding.fill(0);
    match symbol_count {
        1 => symbols.fill(0, used)?,
        _ => zstd.words(stream, &symbols, used)?,
    }
    planes::merge(plane, mask, words)?;
    let (used, padding) = words.split_at_mut(2 * count);
    if padding.iter().any(|&byte| byte != 0) {
        return Err(FormatError::Reserved { what: "raw plane" });
    }
    patch(used, positions, patches, mask)
}

fn require_inside(symbols: &[u8], mask: u16) -> Outcome<()> {
    let (symbols, _) = symbols.as_chunks::<2>();
    if symbols.iter().any(|symbol| u16::from_le_bytes(*symbol) & !mask != 0) {
        return Err(FormatError::Disagree { what: "a symbol has a bit outside the mask" });
    }
    Ok(())
}

/// Replace the symbols at the positions, which rise and lie within the words.
fn patch(words: &mut [u8], positions: &[u8], patches: &[u8], mask: u16) -> Outcome<()> {
    let (words, _) = words.as_chunks_mut::<2>();
    let (positions, _) = positions.as_chunks::<4>();
    let (patches, _) = patches.as_chunks::<2>();
    let mut next = 0;
    for (position, patch) in positions.iter().zip(patches) {
        let position = u32::from_le_bytes(*position) as usize;
        let (Some(word), true) = (words.get_mut(position), position >= next) else {
            return Err(FormatError::Order { what: "patch positions" });
        };
        let patched = u16::from_le_bytes(*word) & !mask | u16::from_le_bytes(*patch);
        *word = patched.to_le_bytes();
        next = position + 1;
    }
    Ok(())
}
