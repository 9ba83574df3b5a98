//! From a message to items, by the shapes of what is expected.
//!
//! The rules are those of crate `candid`: a value decides, not its type, whether it fits. Fields that are
//! not expected are skipped, missing options are none, and an option whose value does not fit is none.
//! Work is bounded by the length of the message and the quota for what is skipped.

use crate::fault::Fault;
use crate::items::{Item, Items};
use crate::table::{Bytes, Type, Types};
use crate::wire;
use crate::{Case, Shape};

/// How deep what is skipped may nest.
const MAX_DEPTH: usize = 256;

/// Most items of a message: more than any method takes. They stay in the heap, 16 bytes each.
const MAX_ITEMS: usize = 1 << 18;

/// Most bytes of a principal.
const MAX_PRINCIPAL: u64 = 29;

/// What it costs to try an option that does not fit.
const RETRY: usize = 10;

/// Decode a message of values with these shapes; what comes behind them is skipped. An empty message
/// has no value.
///
/// # Errors
/// The message is not Candid, its values have other types, or skipping costs more than the quota.
pub fn decode<'a>(
    message: &'a [u8],
    shapes: &[&'static Shape],
    quota: usize,
) -> Result<Items<'a>, Fault> {
    let message = if message.is_empty() { b"DIDL\0\0" } else { message };
    let mut bytes = Bytes::new(message);
    let (types, values) = Types::read(&mut bytes)?;
    let mut decoder = Decoder { bytes, types, items: Vec::new(), quota };
    let mut values = values.into_iter();
    for shape in shapes {
        decoder.value(values.next().unwrap_or(wire::NULL.into()), shape)?;
    }
    for value in values {
        decoder.skip(value, 0)?;
    }
    if decoder.bytes.is_empty() { Ok(Items::new(decoder.items)) } else { Err(Fault::Trailing) }
}

struct Decoder<'a> {
    bytes: Bytes<'a>,
    types: Types,
    items: Vec<Item<'a>>,
    quota: usize,
}

impl<'a> Decoder<'a> {
    fn keep(&mut self, item: Item<'a>) -> Result<(), Fault> {
        if self.items.len() == MAX_ITEMS {
            return Err(Fault::Quota);
        }
        self.items.push(item);
        Ok(())
    }

    fn number(&mut self, number: u64) -> Result<(), Fault> {
        self.keep(Item::Number(number))
    }

    /// Decode a value of a type of the message; `Fault::Type` if it does not fit.
    fn value(&mut self, of: Type, shape: &Shape) -> Result<(), Fault> {
        match *shape {
            Shape::Plain(code) => self.plain(of, code),
            Shape::Opt(inner) => self.option(of, inner),
            Shape::Blob(length) => {
                let bytes = self.types.inner(of, wire::VEC).filter(|i| *i == i32::from(wire::NAT8));
                bytes.ok_or(Fault::Type)?;
                let length = (self.bytes.number()?, length);
                let bytes = self.bytes.take(length.0)?;
                self.keep(Item::Bytes(bytes))?;
                if length.1.is_some_and(|expected| u64::from(expected) != length.0) {
                    return Err(Fault::Length);
                }
                Ok(())
            }
            Shape::Vec(inner) => {
                let element = self.types.inner(of, wire::VEC).ok_or(Fault::Type)?;
                let count = self.bytes.number()?;
                self.number(count)?;
                for _ in 0..count {
                    let before = self.bytes.at();
                    self.value(element, inner)?;
                    if self.bytes.at() == before {
                        self.charge(1)?;
                    }
                }
                Ok(())
            }
            Shape::Record(fields) => self.record(of, fields),
            Shape::Variant(cases) => {
                let (hash, inner) = self.case(of)?;
                let found = cases.iter().position(|(case, _)| *case == hash);
                let found = found.ok_or(Fault::Type)?;
                self.number(found as u64)?;
                self.value(inner, cases[found].1)
            }
        }
    }

    fn plain(&mut self, of: Type, code: i8) -> Result<(), Fault> {
        let is_service = code == wire::PRINCIPAL && self.types.code(of) == wire::SERVICE;
        if of != i32::from(code) && !is_service {
            return Err(Fault::Type);
        }
        let item = match code {
            wire::NULL => return Ok(()),
            wire::BOOL => Item::Number(self.flag()?.into()),
            wire::NAT => return self.nat(),
            wire::TEXT => Item::Text(self.bytes.text()?),
            wire::PRINCIPAL => Item::Bytes(self.principal()?),
            _ => Item::Number(self.bytes.fixed(wire::width(code).ok_or(Fault::Type)?)?),
        };
        self.keep(item)
    }

    /// Decode a natural number of at most 128 bits into two items, the low half first.
    fn nat(&mut self) -> Result<(), Fault> {
        let (mut number, mut shift) = (0u128, 0);
        loop {
            let byte = self.bytes.byte()?;
            let group = u128::from(byte & 0x7f);
            let fits = shift < 128 && group << shift >> shift == group;
            if fits {
                number |= group << shift;
            } else if group != 0 {
                return Err(Fault::Value);
            }
            shift += 7;
            if byte < 0x80 {
                self.number(number as u64)?;
                return self.number((number >> 64) as u64);
            }
        }
    }

    fn option(&mut self, of: Type, inner: &Shape) -> Result<(), Fault> {
        let is_none = [wire::NULL.into(), wire::RESERVED.into()].contains(&of);
        let value = self.types.inner(of, wire::OPT);
        if is_none || (value.is_some() && !self.flag()?) {
            return self.number(0);
        }
        let value = value.unwrap_or(of);
        let (at, items) = (self.bytes.at(), self.items.len());
        self.number(1)?;
        let tried = self.value(value, inner);
        if tried != Err(Fault::Type) {
            return tried;
        }
        self.items.truncate(items);
        self.bytes.rewind(at);
        self.charge(RETRY)?;
        self.number(0)?;
        self.skip(value, 0)
    }

    /// Decode a record: its fields and those expected both rise.
    fn record(&mut self, of: Type, fields: &[Case]) -> Result<(), Fault> {
        let entry = self.types.entry(of).filter(|entry| entry.code == wire::RECORD);
        let entry = entry.ok_or(Fault::Type)?;
        let mut at = 0;
        for (hash, shape) in fields {
            let mut found = wire::NULL.into();
            while let Some((held, inner)) = self.types.part(entry, at) {
                if held > *hash {
                    break;
                }
                at += 1;
                if held == *hash {
                    found = inner;
                    break;
                }
                self.skip(inner, 0)?;
            }
            self.value(found, shape)?;
        }
        while let Some((_, inner)) = self.types.part(entry, at) {
            at += 1;
            self.skip(inner, 0)?;
        }
        Ok(())
    }

    /// Take the number of a case; returns the hash of its name, and its type.
    fn case(&mut self, of: Type) -> Result<(u32, Type), Fault> {
        let entry = self.types.entry(of).filter(|entry| entry.code == wire::VARIANT);
        let entry = entry.ok_or(Fault::Type)?;
        let at = usize::try_from(self.bytes.number()?).map_err(|_| Fault::Value)?;
        self.types.part(entry, at).ok_or(Fault::Value)
    }

    fn flag(&mut self) -> Result<bool, Fault> {
        match self.bytes.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Fault::Value),
        }
    }

    /// Take a reference that must not be opaque: the bytes of a principal.
    fn principal(&mut self) -> Result<&'a [u8], Fault> {
        let is_told = self.flag()?;
        let length = self.bytes.number()?;
        if is_told && length <= MAX_PRINCIPAL { self.bytes.take(length) } else { Err(Fault::Value) }
    }

    fn charge(&mut self, cost: usize) -> Result<(), Fault> {
        self.quota = self.quota.checked_sub(cost).ok_or(Fault::Quota)?;
        Ok(())
    }

    /// Pass a value over; it must be one of its type.
    fn skip(&mut self, of: Type, depth: usize) -> Result<(), Fault> {
        let before = self.bytes.at();
        self.charge(1)?;
        if depth > MAX_DEPTH {
            return Err(Fault::Quota);
        }
        let code = self.types.code(of);
        match code {
            wire::NULL | wire::RESERVED => {}
            wire::BOOL => drop(self.flag()?),
            wire::NAT | wire::INT => while self.bytes.byte()? >= 0x80 {},
            wire::TEXT => drop(self.bytes.text()?),
            wire::PRINCIPAL | wire::SERVICE => drop(self.principal()?),
            wire::FUNC => {
                if !self.flag()? {
                    return Err(Fault::Value);
                }
                self.principal()?;
                let length = self.bytes.number()?;
                self.bytes.take(length)?;
            }
            wire::FUTURE => {
                let length = self.bytes.number()?;
                self.bytes.number()?;
                self.bytes.take(length)?;
            }
            _ => match (wire::width(code), self.types.entry(of)) {
                (Some(width), _) => drop(self.bytes.take(width as u64)?),
                (None, Some(entry)) => return self.skip_parts(of, entry, depth + 1),
                (None, None) => return Err(Fault::Value),
            },
        }
        self.charge(self.bytes.at() - before)
    }

    fn skip_parts(
        &mut self,
        of: Type,
        entry: crate::table::Entry,
        depth: usize,
    ) -> Result<(), Fault> {
        let inner = self.types.part(entry, 0).map(|(_, inner)| inner);
        match entry.code {
            wire::OPT => {
                if self.flag()? {
                    self.skip(inner.ok_or(Fault::Table)?, depth)?;
                }
            }
            wire::VEC => {
                let (count, inner) = (self.bytes.number()?, inner.ok_or(Fault::Table)?);
                if let Some(width) = wire::width(self.types.code(inner)) {
                    let bytes = self.bytes.take(count.saturating_mul(width as u64))?;
                    return self.charge(bytes.len());
                }
                for _ in 0..count {
                    self.skip(inner, depth)?;
                }
            }
            wire::VARIANT => {
                let (_, inner) = self.case(of)?;
                self.skip(inner, depth)?;
            }
            _ => {
                for at in 0..self.types.count(entry) {
                    let part = self.types.part(entry, at).ok_or(Fault::Table)?;
                    self.skip(part.1, depth)?;
                }
            }
        }
        Ok(())
    }
}
