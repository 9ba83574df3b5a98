//! What a decoded message consists of.

/// A part of a value, without its type.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    /// A number, a bool, the bits of a float, the length of a vector, the number of a case, or whether
    /// an option has a value.
    Number(u64),
    /// A blob or a principal.
    Bytes(&'a [u8]),
    /// A text.
    Text(&'a str),
}

/// Parts of values in the order of their shapes. Taking another kind of item than a shape says, which
/// only a mistake in an implementation of `Idl` can do, gives zero or nothing.
#[derive(Default)]
pub struct Items<'a> {
    items: std::vec::IntoIter<Item<'a>>,
}

impl<'a> Items<'a> {
    pub(crate) fn new(items: Vec<Item<'a>>) -> Self {
        Self { items: items.into_iter() }
    }

    /// Take a number.
    pub fn number(&mut self) -> u64 {
        match self.items.next() {
            Some(Item::Number(number)) => number,
            _ => 0,
        }
    }

    /// Take bytes.
    pub fn bytes(&mut self) -> &'a [u8] {
        match self.items.next() {
            Some(Item::Bytes(bytes)) => bytes,
            _ => &[],
        }
    }

    /// Take a text.
    pub fn text(&mut self) -> &'a str {
        match self.items.next() {
            Some(Item::Text(text)) => text,
            _ => "",
        }
    }
}
