//! The catalog: one table for all small rows, told apart by the first byte of the key.
//!
//! ```text
//! key                                    row                       owner
//! 'm' name                               model                     models
//! 'i' model id                           name                      models
//! 'o' owner, name                        -                         models
//! 'v' model id, version                  version                   models
//! 'u' principal                          bytes sealed by it        quota
//! 'g' principal, role, scope             grant                     grants
//! 'h' scope, principal, role             -                         grants
//! 'l' lease id                           lease                     leases
//! 'n' name                               lease id                  leases
//! 's' lease id                           seal in progress          seal
//! 'd' seal id                            references to be removed  purge
//! 'p'                                    where that has come       purge
//! 't'                                    garbage collection        garbage
//! ```

use std::ops::Bound;

use ic_stable_structures::{Memory, StableBTreeMap};

use crate::regions::Region;

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

    /// Walk the keys that start with `prefix`, without it.
    pub fn keys<'a>(&'a self, prefix: &[u8]) -> impl Iterator<Item = Vec<u8>> + use<'a, M> {
        let prefix = prefix.to_vec();
        self.0
            .keys_range(prefix.clone()..)
            .map_while(move |key| Some(key.strip_prefix(prefix.as_slice())?.to_vec()))
    }
}
