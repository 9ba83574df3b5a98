//! What is wrong with bytes that do not follow a format.

use core::fmt;

/// Why bytes were refused. `what` names the part of the format, in words of its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatError {
    /// The bytes end before the part does.
    Truncated {
        /// The part that is cut off.
        what: &'static str,
    },
    /// Bytes follow the end of the format.
    Trailing {
        /// The format that has ended.
        what: &'static str,
        /// How many bytes follow.
        bytes: usize,
    },
    /// The first bytes are not the format's magic.
    Magic {
        /// The format that was expected.
        what: &'static str,
    },
    /// The format is right, its version is not known.
    Version {
        /// The format.
        what: &'static str,
        /// The version found.
        found: u64,
    },
    /// Reserved bytes or padding are not zero.
    Reserved {
        /// The format.
        what: &'static str,
    },
    /// A stored number names nothing that is known.
    Unknown {
        /// The field.
        what: &'static str,
        /// The number found.
        found: u64,
    },
    /// A number or length lies outside of what the format allows.
    Range {
        /// The field.
        what: &'static str,
        /// The number found.
        found: u64,
        /// The largest that is allowed, or the only one.
        allowed: u64,
    },
    /// The CBOR is not deterministic: an integer or length is not in its shortest form, or a
    /// length is indefinite.
    NotShortest {
        /// Offset of the item, bytes.
        at: usize,
    },
    /// A CBOR item is of another type than the schema's.
    Type {
        /// The field.
        what: &'static str,
        /// Offset of the item, bytes.
        at: usize,
    },
    /// Text is not UTF-8.
    Utf8 {
        /// The field.
        what: &'static str,
    },
    /// Entries that must rise strictly do not: unsorted, or one twice.
    Order {
        /// The list.
        what: &'static str,
    },
    /// Two parts that must agree do not.
    Disagree {
        /// The rule that is broken.
        what: &'static str,
    },
    /// The raw bytes are not those the frame's content digest names.
    Content,
    /// A compressed payload cannot be decoded.
    Payload {
        /// The codec's word for it.
        what: &'static str,
    },
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated { what } => write!(f, "{what} is cut off"),
            Self::Trailing { what, bytes } => write!(f, "{bytes} bytes follow the {what}"),
            Self::Magic { what } => write!(f, "not a {what}: wrong magic"),
            Self::Version { what, found } => write!(f, "{what} version {found} is not known"),
            Self::Reserved { what } => write!(f, "reserved bytes of the {what} are not zero"),
            Self::Unknown { what, found } => write!(f, "{what} {found} is not known"),
            Self::Range { what, found, allowed } => {
                write!(f, "{what} is {found}, allowed is {allowed}")
            }
            Self::NotShortest { at } => write!(f, "CBOR item at byte {at} is not deterministic"),
            Self::Type { what, at } => write!(f, "CBOR item at byte {at} is not a {what}"),
            Self::Utf8 { what } => write!(f, "{what} is not UTF-8"),
            Self::Order { what } => write!(f, "{what} are not sorted and unique"),
            Self::Disagree { what } => write!(f, "{what}"),
            Self::Content => write!(f, "the raw bytes do not have the content digest"),
            Self::Payload { what } => write!(f, "payload: {what}"),
        }
    }
}

impl core::error::Error for FormatError {}
