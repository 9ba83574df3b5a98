//! Decode frames to the raw bytes of their chunks, for readers.
//!
//! The decoder takes untrusted bytes: it checks each length before it uses it, bounds its output by
//! the raw length in the frame's header, never panics and never reads or writes out of bounds. It
//! does not compute digests. A caller that has not verified the frame's digest compares the content
//! digest of the header with the decoded bytes.
//!
//! `datanode_codec::decode` decodes the same formats with an independent zstd decoder and is the
//! reference of the tests.
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;

mod backward;
mod fast;
mod fse;
mod huffman;
mod masksplit;
mod planes;
mod sequences;
mod symbols;
mod xxhash;
mod zstd;

use alloc::vec::Vec;

use datanode_codec::FormatError;
use datanode_codec::frame::{Codec, Header, parse};

type Outcome<T> = Result<T, FormatError>;

/// Decodes one frame after another into buffers that it keeps.
#[derive(Default)]
pub struct Decoder {
    zstd: zstd::Decoder,
    raw: Vec<u8>,
    half: Vec<u8>,
}

impl Decoder {
    /// Create a decoder with empty buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decode a frame, and return its header and its raw bytes.
    ///
    /// # Errors
    /// The frame or its payload breaks a rule of the formats, or the codec is of a later release.
    pub fn decode<'a>(&'a mut self, frame: &'a [u8]) -> Outcome<(Header, &'a [u8])> {
        let (header, payload) = parse(frame)?;
        let raw_len = header.raw_len as usize;
        match header.codec {
            Codec::Raw => return Ok((header, payload)),
            Codec::Zstd => {
                self.raw.clear();
                self.raw.resize(raw_len, 0);
                self.zstd.bytes(payload, &mut self.raw)?;
            }
            Codec::MaskSplit => masksplit::decode(self, payload, raw_len, header.element)?,
            Codec::Later(id) => {
                return Err(FormatError::Unknown { what: "codec", found: id.into() });
            }
        }
        let raw = self.raw.get(..raw_len).ok_or(FormatError::Truncated { what: "payload" })?;
        Ok((header, raw))
    }
}

fn broken<T>(what: &'static str) -> Outcome<T> {
    Err(FormatError::Payload { what })
}

/// Split off the first `count` bytes.
fn take<'a>(bytes: &mut &'a [u8], count: usize, what: &'static str) -> Outcome<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(count).ok_or(FormatError::Truncated { what })?;
    *bytes = rest;
    Ok(head)
}

/// Split off an array.
fn array<const N: usize>(bytes: &mut &[u8], what: &'static str) -> Outcome<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk().ok_or(FormatError::Truncated { what })?;
    *bytes = rest;
    Ok(*head)
}
