//! Rows of the catalog: written field by field, read back strictly.

use candid::Principal;

use crate::Digest;
use crate::catalog::Tag;

/// Builds a row or a key.
#[derive(Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Start a key.
    pub fn tagged(tag: Tag) -> Self {
        Self(tag.key())
    }

    pub fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    /// Append four bytes, big-endian, so that keys sort by value.
    pub fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Append eight bytes, big-endian, so that keys sort by value.
    pub fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn digest(mut self, value: &Digest) -> Self {
        self.0.extend_from_slice(value);
        self
    }

    /// Append a length byte and the principal.
    pub fn principal(self, value: Principal) -> Self {
        self.short(value.as_slice())
    }

    /// Append a length byte and at most 255 bytes.
    pub fn short(mut self, value: &[u8]) -> Self {
        debug_assert!(value.len() <= usize::from(u8::MAX));
        self.0.push(value.len() as u8);
        self.0.extend_from_slice(value);
        self
    }

    /// Append bytes as they are.
    pub fn raw(mut self, value: &[u8]) -> Self {
        self.0.extend_from_slice(value);
        self
    }

    /// Append a count byte and the numbers.
    pub fn numbers(self, values: &[u32]) -> Self {
        debug_assert!(values.len() <= usize::from(u8::MAX));
        values.iter().fold(self.u8(values.len() as u8), |row, value| row.u32(*value))
    }

    pub fn option(self, value: Option<u64>) -> Self {
        match value {
            None => self.u8(0),
            Some(value) => self.u8(1).u64(value),
        }
    }

    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Takes a row apart. The store wrote it, so that a row that does not fit is damage: it panics,
/// and the host rolls the message back.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(row: &'a [u8]) -> Self {
        Self(row)
    }

    pub fn raw(&mut self, length: usize) -> &'a [u8] {
        let (head, tail) =
            self.0.split_at_checked(length).expect("a row of the catalog is cut off");
        self.0 = tail;
        head
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        array.copy_from_slice(self.raw(N));
        array
    }

    pub fn u8(&mut self) -> u8 {
        self.raw(1)[0]
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.array())
    }

    pub fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }

    pub fn digest(&mut self) -> Digest {
        self.array()
    }

    pub fn short(&mut self) -> &'a [u8] {
        let length = self.u8();
        self.raw(length.into())
    }

    pub fn principal(&mut self) -> Principal {
        Principal::try_from_slice(self.short()).expect("a principal of the catalog is too long")
    }

    pub fn text(&mut self) -> String {
        String::from_utf8(self.short().to_vec()).expect("a name of the catalog is not UTF-8")
    }

    pub fn numbers(&mut self) -> Vec<u32> {
        (0..self.u8()).map(|_| self.u32()).collect()
    }

    pub fn option(&mut self) -> Option<u64> {
        (self.u8() != 0).then(|| self.u64())
    }

    pub fn end(self) {
        assert!(self.0.is_empty(), "a row of the catalog is too long");
    }
}
