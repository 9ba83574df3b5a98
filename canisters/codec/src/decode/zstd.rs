//! One zstd frame (RFC 8878) of a known size.
//!
//! Rules beyond the RFC, for every zstd stream of a payload: it is one frame, not a skippable one;
//! its header states the content size, and that is the expected one; it needs no dictionary; its
//! window is at most 2 MiB; nothing follows it.

use alloc::vec::Vec;

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::FormatError;
use crate::bytes::Bytes;
use crate::limits::MAX_CHUNK_BYTES;

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const MAX_WINDOW_BYTES: u64 = 2 << 20;
const WHAT: &str = "zstd stream";

/// Decompress to exactly `expected_len` bytes.
pub(super) fn decompress(stream: &[u8], expected_len: usize) -> Result<Vec<u8>, FormatError> {
    let header = Header::parse(stream)?;
    if header.content_len != expected_len as u64 || expected_len > MAX_CHUNK_BYTES {
        return broken("a zstd stream states another size");
    }
    if header.dictionary != 0 || header.window_len > MAX_WINDOW_BYTES {
        return broken("a zstd stream needs a dictionary or too large a window");
    }
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(MAX_WINDOW_BYTES);
    let mut rest = stream;
    decoder.init(&mut rest).or(broken("a zstd stream has a bad header"))?;
    let mut output = alloc::vec![0; expected_len];
    let mut written = 0;
    while !decoder.is_finished() {
        // A block gives at most 128 KiB and some bytes, so what lies in the decoder stays bounded.
        decoder
            .decode_blocks(&mut rest, BlockDecodingStrategy::UptoBlocks(1))
            .or(broken("a zstd stream does not decompress"))?;
        if written + decoder.can_collect() > expected_len {
            return broken("a zstd stream gives more bytes than it states");
        }
        written += collect(&mut decoder, &mut output[written..])?;
    }
    if !rest.is_empty() {
        return Err(FormatError::Trailing { what: WHAT, bytes: rest.len() });
    }
    written += collect(&mut decoder, &mut output[written..])?;
    if written != expected_len || decoder.can_collect() != 0 {
        return broken("a zstd stream gives another size than it states");
    }
    if let Some(stated) = decoder.get_checksum_from_data()
        && decoder.get_calculated_checksum() != Some(stated)
    {
        return broken("a zstd stream has a wrong checksum");
    }
    Ok(output)
}

fn collect(decoder: &mut FrameDecoder, output: &mut [u8]) -> Result<usize, FormatError> {
    use ruzstd::io::Read;
    decoder.read(output).or(broken("a zstd stream does not decompress"))
}

fn broken<T>(what: &'static str) -> Result<T, FormatError> {
    Err(FormatError::Payload { what })
}

struct Header {
    content_len: u64,
    window_len: u64,
    dictionary: u64,
}

impl Header {
    /// Read a frame header; see RFC 8878, 3.1.1.1.
    fn parse(stream: &[u8]) -> Result<Self, FormatError> {
        let mut bytes = Bytes::new(stream, WHAT);
        if bytes.array()? != MAGIC {
            return Err(FormatError::Magic { what: WHAT });
        }
        let descriptor = bytes.u8()?;
        if descriptor & 0b1000 != 0 {
            return Err(FormatError::Reserved { what: WHAT });
        }
        let is_single_segment = descriptor & 0b10_0000 != 0;
        let window = if is_single_segment { None } else { Some(bytes.u8()?) };
        let dictionary = little_endian(bytes.take([0, 1, 2, 4][usize::from(descriptor & 3)])?);
        let content_len = match descriptor >> 6 {
            0 if is_single_segment => little_endian(bytes.take(1)?),
            0 => return broken("a zstd stream states no size"),
            1 => little_endian(bytes.take(2)?) + 256,
            2 => little_endian(bytes.take(4)?),
            _ => little_endian(bytes.take(8)?),
        };
        let window_len = window.map_or(content_len, |window| {
            let base = 1u64 << (10 + (window >> 3));
            base + base / 8 * u64::from(window & 7)
        });
        Ok(Self { content_len, window_len, dictionary })
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}
