//! What the store offers to a canister around it, with the feature `outer`: frames by their digests,
//! and a region of the memory that this canister alone reads and writes. A store without the feature
//! does not touch the region.

use std::ops::Range;

use crate::regions::region;

/// Return the numbers of all regions, the outer one last.
pub fn ids() -> Range<u8> {
    0..region::COUNT + u8::from(cfg!(feature = "outer"))
}

#[cfg(feature = "outer")]
mod access {
    use ic_stable_structures::Memory;

    use crate::inner::Inner;
    use crate::regions::{Purpose, Region, region};
    use crate::{Digest, Outcome};

    impl<M: Memory + Clone> Inner<M> {
        /// Read a stored frame to the front of `buffer`, which is kept for the next one, and return
        /// its length; none if the node has lost it.
        ///
        /// No access is checked: the canister around the store has read the manifest that names it.
        pub fn frame_into(&self, digest: &Digest, buffer: &mut Vec<u8>) -> Option<usize> {
            self.frames.read_into(self.frames.get(digest)?, buffer)
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
}
