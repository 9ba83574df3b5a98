//! A page of chunk records: 1 to 16,384 of them, nothing before, between or after.
//!
//! A record is 80 bytes, little-endian:
//!
//! ```text
//! offset size field
//!      0   32 content digest of the raw bytes
//!     32   32 frame digest
//!     64    4 raw length, bytes
//!     68    4 frame length, bytes
//!     72    1 codec id
//!     73    1 element type
//!     74    6 reserved, zero
//! ```

use crate::bytes::Bytes;
use crate::frame::{Codec, Element, HEADER_BYTES};
use crate::limits::{MAX_CHUNK_BYTES, MAX_CHUNKS_A_PAGE, MAX_FRAME_BYTES};
use crate::{Digest, FormatError};

/// Length of a chunk record, bytes.
pub const CHUNK_RECORD_BYTES: usize = 80;

const WHAT: &str = "chunk page";

/// One chunk: its two digests and the lengths on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRecord {
    /// BLAKE3-256 of the raw bytes.
    pub content: Digest,
    /// BLAKE3-256 of the frame.
    pub frame: Digest,
    /// Length of the raw bytes.
    pub raw_len: u32,
    /// Length of the frame, bytes.
    pub frame_len: u32,
    /// How the frame's payload is encoded.
    pub codec: Codec,
    /// How the codec read the raw bytes.
    pub element: Element,
}

/// A page whose records have all been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkPage<'a> {
    records: &'a [[u8; CHUNK_RECORD_BYTES]],
}

impl<'a> ChunkPage<'a> {
    /// Return how many records there are, at least one.
    #[allow(clippy::len_without_is_empty)] // a page is never empty
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Return the record at an index, or `None` beyond the last.
    pub fn get(&self, index: usize) -> Option<ChunkRecord> {
        self.records.get(index).and_then(|record| parse_record(record).ok())
    }

    /// Return the records in order.
    pub fn iter(&self) -> ChunkRecords<'a> {
        ChunkRecords { records: self.records.iter() }
    }
}

impl<'a> IntoIterator for ChunkPage<'a> {
    type Item = ChunkRecord;
    type IntoIter = ChunkRecords<'a>;

    fn into_iter(self) -> ChunkRecords<'a> {
        self.iter()
    }
}

/// The records of a page, in order.
#[derive(Clone, Debug)]
pub struct ChunkRecords<'a> {
    records: core::slice::Iter<'a, [u8; CHUNK_RECORD_BYTES]>,
}

impl Iterator for ChunkRecords<'_> {
    type Item = ChunkRecord;

    fn next(&mut self) -> Option<ChunkRecord> {
        // Every record was checked when the page was opened.
        self.records.next().and_then(|record| parse_record(record).ok())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.records.size_hint()
    }
}

impl ExactSizeIterator for ChunkRecords<'_> {}

/// Check a chunk page and return its records.
///
/// # Errors
/// A length that is not a whole number of records, too many of them, or none; a record that the
/// table of this file does not allow.
pub fn chunk_page(page: &[u8]) -> Result<ChunkPage<'_>, FormatError> {
    let (records, rest) = page.as_chunks::<CHUNK_RECORD_BYTES>();
    if !rest.is_empty() || records.is_empty() {
        return Err(FormatError::Truncated { what: WHAT });
    }
    if records.len() > MAX_CHUNKS_A_PAGE {
        return Err(FormatError::Range {
            what: "count of chunk records",
            found: records.len() as u64,
            allowed: MAX_CHUNKS_A_PAGE as u64,
        });
    }
    for record in records {
        parse_record(record)?;
    }
    Ok(ChunkPage { records })
}

fn parse_record(record: &[u8; CHUNK_RECORD_BYTES]) -> Result<ChunkRecord, FormatError> {
    let mut bytes = Bytes::new(record, WHAT);
    let content = bytes.array()?;
    let frame = bytes.array()?;
    let raw_len = within("raw length", bytes.u32()?, 1, MAX_CHUNK_BYTES)?;
    let frame_len = within("frame length", bytes.u32()?, HEADER_BYTES, MAX_FRAME_BYTES)?;
    let codec = Codec::from_id(bytes.u8()?);
    let element = Element::parse(bytes.u8()?)?;
    bytes.zeros(6)?;
    Ok(ChunkRecord { content, frame, raw_len, frame_len, codec, element })
}

fn within(what: &'static str, found: u32, least: usize, most: usize) -> Result<u32, FormatError> {
    if (least..=most).contains(&(found as usize)) {
        return Ok(found);
    }
    Err(FormatError::Range { what, found: found.into(), allowed: most as u64 })
}
