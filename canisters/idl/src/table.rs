//! The type table of a message, and the types of its values.

use crate::fault::Fault;
use crate::wire;

/// Most types of a table, and most bytes of it, as crate `candid` has them.
const MAX_ENTRIES: u64 = 10_000;
const MAX_BYTES: usize = 1 << 16;

/// Reads bytes from front to back.
pub struct Bytes<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub fn at(&self) -> usize {
        self.at
    }

    /// Go back to where one has been.
    pub fn rewind(&mut self, at: usize) {
        self.at = at.min(self.at);
    }

    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub fn byte(&mut self) -> Result<u8, Fault> {
        let byte = *self.bytes.get(self.at).ok_or(Fault::End)?;
        self.at += 1;
        Ok(byte)
    }

    pub fn take(&mut self, length: u64) -> Result<&'a [u8], Fault> {
        let rest = &self.bytes[self.at..];
        let length = usize::try_from(length).map_err(|_| Fault::End)?;
        let taken = rest.get(..length).ok_or(Fault::End)?;
        self.at += length;
        Ok(taken)
    }

    /// Take a number of a fixed length, at most eight bytes.
    pub fn fixed(&mut self, width: usize) -> Result<u64, Fault> {
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(self.take(width as u64)?) {
            *to = *from;
        }
        Ok(u64::from_le_bytes(word))
    }

    /// Take an unsigned number in groups of seven bits.
    pub fn number(&mut self) -> Result<u64, Fault> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Fault::Value)
    }

    /// Take a signed number of at most 32 bits in groups of seven bits.
    fn signed(&mut self) -> Result<i32, Fault> {
        let mut number: i64 = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            number |= i64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                let unused = 57 - shift;
                let number = if unused > 0 { number << unused >> unused } else { number };
                return i32::try_from(number).map_err(|_| Fault::Table);
            }
        }
        Err(Fault::Table)
    }

    /// Take a text.
    pub fn text(&mut self) -> Result<&'a str, Fault> {
        let length = self.number()?;
        std::str::from_utf8(self.take(length)?).map_err(|_| Fault::Text)
    }
}

/// A type: a code, or its place in the table.
pub type Type = i32;

/// A type with parts: its code, and where its parts lie.
#[derive(Clone, Copy)]
pub struct Entry {
    pub code: i8,
    start: u32,
    end: u32,
}

/// The type table of a message.
pub struct Types {
    entries: Vec<Entry>,
    /// Parts of all types: hash of the name of a field or a case, and its type.
    parts: Vec<(u32, Type)>,
}

impl Types {
    /// Read the table, and the types of the values behind it.
    pub fn read(bytes: &mut Bytes<'_>) -> Result<(Self, Vec<Type>), Fault> {
        if bytes.take(4) != Ok(b"DIDL") {
            return Err(Fault::Magic);
        }
        let count = bytes.number()?;
        if count > MAX_ENTRIES {
            return Err(Fault::Table);
        }
        let mut types = Self { entries: Vec::new(), parts: Vec::new() };
        let mut reader = Reader { bytes, count: count as i32, methods: Vec::new() };
        for _ in 0..count {
            let start = types.parts.len() as u32;
            let code = reader.entry(&mut types.parts)?;
            types.entries.push(Entry { code, start, end: types.parts.len() as u32 });
        }
        if reader.methods.iter().any(|method| types.code(*method) != wire::FUNC) {
            return Err(Fault::Table);
        }
        let mut values = Vec::new();
        for _ in 0..reader.bytes.number()? {
            values.push(reader.kind()?);
        }
        Ok((types, values))
    }

    /// Return the type with parts at a place; none for a code.
    pub fn entry(&self, of: Type) -> Option<Entry> {
        usize::try_from(of).ok().and_then(|at| self.entries.get(at)).copied()
    }

    /// Return the code of a type, with parts or without.
    pub fn code(&self, of: Type) -> i8 {
        self.entry(of).map_or(of as i8, |entry| entry.code)
    }

    /// Return how many parts a type has.
    pub fn count(&self, entry: Entry) -> usize {
        (entry.end - entry.start) as usize
    }

    /// Return a part of a type; the only one of `opt` and `vec` is the first.
    pub fn part(&self, entry: Entry, at: usize) -> Option<(u32, Type)> {
        self.parts[entry.start as usize..entry.end as usize].get(at).copied()
    }

    /// Return the type that an `opt` or a `vec` is of, if a type is one.
    pub fn inner(&self, of: Type, code: i8) -> Option<Type> {
        let entry = self.entry(of).filter(|entry| entry.code == code)?;
        self.part(entry, 0).map(|(_, inner)| inner)
    }
}

/// Reads a type table.
struct Reader<'r, 'a> {
    bytes: &'r mut Bytes<'a>,
    /// How many types it has.
    count: i32,
    /// Types of methods of services.
    methods: Vec<Type>,
}

impl Reader<'_, '_> {
    /// Read a code or a place; a table must end within its bound.
    fn kind(&mut self) -> Result<Type, Fault> {
        let kind = self.bytes.signed()?;
        let is_plain = (i32::from(wire::EMPTY)..0).contains(&kind);
        let is_known =
            is_plain || kind == i32::from(wire::PRINCIPAL) || (0..self.count).contains(&kind);
        if is_known && self.bytes.at() <= MAX_BYTES { Ok(kind) } else { Err(Fault::Table) }
    }

    /// Read a type with parts.
    fn entry(&mut self, parts: &mut Vec<(u32, Type)>) -> Result<i8, Fault> {
        let at = self.bytes.at();
        // The seven bits of a code are a signed number; more bytes are a type of the future.
        let byte = self.bytes.byte()?;
        let code = if byte < 0x80 { (byte << 1) as i8 >> 1 } else { wire::FUTURE };
        match code {
            wire::OPT | wire::VEC => parts.push((0, self.kind()?)),
            wire::RECORD | wire::VARIANT => self.cases(parts)?,
            wire::FUNC => self.function()?,
            wire::SERVICE => self.service()?,
            _ => {
                self.bytes.rewind(at);
                if self.bytes.signed()? >= i32::from(wire::PRINCIPAL) {
                    return Err(Fault::Table);
                }
                let length = self.bytes.number()?;
                self.bytes.take(length)?;
                return Ok(wire::FUTURE);
            }
        }
        Ok(code)
    }

    fn cases(&mut self, parts: &mut Vec<(u32, Type)>) -> Result<(), Fault> {
        let mut least = 0;
        for _ in 0..self.bytes.number()? {
            let hash = self.bytes.number()?;
            if hash < least || hash > u64::from(u32::MAX) {
                return Err(Fault::Table);
            }
            least = hash + 1;
            parts.push((hash as u32, self.kind()?));
        }
        Ok(())
    }

    fn function(&mut self) -> Result<(), Fault> {
        for _arguments_and_results in 0..2 {
            for _ in 0..self.bytes.number()? {
                self.kind()?;
            }
        }
        match self.bytes.byte()? {
            0 => Ok(()),
            1 if (1..=3).contains(&self.bytes.byte()?) => Ok(()),
            _ => Err(Fault::Table),
        }
    }

    fn service(&mut self) -> Result<(), Fault> {
        let mut last = None;
        for _ in 0..self.bytes.number()? {
            let name = self.bytes.text()?;
            if last.is_some_and(|last| last >= name) {
                return Err(Fault::Table);
            }
            last = Some(name);
            let kind = self.kind()?;
            self.methods.push(kind);
        }
        Ok(())
    }
}
