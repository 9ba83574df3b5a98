//! What a type of Candid looks like.

use crate::wire;

/// A field or a case: the hash of its name, and its type.
pub type Case = (u32, &'static Shape);

/// A type of Candid. Types that contain themselves have no shape.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// A type without parts, by the code that stands for it in a message.
    Plain(i8),
    /// `blob`; of this length, if one is given.
    Blob(Option<u32>),
    /// `opt`.
    Opt(&'static Shape),
    /// `vec` of anything but bytes.
    Vec(&'static Shape),
    /// `record`; fields in the order of their hashes.
    Record(&'static [Case]),
    /// `variant`; cases in the order of their hashes.
    Variant(&'static [Case]),
}

impl Shape {
    /// `null`.
    pub const NULL: Self = Self::Plain(wire::NULL);
    /// `bool`.
    pub const BOOL: Self = Self::Plain(wire::BOOL);
    /// `nat`; numbers beyond 128 bits are refused.
    pub const NAT: Self = Self::Plain(wire::NAT);
    /// `nat8`.
    pub const NAT8: Self = Self::Plain(wire::NAT8);
    /// `nat16`.
    pub const NAT16: Self = Self::Plain(wire::NAT16);
    /// `nat32`.
    pub const NAT32: Self = Self::Plain(wire::NAT32);
    /// `nat64`.
    pub const NAT64: Self = Self::Plain(wire::NAT64);
    /// `int64`.
    pub const INT64: Self = Self::Plain(wire::INT64);
    /// `float32`.
    pub const FLOAT32: Self = Self::Plain(wire::FLOAT32);
    /// `text`.
    pub const TEXT: Self = Self::Plain(wire::TEXT);
    /// `principal`.
    pub const PRINCIPAL: Self = Self::Plain(wire::PRINCIPAL);
}

/// The same type of Candid: no message tells which length a blob must have.
impl PartialEq for Shape {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plain(a), Self::Plain(b)) => a == b,
            (Self::Blob(_), Self::Blob(_)) => true,
            (Self::Opt(a), Self::Opt(b)) | (Self::Vec(a), Self::Vec(b)) => a == b,
            (Self::Record(a), Self::Record(b)) | (Self::Variant(a), Self::Variant(b)) => a == b,
            _ => false,
        }
    }
}
