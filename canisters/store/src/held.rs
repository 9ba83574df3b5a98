//! Which frames are held, under a lease or by a sealed manifest.
//!
//! ```text
//! further leases    holder tag 8 | frame digest 32 | lease id 8
//! references        frame digest 32 | sealer 4 | model id 4 | seal id 4     numbers big-endian
//! ```
//!
//! Model and seal ids of references stand with their bits reversed: in their own order, the rows of
//! a frame would come at the end of one another and leave nodes of the tree half empty behind them,
//! and a look-up would cost more for a frame that many models share.
//!
//! The first lease of a frame stands in the index, with the frame itself: nearly every frame has one
//! at most, and a row of its own would cost as much as the rest of storing a small frame.
//!
//! The holder stands first, so that one look-up finds a frame under any of a caller's leases and
//! never passes rows of others. The sealer stands first, so that a caller's own references are found
//! whoever else refers to a frame.

use std::ops::Bound;

use ic_stable_structures::{Memory, StableBTreeMap};

use crate::Digest;
use crate::contents::Sealing;
use crate::even::Even;
use crate::key::Key;
use crate::limits::PAGES_A_LOOK_UP;
use crate::regions::{Region, Regions, region};

const LEASED_BYTES: usize = 48;

const REFERENCE_BYTES: usize = 44;

/// A row of the first table.
pub type LeasedKey = Key<LEASED_BYTES>;

/// A row of the second table.
pub type ReferenceKey = Key<REFERENCE_BYTES>;

/// A seal that refers to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    pub digest: Digest,
    pub model: u32,
    pub seal: u32,
}

/// References as look-ups see them.
pub type LookedUp<M> = StableBTreeMap<ReferenceKey, (), Even<Region<M>>>;

/// The two tables.
pub struct Holds<M: Memory> {
    leased: StableBTreeMap<LeasedKey, (), Region<M>>,
    referred: StableBTreeMap<ReferenceKey, (), Region<M>>,
    even: Even<Region<M>>,
}

impl<M: Memory + Clone> Holds<M> {
    pub fn new(regions: &Regions<M>) -> Self {
        Self {
            leased: StableBTreeMap::init(regions.get(region::LEASED)),
            referred: StableBTreeMap::init(regions.get(region::REFERENCES)),
            even: Even::new(regions.get(region::REFERENCES)),
        }
    }

    /// Walk the leases of a holder that have a row for a frame, ended ones included.
    pub fn rows(&self, holder: u64, digest: &Digest) -> impl Iterator<Item = u64> {
        let range = lease_key(holder, digest, 0)..=lease_key(holder, digest, u64::MAX);
        self.leased.keys_range(range).map(|key| split_lease(&key).2)
    }

    pub fn lease(&mut self, holder: u64, digest: &Digest, lease: u64) {
        self.leased.insert(lease_key(holder, digest, lease), ());
    }

    /// Walk the frames that a lease holds by rows, behind a digest.
    pub fn walk_lease(
        &self,
        holder: u64,
        lease: u64,
        after: Option<Digest>,
    ) -> impl Iterator<Item = Digest> {
        let start = match after {
            None => Bound::Included(lease_key(holder, &[0; 32], 0)),
            Some(after) => Bound::Excluded(lease_key(holder, &after, u64::MAX)),
        };
        let end = Bound::Included(lease_key(holder, &[0xff; 32], u64::MAX));
        let rows = self.leased.keys_range((start, end)).map(|key| split_lease(&key));
        rows.filter(move |(_, _, of)| *of == lease).map(|(_, digest, _)| digest)
    }

    /// Walk the rows of all leases behind a row.
    pub fn walk_leased(&self, after: Option<LeasedKey>) -> impl Iterator<Item = LeasedKey> {
        self.leased.keys_range((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))
    }

    pub fn unlease(&mut self, holder: u64, digest: &Digest, lease: u64) {
        self.leased.remove(&lease_key(holder, digest, lease));
    }

    /// Refer to a frame; tell whether that is new.
    pub fn refer(&mut self, digest: &Digest, sealing: Sealing) -> bool {
        self.referred.insert(reference_key(digest, sealing), ()).is_none()
    }

    pub fn unrefer(&mut self, key: &ReferenceKey) {
        self.referred.remove(key);
    }

    pub fn is_referred(&self, digest: &Digest) -> bool {
        let first = Sealing { sealer: 0, model: 0, seal: 0 };
        let next = self.referred.keys_range(reference_key(digest, first)..).next();
        next.is_some_and(|key| key.digest_at(0) == *digest)
    }

    /// Walk the references to a frame.
    pub fn references(&self, digest: &Digest) -> impl Iterator<Item = Reference> {
        let first = reference_key(digest, Sealing { sealer: 0, model: 0, seal: 0 });
        let rows = self.referred.keys_range(first..).map(|key| split_reference(&key));
        rows.take_while(move |reference| reference.digest == first.digest_at(0))
    }

    /// Begin the look-ups of a message.
    pub fn begin_look_ups(&self) {
        self.even.begin();
    }

    /// Look references up, at the same cost whatever is found.
    pub fn look_up<T>(&self, look: impl FnOnce(&LookedUp<M>) -> T) -> T {
        self.even.look_up(PAGES_A_LOOK_UP, |memory| look(&StableBTreeMap::load(memory)))
    }

    /// Walk all references behind a row.
    pub fn walk_references(
        &self,
        after: Option<ReferenceKey>,
    ) -> impl Iterator<Item = ReferenceKey> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.referred.keys_range((start, Bound::Unbounded))
    }
}

/// Walk the references from those of a frame by a sealer on; behind the last one of all follow the
/// first ones.
pub fn references_from<M: Memory>(
    rows: &LookedUp<M>,
    digest: &Digest,
    sealer: u32,
) -> impl Iterator<Item = Reference> {
    let first = reference_key(digest, Sealing { sealer, model: 0, seal: 0 });
    let behind = rows.keys_range(first..);
    behind.chain(rows.keys_range(..first)).map(|key| split_reference(&key))
}

/// Return the holder, the digest and the lease of a row.
pub fn split_lease(key: &LeasedKey) -> (u64, Digest, u64) {
    (key.u64_at(0), key.digest_at(8), key.u64_at(40))
}

/// Take a reference apart.
pub fn split_reference(key: &ReferenceKey) -> Reference {
    let [model, seal] = [36, 40].map(|at| key.u32_at(at).reverse_bits());
    Reference { digest: key.digest_at(0), model, seal }
}

fn lease_key(holder: u64, digest: &Digest, lease: u64) -> LeasedKey {
    Key::join([&holder.to_be_bytes(), digest, &lease.to_be_bytes(), &[]])
}

fn reference_key(digest: &Digest, sealing: Sealing) -> ReferenceKey {
    let [model, seal] =
        [sealing.model, sealing.seal].map(|number| number.reverse_bits().to_be_bytes());
    Key::join([digest, &sealing.sealer.to_be_bytes(), &model, &seal])
}
