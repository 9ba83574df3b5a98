//! What stands before the values of a message: the table of their types.

use crate::Shape;
use crate::wire;

/// Types of a message in the order in which crate `candid` writes them.
#[derive(Default)]
struct Table {
    shapes: Vec<&'static Shape>,
    entries: Vec<Vec<u8>>,
}

impl Table {
    /// Add a type and those that it is made of.
    fn add(&mut self, shape: &'static Shape) {
        if matches!(shape, Shape::Plain(_)) || self.shapes.contains(&shape) {
            return;
        }
        let at = self.entries.len();
        self.shapes.push(shape);
        self.entries.push(Vec::new());
        let mut entry = Vec::new();
        match *shape {
            Shape::Plain(_) => {}
            Shape::Blob(_) => entry.extend([code(wire::VEC), code(wire::NAT8)]),
            Shape::Opt(inner) => self.add_one(&mut entry, wire::OPT, inner),
            Shape::Vec(inner) => self.add_one(&mut entry, wire::VEC, inner),
            Shape::Record(cases) => self.add_cases(&mut entry, wire::RECORD, cases),
            Shape::Variant(cases) => self.add_cases(&mut entry, wire::VARIANT, cases),
        }
        self.entries[at] = entry;
    }

    fn add_one(&mut self, entry: &mut Vec<u8>, kind: i8, inner: &'static Shape) {
        self.add(inner);
        entry.push(code(kind));
        self.refer(entry, inner);
    }

    fn add_cases(&mut self, entry: &mut Vec<u8>, kind: i8, cases: &'static [crate::Case]) {
        for (_, shape) in cases {
            self.add(shape);
        }
        entry.push(code(kind));
        number(entry, cases.len() as u64);
        for (hash, shape) in cases {
            number(entry, u64::from(*hash));
            self.refer(entry, shape);
        }
    }

    /// Append the code or the place of a type; a signed number.
    fn refer(&self, bytes: &mut Vec<u8>, shape: &Shape) {
        if let Shape::Plain(plain) = *shape {
            bytes.push(code(plain));
            return;
        }
        let at = self.shapes.iter().position(|other| *other == shape).unwrap_or(0);
        number(bytes, at as u64);
        // The bit above the number is its sign.
        if let Some(last) = bytes.last_mut().filter(|last| **last & 0x40 != 0) {
            *last |= 0x80;
            bytes.push(0);
        }
    }
}

/// Return the byte of a code: its seven low bits are the signed number.
const fn code(code: i8) -> u8 {
    code as u8 & 0x7f
}

/// Return the begin of a message with one value of a type.
pub fn header(shape: &'static Shape) -> Vec<u8> {
    let mut table = Table::default();
    table.add(shape);
    let mut message = b"DIDL".to_vec();
    number(&mut message, table.entries.len() as u64);
    for entry in &table.entries {
        message.extend_from_slice(entry);
    }
    message.push(1);
    table.refer(&mut message, shape);
    message
}

/// Append a number: groups of seven bits, the low ones first.
pub fn number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}
