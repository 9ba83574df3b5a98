//! The Unicode tables as the module carries them: a quarter of their size, unpacked when a text needs
//! them.
//!
//! A table is a sequence of numbers in groups of seven bits, the low ones first. A code point is its
//! distance from the one before it, the last of a range its distance from the first.

use std::sync::OnceLock;

use super::tables::{CLASSES, COMBINING, COMPOSITIONS, DECOMPOSITIONS};
use super::unicode::Class;

/// More than any packed table has.
const MAX_BYTES: usize = 1 << 14;

struct Packed {
    bytes: [u8; MAX_BYTES],
    length: usize,
    last: u32,
}

impl Packed {
    const fn new() -> Self {
        Self { bytes: [0; MAX_BYTES], length: 0, last: 0 }
    }

    const fn number(&mut self, mut number: u32) {
        while number >= 0x80 {
            self.bytes[self.length] = number as u8 | 0x80;
            self.length += 1;
            number >>= 7;
        }
        self.bytes[self.length] = number as u8;
        self.length += 1;
    }

    /// Append a code point that lies behind the one before it.
    const fn point(&mut self, point: u32) {
        self.number(point - self.last);
        self.last = point;
    }

    const fn range(&mut self, first: u32, last: u32) {
        self.point(first);
        self.point(last);
    }

    const fn exact<const N: usize>(&self) -> [u8; N] {
        let (mut bytes, mut at) = ([0; N], 0);
        while at < N {
            bytes[at] = self.bytes[at];
            at += 1;
        }
        bytes
    }
}

const fn pack_classes() -> Packed {
    let (mut packed, mut at) = (Packed::new(), 0);
    while at < CLASSES.len() {
        packed.range(CLASSES[at].0, CLASSES[at].1);
        packed.number(CLASSES[at].2 as u32);
        at += 1;
    }
    packed
}

const fn pack_combining() -> Packed {
    let (mut packed, mut at) = (Packed::new(), 0);
    while at < COMBINING.len() {
        packed.range(COMBINING[at].0, COMBINING[at].1);
        packed.number(COMBINING[at].2 as u32);
        at += 1;
    }
    packed
}

const fn pack_decompositions() -> Packed {
    let (mut packed, mut at) = (Packed::new(), 0);
    while at < DECOMPOSITIONS.len() {
        packed.point(DECOMPOSITIONS[at].0);
        let text = DECOMPOSITIONS[at].1.as_bytes();
        packed.number(text.len() as u32);
        let mut byte = 0;
        while byte < text.len() {
            packed.bytes[packed.length] = text[byte];
            packed.length += 1;
            byte += 1;
        }
        at += 1;
    }
    packed
}

const fn pack_compositions() -> Packed {
    let (mut packed, mut at) = (Packed::new(), 0);
    while at < COMPOSITIONS.len() {
        packed.point(COMPOSITIONS[at].0);
        packed.number(COMPOSITIONS[at].1);
        packed.number(COMPOSITIONS[at].2);
        at += 1;
    }
    packed
}

macro_rules! packed {
    ($pack:ident) => {{
        const PACKED: Packed = $pack();
        const LENGTH: usize = PACKED.length;
        static BYTES: [u8; LENGTH] = PACKED.exact();
        Unpacker { bytes: &BYTES, last: 0 }
    }};
}

struct Unpacker {
    bytes: &'static [u8],
    last: u32,
}

impl Unpacker {
    fn number(&mut self) -> u32 {
        let (mut number, mut shift) = (0, 0);
        while let Some((byte, rest)) = self.bytes.split_first() {
            self.bytes = rest;
            number |= u32::from(byte & 0x7f) << shift;
            shift += 7;
            if *byte < 0x80 {
                break;
            }
        }
        number
    }

    fn point(&mut self) -> u32 {
        self.last += self.number();
        self.last
    }

    fn text(&mut self) -> &'static str {
        let length = self.number() as usize;
        let (text, rest) = self.bytes.split_at(length);
        self.bytes = rest;
        std::str::from_utf8(text).unwrap_or_default()
    }

    /// Unpack rows until the table ends.
    fn rows<T>(mut self, row: impl Fn(&mut Self) -> T) -> Vec<T> {
        let mut rows = Vec::new();
        while !self.bytes.is_empty() {
            rows.push(row(&mut self));
        }
        rows
    }

    fn ranges(self) -> Vec<(u32, u32, u8)> {
        self.rows(|packed| (packed.point(), packed.point(), packed.number() as u8))
    }
}

/// First and last code point of ranges, and the class of their characters.
pub(super) fn classes() -> &'static [(u32, u32, u8)] {
    static ROWS: OnceLock<Vec<(u32, u32, u8)>> = OnceLock::new();
    ROWS.get_or_init(|| packed!(pack_classes).ranges())
}

/// Return the class that a number of `classes` stands for.
pub(super) fn class_of(number: u8) -> Class {
    [Class::Letter, Class::Number, Class::Space][usize::from(number)]
}

/// What Normalization Form C needs.
pub(super) struct Forms {
    /// First and last code point of marks, and their combining class.
    pub(super) combining: Vec<(u32, u32, u8)>,
    /// Code points that nothing composes to, and what they consist of.
    pub(super) decompositions: Vec<(u32, &'static str)>,
    /// Code points and the two that compose to each.
    pub(super) compositions: Vec<(u32, u32, u32)>,
    /// The second ones of those, rising.
    pub(super) seconds: Vec<u32>,
}

/// The tables of Normalization Form C.
pub(super) fn forms() -> &'static Forms {
    static FORMS: OnceLock<Forms> = OnceLock::new();
    FORMS.get_or_init(|| {
        let compositions: Vec<_> = packed!(pack_compositions)
            .rows(|packed| (packed.point(), packed.number(), packed.number()));
        let mut seconds = Vec::new();
        for (.., second) in &compositions {
            if let Err(at) = seconds.binary_search(second) {
                seconds.insert(at, *second);
            }
        }
        Forms {
            combining: packed!(pack_combining).ranges(),
            decompositions: packed!(pack_decompositions)
                .rows(|packed| (packed.point(), packed.text())),
            compositions,
            seconds,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        let classes: Vec<_> = classes().iter().map(|row| (row.0, row.1, class_of(row.2))).collect();
        assert_eq!(classes, CLASSES);
        let forms = forms();
        assert_eq!(forms.combining, COMBINING);
        assert_eq!(forms.decompositions, DECOMPOSITIONS);
        assert_eq!(forms.compositions, COMPOSITIONS);
    }
}
