//! What the store offers to a canister around it, with the feature `outer`: frames by their digests,
//! a region of the memory that this canister alone reads and writes, and a place in the certified tree
//! beside its own. A store without the feature touches none of them.
//!
//! ```text
//! dn            the store's tree, see `certify`
//! http_expr     what the canister around it certifies; absent until it certifies something
//! ```

use std::ops::Range;

use crate::Digest;
use crate::regions::region;

/// Return the numbers of all regions, the outer one last.
pub fn ids() -> Range<u8> {
    0..region::COUNT + u8::from(cfg!(feature = "outer"))
}

/// The hash of what is certified beside the store's tree, its label included.
#[derive(Default)]
pub struct Beside(#[cfg(feature = "outer")] Option<Digest>);

#[cfg(not(feature = "outer"))]
impl Beside {
    /// Return the root of all that is certified.
    pub fn root(&self, store: Digest) -> Digest {
        store
    }

    /// Return a witness of the store as one of all that is certified.
    pub fn prune(&self, store: ic_certification::HashTree) -> ic_certification::HashTree {
        store
    }
}

#[cfg(feature = "outer")]
mod access {
    use ic_certification::{HashTree, fork, fork_hash, labeled, labeled_hash, pruned};
    use ic_stable_structures::Memory;

    use super::Beside;
    use crate::api::Visibility;
    use crate::inner::Inner;
    use crate::regions::{Purpose, Region, region};
    use crate::store::Store;
    use crate::{Digest, Outcome};

    /// The label beside that of the store, and behind it in the order of labels. Part of the protocol
    /// of HTTP gateways.
    const LABEL: &[u8] = b"http_expr";

    impl Beside {
        pub fn root(&self, store: Digest) -> Digest {
            self.0.map_or(store, |beside| fork_hash(&store, &beside))
        }

        pub fn prune(&self, store: HashTree) -> HashTree {
            match self.0 {
                None => store,
                Some(beside) => fork(store, pruned(beside)),
            }
        }
    }

    impl<M: Memory + Clone> Inner<M> {
        /// Read a stored frame to the front of `buffer`, which is kept for the next one, and return
        /// its length; none if the node has lost it.
        ///
        /// No access is checked: the canister around the store has read the manifest that names it.
        pub fn frame_into(&self, digest: &Digest, buffer: &mut Vec<u8>) -> Option<usize> {
            self.frames.read_into(self.frames.get(digest)?, buffer)
        }

        /// Tell whether everybody may read a model.
        pub fn is_public(&self, name: &str) -> bool {
            let row = self.model_row(name);
            row.is_some_and(|model| model.visibility == Visibility::Public)
        }

        /// Return a tree of all that is certified, as CBOR, that shows what is certified beside the
        /// store. The witnesses of the store show none of it.
        pub fn outer_witness(&self, shown: HashTree) -> Vec<u8> {
            let tree = fork(pruned(self.tree.root()), labeled(LABEL, shown));
            let mut witness = Vec::new();
            ciborium::into_writer(&tree, &mut witness).expect("a vector takes all that is written");
            witness
        }

        /// Return the region of the memory that the store leaves to the canister around it.
        pub fn outer_region(&self) -> Region<M> {
            self.regions.get(region::COUNT.into())
        }

        /// Return that region with at least so many pages, at most 64.
        ///
        /// # Errors
        /// The memory does not grow.
        pub fn reserve_outer_region(&self, pages: u64) -> Outcome<Region<M>> {
            self.reserve_tables(Purpose::Fill)?;
            let region = self.outer_region();
            if region.size() < pages {
                region.grow(pages - region.size());
            }
            Ok(region)
        }
    }

    impl<M: Memory + Clone> Store<M> {
        /// Have a tree with this root certified beside that of the store from now on, and return the
        /// root of both.
        pub fn certify_beside(&mut self, tree: &Digest) -> Digest {
            self.0.beside = Beside(Some(labeled_hash(LABEL, tree)));
            self.root()
        }
    }
}
