//! A frame: one chunk's bytes as they are sent, stored and served.
//!
//! Version 1, little-endian:
//!
//! ```text
//! offset size field
//!      0    4 magic "DNCF"
//!      4    1 version, 1
//!      5    1 codec id
//!      6    1 element type: 0 bytes, 1 F16, 2 BF16, 3 F32, 4 F8_E4M3, 5 F8_E5M2
//!      7    1 reserved, zero
//!      8    4 raw length, bytes, at most MAX_CHUNK_BYTES
//!     12    4 payload length, bytes, at most the raw length; codec 0: the raw length
//!     16   32 content digest of the raw bytes
//!     48    4 row length, elements; 0: no rows. Else the element type is not `bytes` and the raw
//!             bytes are whole rows
//!     52   12 reserved, zero
//!     64    - payload; a trailing byte is an error
//! ```
//!
//! The content digest is its writer's claim: only a decoder can check it.

use crate::bytes::Bytes;
use crate::limits::{FRAME_HEADER_BYTES, MAX_CHUNK_BYTES};
use crate::{Digest, FormatError};

/// Length of the header, bytes.
pub const HEADER_BYTES: usize = FRAME_HEADER_BYTES;

const MAGIC: [u8; 4] = *b"DNCF";
const VERSION: u8 = 1;

/// How a payload is encoded. Stored: an id is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// The raw bytes themselves.
    Raw,
    /// One zstd frame.
    Zstd,
    /// Words of floats split by a bit mask, the symbol plane in zstd.
    MaskSplit,
    /// A codec of a later release: such a frame can be stored and served, not decoded.
    Later(u8),
}

impl Codec {
    /// Return the codec with this id.
    pub const fn from_id(id: u8) -> Self {
        match id {
            0 => Self::Raw,
            1 => Self::Zstd,
            2 => Self::MaskSplit,
            _ => Self::Later(id),
        }
    }

    /// Return the stored id.
    pub const fn id(self) -> u8 {
        match self {
            Self::Raw => 0,
            Self::Zstd => 1,
            Self::MaskSplit => 2,
            Self::Later(id) => id,
        }
    }
}

/// How a codec reads the raw bytes. Stored: an id is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Element {
    /// Bytes of no further meaning.
    Bytes = 0,
    /// IEEE 754 half precision.
    F16 = 1,
    /// The upper half of a single precision float.
    Bf16 = 2,
    /// IEEE 754 single precision.
    F32 = 3,
    /// Eight bits, four of exponent.
    F8E4M3 = 4,
    /// Eight bits, five of exponent.
    F8E5M2 = 5,
}

impl Element {
    /// Return the element type with this id.
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::Bytes),
            1 => Some(Self::F16),
            2 => Some(Self::Bf16),
            3 => Some(Self::F32),
            4 => Some(Self::F8E4M3),
            5 => Some(Self::F8E5M2),
            _ => None,
        }
    }

    /// Return the stored id.
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// Return the length of an element, bytes.
    pub const fn width(self) -> u8 {
        match self {
            Self::Bytes | Self::F8E4M3 | Self::F8E5M2 => 1,
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
        }
    }

    pub(crate) fn parse(id: u8) -> Result<Self, FormatError> {
        Self::from_id(id).ok_or(FormatError::Unknown { what: "element type", found: id.into() })
    }
}

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// How the payload is encoded.
    pub codec: Codec,
    /// How the codec read the raw bytes.
    pub element: Element,
    /// Length of the raw bytes.
    pub raw_len: u32,
    /// Length of the payload, bytes.
    pub payload_len: u32,
    /// The writer's claim: BLAKE3-256 of the raw bytes.
    pub content: Digest,
    /// Length of a row, elements; 0 for no rows.
    pub row_len: u32,
}

/// Read the header of a frame that is `frame_len` bytes long.
///
/// # Errors
/// Anything that the table of this file does not allow, and lengths that do not agree.
pub fn parse_header(header: &[u8; HEADER_BYTES], frame_len: usize) -> Result<Header, FormatError> {
    let mut bytes = Bytes::new(header, "frame");
    if bytes.array()? != MAGIC {
        return Err(FormatError::Magic { what: "frame" });
    }
    let version = bytes.u8()?;
    if version != VERSION {
        return Err(FormatError::Version { what: "frame", found: version.into() });
    }
    let codec = Codec::from_id(bytes.u8()?);
    let element = Element::parse(bytes.u8()?)?;
    bytes.zeros(1)?;
    let raw_len = at_most("raw length", bytes.u32()?, MAX_CHUNK_BYTES)?;
    let payload_len = at_most("payload length", bytes.u32()?, MAX_CHUNK_BYTES)?;
    let content = bytes.array()?;
    let row_len = bytes.u32()?;
    bytes.zeros(12)?;
    let stated = HEADER_BYTES + payload_len as usize;
    if frame_len < stated {
        return Err(FormatError::Truncated { what: "frame" });
    }
    if frame_len > stated {
        return Err(FormatError::Trailing { what: "frame", bytes: frame_len - stated });
    }
    if codec == Codec::Raw && payload_len != raw_len {
        return Err(FormatError::Disagree { what: "a raw payload has not the raw length" });
    }
    if payload_len > raw_len {
        return Err(FormatError::Disagree { what: "a payload is longer than the raw bytes" });
    }
    let row_bytes = u64::from(row_len) * u64::from(element.width());
    if row_len != 0 && (element == Element::Bytes || u64::from(raw_len) % row_bytes != 0) {
        return Err(FormatError::Disagree { what: "the raw bytes are not whole rows" });
    }
    Ok(Header { codec, element, raw_len, payload_len, content, row_len })
}

/// Split a whole frame into its header and its payload.
///
/// # Errors
/// As `parse_header`.
pub fn parse(frame: &[u8]) -> Result<(Header, &[u8]), FormatError> {
    let Some((header, payload)) = frame.split_first_chunk::<HEADER_BYTES>() else {
        return Err(FormatError::Truncated { what: "frame" });
    };
    Ok((parse_header(header, frame.len())?, payload))
}

fn at_most(what: &'static str, found: u32, most: usize) -> Result<u32, FormatError> {
    if found as usize > most {
        return Err(FormatError::Range { what, found: found.into(), allowed: most as u64 });
    }
    Ok(found)
}
