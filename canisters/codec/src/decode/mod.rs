//! From a frame back to the raw bytes of its chunk.

mod bits;
mod masksplit;
mod zstd;

use alloc::vec::Vec;

use crate::frame::{Codec, parse};
use crate::{FormatError, digest};

/// Decode a frame, and check its raw bytes against its content digest.
///
/// Allocates at most a small multiple of the raw length in the header, which is bounded.
///
/// # Errors
/// Whatever breaks a rule of the frame or of its codec's payload.
pub fn decode(frame: &[u8]) -> Result<Vec<u8>, FormatError> {
    let (header, payload) = parse(frame)?;
    let raw_len = header.raw_len as usize;
    let raw = match header.codec {
        Codec::Raw => payload.into(),
        Codec::Zstd => zstd::decompress(payload, raw_len)?,
        Codec::MaskSplit => masksplit::decode(payload, raw_len, header.element)?,
        Codec::Later(id) => {
            return Err(FormatError::Unknown { what: "codec", found: id.into() });
        }
    };
    if digest::hash(&raw) != header.content {
        return Err(FormatError::Content);
    }
    Ok(raw)
}
