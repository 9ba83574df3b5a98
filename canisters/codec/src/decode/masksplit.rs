//! Codec 2: each 16-bit word split by a mask into noise, stored as it is, and symbols for zstd.
//!
//! F16 and BF16 are one plane of words. F32 is two: the upper halves, then the lower halves. The
//! raw bytes are n whole elements, little-endian, and a tail shorter than an element. The payload,
//! little-endian:
//!
//! ```text
//! offset size field
//!      0    1 plane count: 1 for F16 and BF16, 2 for F32
//!      1    3 reserved, zero
//!      4   16 header of each plane:
//!                0    2 mask
//!                2    2 symbol count s, 1 to 256
//!                4    4 patch count p, at most n
//!                8    4 stream length z, bytes; 0 exactly if s is 1
//!               12    4 reserved, zero
//!      .    - body of each plane:
//!              2 * s    symbols, u16; no bit outside the mask
//!              4 * p    patch positions, u32; rising, below n
//!              2 * p    patch symbols, u16; no bit outside the mask
//!     b * ceil(n/8)     raw plane, b = count of the bits outside the mask (bits.rs)
//!                  z    zstd stream (zstd.rs) of n bytes: for each word the index of its symbol,
//!                       below s; for a patched word any that is below s
//!      .    - tail, as it is; a trailing byte is an error
//! ```
//!
//! A word is its symbol, or its patch symbol if it is patched, together with its raw part.

use alloc::vec::Vec;

use super::{bits, zstd};
use crate::FormatError;
use crate::bytes::Bytes;
use crate::frame::Element;

const WHAT: &str = "masksplit payload";
const MAX_SYMBOLS: usize = 256;

struct PlaneHeader {
    mask: u16,
    symbol_count: usize,
    patch_count: usize,
    stream_len: usize,
}

/// Decode a payload to exactly `raw_len` bytes.
pub(super) fn decode(
    payload: &[u8],
    raw_len: usize,
    element: Element,
) -> Result<Vec<u8>, FormatError> {
    let plane_count = match element {
        Element::F16 | Element::Bf16 => 1,
        Element::F32 => 2,
        _ => return Err(FormatError::Disagree { what: "codec 2 is for F16, BF16 and F32" }),
    };
    let count = raw_len / (2 * plane_count);
    let mut bytes = Bytes::new(payload, WHAT);
    let stated = usize::from(bytes.u8()?);
    if stated != plane_count {
        let (found, allowed) = (stated as u64, plane_count as u64);
        return Err(FormatError::Range { what: "plane count", found, allowed });
    }
    bytes.zeros(3)?;
    let headers: Vec<PlaneHeader> =
        (0..plane_count).map(|_| parse_header(&mut bytes, count)).collect::<Result<_, _>>()?;
    let planes: Vec<Vec<u16>> = headers
        .iter()
        .map(|header| parse_plane(&mut bytes, header, count))
        .collect::<Result<_, _>>()?;
    let tail = bytes.take(raw_len - count * 2 * plane_count)?;
    bytes.end()?;
    let mut raw = Vec::with_capacity(raw_len);
    match planes.as_slice() {
        [upper, lower] => {
            for (upper, lower) in upper.iter().zip(lower) {
                raw.extend_from_slice(&lower.to_le_bytes());
                raw.extend_from_slice(&upper.to_le_bytes());
            }
        }
        planes => {
            for word in planes.iter().flatten() {
                raw.extend_from_slice(&word.to_le_bytes());
            }
        }
    }
    raw.extend_from_slice(tail);
    Ok(raw)
}

fn parse_header(bytes: &mut Bytes<'_>, count: usize) -> Result<PlaneHeader, FormatError> {
    let mask = bytes.u16()?;
    let symbol_count = usize::from(bytes.u16()?);
    let patch_count = bytes.u32()? as usize;
    let stream_len = bytes.u32()? as usize;
    bytes.zeros(4)?;
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
    Ok(PlaneHeader { mask, symbol_count, patch_count, stream_len })
}

fn parse_plane(
    bytes: &mut Bytes<'_>,
    header: &PlaneHeader,
    count: usize,
) -> Result<Vec<u16>, FormatError> {
    let &PlaneHeader { mask, symbol_count, patch_count, stream_len } = header;
    let symbols = take_symbols(bytes, symbol_count, mask)?;
    let (positions, _) = bytes.take(4 * patch_count)?.as_chunks::<4>();
    let positions: Vec<usize> =
        positions.iter().map(|&position| u32::from_le_bytes(position) as usize).collect();
    if !positions.is_sorted_by(|one, next| one < next)
        || positions.last().is_some_and(|&last| last >= count)
    {
        return Err(FormatError::Order { what: "patch positions" });
    }
    let patches = take_symbols(bytes, patch_count, mask)?;
    let mut words = bits::unpack(bytes.take(bits::plane_len(mask, count))?, mask, count)?;
    let mut patched = positions.iter().copied().zip(patches).peekable();
    let stream = bytes.take(stream_len)?;
    let indices = match symbol_count {
        1 => alloc::vec![0; count],
        _ => zstd::decompress(stream, count)?,
    };
    for (position, (word, index)) in words.iter_mut().zip(indices).enumerate() {
        let symbol = *symbols.get(usize::from(index)).ok_or(FormatError::Range {
            what: "index of a symbol",
            found: index.into(),
            allowed: symbol_count as u64 - 1,
        })?;
        *word |= patched.next_if(|patch| patch.0 == position).map_or(symbol, |patch| patch.1);
    }
    Ok(words)
}

fn take_symbols(bytes: &mut Bytes<'_>, count: usize, mask: u16) -> Result<Vec<u16>, FormatError> {
    let (symbols, _) = bytes.take(2 * count)?.as_chunks::<2>();
    let symbols: Vec<u16> = symbols.iter().map(|&symbol| u16::from_le_bytes(symbol)).collect();
    if symbols.iter().any(|symbol| symbol & !mask != 0) {
        return Err(FormatError::Disagree { what: "a symbol has a bit outside the mask" });
    }
    Ok(symbols)
}
