//! The catalog: one table for all small rows, told apart by the first byte of the key.

use std::ops::{Bound, RangeInclusive};

use ic_stable_structures::{Memory, StableBTreeMap};

use crate::regions::Region;

/// First byte of a key; the rest of the key is named first, then the row. Part of the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Tag {
    /// Name: model.
    Model = b'm',
    /// Name: deleted model.
    Tombstone = b'z',
    /// Name of a public model: nothing.
    Public = b'w',
    /// Owner, name: nothing.
    Owner = b'o',
    /// Model id, version: version.
    Version = b'v',
    /// Model id, manifest, placement: version.
    Digests = b'y',
    /// Principal: its number as a sealer.
    Sealer = b'q',
    /// Account id: account.
    Account = b'a',
    /// Principal, scope: account id.
    AccountScope = b'b',
    /// Time, collection, account id: bytes left behind.
    Remainder = b'x',
    /// Principal, role, scope: grant.
    Grant = b'g',
    /// Scope, principal, role: nothing.
    GrantScope = b'h',
    /// Lease id: lease.
    Lease = b'l',
    /// Name: lease id.
    LeaseName = b'n',
    /// Holder, lease id: nothing.
    Holder = b'j',
    /// Lease id: seal in progress.
    Seal = b's',
    /// Seal id: references to be removed.
    Doomed = b'd',
    /// Nothing more: how far the removal of references has come.
    Pass = b'p',
    /// Nothing more: garbage collection in progress.
    Task = b't',
}

impl Tag {
    /// Return the key, or the prefix of keys, that is the tag alone.
    pub fn key(self) -> Vec<u8> {
        vec![self as u8]
    }
}

/// A kind of row.
pub trait Row: Sized {
    /// Write the row.
    fn encode(&self) -> Vec<u8>;
    /// Read the row.
    fn decode(row: &[u8]) -> Self;
}

/// A row that says all it has to say by being there.
pub struct Present;

impl Row for Present {
    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn decode(_: &[u8]) -> Self {
        Self
    }
}

/// The table.
pub struct Catalog<M: Memory>(StableBTreeMap<Vec<u8>, Vec<u8>, Region<M>>);

impl<M: Memory> Catalog<M> {
    pub fn new(region: Region<M>) -> Self {
        Self(StableBTreeMap::init(region))
    }

    pub fn get<R: Row>(&self, key: &Vec<u8>) -> Option<R> {
        self.0.get(key).map(|row| R::decode(&row))
    }

    pub fn contains(&self, key: &Vec<u8>) -> bool {
        self.0.contains_key(key)
    }

    pub fn put<R: Row>(&mut self, key: Vec<u8>, row: &R) {
        self.0.insert(key, row.encode());
    }

    pub fn remove(&mut self, key: &Vec<u8>) {
        self.0.remove(key);
    }

    /// Walk the rows whose keys start with `prefix` and follow `after`; keys come without prefix.
    pub fn walk<'a, R: Row>(
        &'a self,
        prefix: &[u8],
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = (Vec<u8>, R)> + use<'a, M, R> {
        let prefix = prefix.to_vec();
        let start = match after {
            None => Bound::Included(prefix.clone()),
            Some(after) => Bound::Excluded([&prefix, after].concat()),
        };
        self.0.range((start, Bound::Unbounded)).map_while(move |entry| {
            let rest = entry.key().strip_prefix(prefix.as_slice())?.to_vec();
            Some((rest, R::decode(&entry.value())))
        })
    }

    /// Return the last row of a range of keys.
    pub fn last<R: Row>(&self, keys: RangeInclusive<Vec<u8>>) -> Option<R> {
        self.0.range(keys).next_back().map(|entry| R::decode(&entry.value()))
    }

    /// Walk the keys that start with `prefix` and follow `after`, without the prefix.
    pub fn keys_after<'a>(
        &'a self,
        prefix: &[u8],
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = Vec<u8>> + use<'a, M> {
        let prefix = prefix.to_vec();
        let start = match after {
            None => Bound::Included(prefix.clone()),
            Some(after) => Bound::Excluded([&prefix, after].concat()),
        };
        self.0
            .keys_range((start, Bound::Unbounded))
            .map_while(move |key| Some(key.strip_prefix(prefix.as_slice())?.to_vec()))
    }

    /// Walk the keys that start with `prefix`, without it.
    pub fn keys<'a>(&'a self, prefix: &[u8]) -> impl Iterator<Item = Vec<u8>> + use<'a, M> {
        self.keys_after(prefix, None)
    }
}
