//! Which frames are held, under a lease or by a sealed manifest.
//!
//! ```text
//! further leases    lease id 8 | frame digest 32
//! references        frame digest 32 | model id 4 | seal id 4     numbers big-endian
//! ```
//!
//! The first lease of a frame stands in the index, with the frame itself: nearly every frame has one
//! at most, and a row of its own would cost as much as the rest of storing a small frame.
//!
//! The model stands before the seal, so that a look-up skips all versions of a model that the
//! caller may not read at once.

use std::ops::Bound;

use ic_stable_structures::{Memory, StableBTreeMap};

use crate::Digest;
use crate::regions::{Region, Regions};

const KEY_BYTES: usize = 40;

/// A row of either table.
pub type Key = [u8; KEY_BYTES];

/// The two tables.
pub struct Holds<M: Memory> {
    leased: StableBTreeMap<Key, (), Region<M>>,
    referred: StableBTreeMap<Key, (), Region<M>>,
}

impl<M: Memory + Clone> Holds<M> {
    pub fn new(regions: &Regions<M>) -> Self {
        Self {
            leased: StableBTreeMap::init(regions.get(5)),
            referred: StableBTreeMap::init(regions.get(6)),
        }
    }

    /// Tell whether a lease holds a frame by a row.
    pub fn has_row(&self, lease: u64, digest: &Digest) -> bool {
        self.leased.contains_key(&lease_key(lease, digest))
    }

    pub fn lease(&mut self, lease: u64, digest: &Digest) {
        self.leased.insert(lease_key(lease, digest), ());
    }

    /// Walk the frames that a lease holds by rows, behind a digest.
    pub fn walk_lease(&self, lease: u64, after: Option<Digest>) -> impl Iterator<Item = Digest> {
        let start = match after {
            None => Bound::Included(lease_key(lease, &[0; 32])),
            Some(after) => Bound::Excluded(lease_key(lease, &after)),
        };
        let end = Bound::Included(lease_key(lease, &[0xff; 32]));
        self.leased.keys_range((start, end)).map(|key| split_lease(&key).1)
    }

    /// Walk the rows of all leases behind a row.
    pub fn walk_leased(&self, after: Option<Key>) -> impl Iterator<Item = Key> {
        self.leased.keys_range((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))
    }

    pub fn unlease(&mut self, key: &Key) {
        self.leased.remove(key);
    }

    pub fn refer(&mut self, digest: &Digest, model: u32, seal: u32) {
        self.referred.insert(reference_key(digest, model, seal), ());
    }

    pub fn unrefer(&mut self, key: &Key) {
        self.referred.remove(key);
    }

    pub fn is_referred(&self, digest: &Digest) -> bool {
        self.next_reference(digest, (0, 0)).is_some()
    }

    /// Return the first model and seal, from these on, that refer to a frame.
    pub fn next_reference(&self, digest: &Digest, from: (u32, u32)) -> Option<(u32, u32)> {
        let (model, seal) = from;
        let range = reference_key(digest, model, seal)..=reference_key(digest, u32::MAX, u32::MAX);
        self.referred.keys_range(range).next().map(|key| split_reference(&key))
    }

    /// Walk all references behind a row.
    pub fn walk_references(&self, after: Option<Key>) -> impl Iterator<Item = Key> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.referred.keys_range((start, Bound::Unbounded))
    }
}

/// Return the lease and the digest of a row.
pub fn split_lease(key: &Key) -> (u64, Digest) {
    let (mut lease, mut digest) = ([0; 8], [0; 32]);
    lease.copy_from_slice(&key[..8]);
    digest.copy_from_slice(&key[8..]);
    (u64::from_be_bytes(lease), digest)
}

/// Return the model and the seal of a reference.
pub fn split_reference(key: &Key) -> (u32, u32) {
    let (mut model, mut seal) = ([0; 4], [0; 4]);
    model.copy_from_slice(&key[32..36]);
    seal.copy_from_slice(&key[36..]);
    (u32::from_be_bytes(model), u32::from_be_bytes(seal))
}

fn lease_key(lease: u64, digest: &Digest) -> Key {
    let mut key = [0; KEY_BYTES];
    key[..8].copy_from_slice(&lease.to_be_bytes());
    key[8..].copy_from_slice(digest);
    key
}

fn reference_key(digest: &Digest, model: u32, seal: u32) -> Key {
    let mut key = [0; KEY_BYTES];
    key[..32].copy_from_slice(digest);
    key[32..36].copy_from_slice(&model.to_be_bytes());
    key[36..].copy_from_slice(&seal.to_be_bytes());
    key
}
