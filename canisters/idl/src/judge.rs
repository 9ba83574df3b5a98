//! Compares this crate with crate `candid`, for tests of types that travel.
//!
//! Messages are made of the shape of a type: as it is, as another version of an interface might have it,
//! and damaged. Both crates must refuse a message, or take the same value from it and write it alike.
//!
//! Where they may differ: what skipping costs (messages that either finds too costly are left out), how
//! deep a value nests, and numbers of more than nine groups of seven bits where fewer would do.

use candid::{CandidType, DecoderConfig};
use serde::de::DeserializeOwned;

use crate::{Case, Fault, Idl, Shape, decode_one, encode, number, wire};

/// What skipping may cost in both.
const QUOTA: usize = 100_000;

/// A source of numbers that look random.
pub struct Numbers(pub u64);

impl Numbers {
    /// Return a number below a bound.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// A type of a message; unlike a shape, it can be changed.
#[derive(Clone)]
enum Kind {
    Plain(i8),
    Opt(Box<Kind>),
    Vec(Box<Kind>),
    Record(Vec<(u32, Kind)>),
    Variant(Vec<(u32, Kind)>),
    Digest,
}

impl Kind {
    fn of(shape: &Shape) -> Self {
        let cases = |cases: &[Case]| cases.iter().map(|case| (case.0, Self::of(case.1))).collect();
        match shape {
            Shape::Plain(code) => Self::Plain(*code),
            Shape::Blob(Some(_)) => Self::Digest,
            Shape::Blob(None) => Self::Vec(Box::new(Self::Plain(wire::NAT8))),
            Shape::Opt(inner) => Self::Opt(Box::new(Self::of(inner))),
            Shape::Vec(inner) => Self::Vec(Box::new(Self::of(inner))),
            Shape::Record(fields) => Self::Record(cases(fields)),
            Shape::Variant(of) => Self::Variant(cases(of)),
        }
    }

    fn any(numbers: &mut Numbers, depth: usize) -> Self {
        let inner = |numbers: &mut Numbers| Self::any(numbers, depth + 1);
        let cases = |numbers: &mut Numbers| {
            (1..=numbers.below(3) as u32 + 1).map(|hash| (hash * 77, inner(numbers))).collect()
        };
        match numbers.below(if depth > 3 { 1 } else { 5 }) {
            0 if numbers.one_in(9) => Self::Plain(wire::PRINCIPAL),
            0 => Self::Plain(-1 - numbers.below(16) as i8),
            1 => Self::Opt(Box::new(inner(numbers))),
            2 => Self::Vec(Box::new(inner(numbers))),
            3 => Self::Record(cases(numbers)),
            _ => Self::Variant(cases(numbers)),
        }
    }

    /// Change a type somewhere, as a later or an earlier version of it might.
    fn evolve(&mut self, numbers: &mut Numbers) {
        if numbers.one_in(12) {
            *self = match numbers.below(3) {
                0 => Self::Opt(Box::new(self.clone())),
                1 => Self::any(numbers, 0),
                _ => Self::Plain(wire::RESERVED),
            };
            return;
        }
        match self {
            Self::Plain(_) | Self::Digest => {}
            Self::Opt(inner) if numbers.one_in(6) => *self = (**inner).clone(),
            Self::Opt(inner) | Self::Vec(inner) => inner.evolve(numbers),
            Self::Record(cases) | Self::Variant(cases) => {
                cases.iter_mut().for_each(|case| case.1.evolve(numbers));
                if numbers.one_in(3) && cases.len() > 1 {
                    cases.remove(numbers.below(cases.len()));
                }
                if numbers.one_in(2) {
                    let hash = numbers.below(1 << 32) as u32;
                    if let Err(at) = cases.binary_search_by_key(&hash, |case| case.0) {
                        cases.insert(at, (hash, Self::any(numbers, 1)));
                    }
                }
            }
        }
    }

    /// Append this type and its parts to a type table, parts first or last; returns how it is named.
    fn table(&self, table: &mut Vec<Vec<u8>>, numbers: &mut Numbers) -> Vec<u8> {
        if let Self::Plain(code) = self {
            return vec![*code as u8 & 0x7f];
        }
        let early = numbers.one_in(2).then(|| {
            table.push(Vec::new());
            table.len() - 1
        });
        let mut entry = Vec::new();
        match self {
            Self::Plain(_) => {}
            Self::Digest => entry.extend([wire::VEC as u8 & 0x7f, wire::NAT8 as u8 & 0x7f]),
            Self::Opt(inner) | Self::Vec(inner) => {
                let is_opt = matches!(self, Self::Opt(_));
                entry.push((if is_opt { wire::OPT } else { wire::VEC }) as u8 & 0x7f);
                entry.extend(inner.table(table, numbers));
            }
            Self::Record(cases) | Self::Variant(cases) => {
                let is_record = matches!(self, Self::Record(_));
                entry.push((if is_record { wire::RECORD } else { wire::VARIANT }) as u8 & 0x7f);
                number(&mut entry, cases.len() as u64);
                for (hash, inner) in cases {
                    number(&mut entry, u64::from(*hash));
                    entry.extend(inner.table(table, numbers));
                }
            }
        }
        let at = early.unwrap_or_else(|| {
            table.push(Vec::new());
            table.len() - 1
        });
        table[at] = entry;
        // A signed number: the bit below the highest of the last byte is its sign.
        vec![at as u8 | 0x80, (at >> 7) as u8]
    }

    fn value(&self, bytes: &mut Vec<u8>, numbers: &mut Numbers) {
        match self {
            Self::Plain(code) => plain(*code, bytes, numbers),
            Self::Digest => {
                bytes.push(32);
                bytes.extend((0..32).map(|_| numbers.below(256) as u8));
            }
            Self::Opt(inner) => {
                bytes.push(numbers.below(2) as u8);
                if bytes.last() == Some(&1) {
                    inner.value(bytes, numbers);
                }
            }
            Self::Vec(inner) => {
                let count = numbers.below(4);
                bytes.push(count as u8);
                (0..count).for_each(|_| inner.value(bytes, numbers));
            }
            Self::Record(cases) => cases.iter().for_each(|case| case.1.value(bytes, numbers)),
            Self::Variant(cases) => {
                let at = numbers.below(cases.len());
                bytes.push(at as u8);
                cases[at].1.value(bytes, numbers);
            }
        }
    }
}

fn plain(code: i8, bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    let text = ["", "a", "name \u{e9}\u{4e2d}\u{1f600}"][numbers.below(3)];
    match code {
        wire::BOOL => bytes.push(numbers.below(2) as u8),
        wire::NAT | wire::INT => {
            let bits = numbers.below(50);
            number(bytes, numbers.below(2 << bits) as u64);
        }
        wire::TEXT => {
            bytes.push(text.len() as u8);
            bytes.extend(text.as_bytes());
        }
        wire::PRINCIPAL => {
            let length = numbers.below(30);
            bytes.extend([1, length as u8]);
            bytes.extend((0..length).map(|_| numbers.below(256) as u8));
        }
        _ => bytes.extend((0..wire::width(code).unwrap_or(0)).map(|_| numbers.below(120) as u8)),
    }
}

fn message(kinds: &[Kind], numbers: &mut Numbers) -> Vec<u8> {
    let mut table = Vec::new();
    let names: Vec<_> = kinds.iter().map(|kind| kind.table(&mut table, numbers)).collect();
    let mut bytes = b"DIDL".to_vec();
    number(&mut bytes, table.len() as u64);
    bytes.extend(table.concat());
    bytes.push(names.len() as u8);
    bytes.extend(names.concat());
    kinds.iter().for_each(|kind| kind.value(&mut bytes, numbers));
    bytes
}

fn damage(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
        match numbers.below(5) {
            0 => bytes.truncate(at),
            1 => bytes.push(numbers.below(256) as u8),
            2 if !bytes.is_empty() => drop(bytes.remove(at)),
            3 if !bytes.is_empty() => bytes[at] = numbers.below(256) as u8,
            _ if !bytes.is_empty() => bytes[at] ^= 1 << numbers.below(8),
            _ => {}
        }
    }
}

/// Have both crates read and write a type in so many messages of each kind; returns how many were read.
///
/// # Panics
/// They differ.
pub fn agree<T: Idl + CandidType + DeserializeOwned>(count: usize) -> usize {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut read = 0;
    for _ in 0..count {
        let kind = Kind::of(&T::SHAPE);
        let plain = message(std::slice::from_ref(&kind), &mut numbers);
        assert!(both::<T>(&plain), "what the shape describes is read");
        let mut evolved = vec![kind];
        evolved[0].evolve(&mut numbers);
        if numbers.one_in(4) {
            evolved.push(Kind::any(&mut numbers, 0));
        }
        let mut bytes = message(&evolved, &mut numbers);
        read += usize::from(both::<T>(&bytes));
        damage(&mut bytes, &mut numbers);
        read += usize::from(both::<T>(&bytes));
        let mut bytes = plain;
        damage(&mut bytes, &mut numbers);
        read += usize::from(both::<T>(&bytes));
    }
    read
}

/// Have both read a message; tells whether they did.
fn both<T: Idl + CandidType + DeserializeOwned>(bytes: &[u8]) -> bool {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    // As `ic-cdk` has it for crate `candid`.
    let bytes = if bytes.is_empty() { b"DIDL\0\0" } else { bytes };
    let mut config = DecoderConfig::new();
    config.set_skipping_quota(QUOTA).set_full_error_message(false);
    let theirs = candid::utils::decode_args_with_config::<(T,)>(bytes, &config);
    match (decode_one::<T>(bytes, QUOTA), theirs) {
        (Ok(ours), Ok((theirs,))) => {
            let expected = candid::encode_one(&theirs).expect("what was read can be written");
            assert_eq!(candid::encode_one(&ours).ok().as_ref(), Some(&expected), "value of {hex}");
            assert_eq!(encode(&ours), expected, "written after {hex}");
            true
        }
        (Err(Fault::Quota), _) => false,
        (Err(_), Err(_)) => false,
        (Ok(_), Err(theirs)) if theirs.to_string().contains("cost exceeds") => false,
        (Ok(_), Err(theirs)) => panic!("crate candid refuses {hex}: {theirs}"),
        (Err(ours), Ok(_)) => panic!("crate candid reads {hex}, here: {ours}"),
    }
}
