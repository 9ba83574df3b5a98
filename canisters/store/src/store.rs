//! The store: its parts, and how they are put together.

use ic_stable_structures::Memory;

use crate::catalog::Catalog;
use crate::certify::Tree;
use crate::error::Error;
use crate::frames::Frames;
use crate::header::Header;
use crate::held::Holds;
use crate::regions::{Purpose, Region, Regions};
use crate::{Digest, Outcome};

/// Everything a node holds.
///
/// Methods are grouped by what one wants to do, a file each: `begin`, `put`, `seal`, `read`,
/// `listing`, `grants`, `delete`, `garbage`, `scrub`, `status`.
pub struct Store<M: Memory> {
    pub(crate) regions: Regions<M>,
    pub(crate) header: Header,
    pub(crate) catalog: Catalog<M>,
    pub(crate) frames: Frames<M>,
    pub(crate) holds: Holds<M>,
    pub(crate) tree: Tree,
    header_region: Region<M>,
}

impl<M: Memory + Clone> Store<M> {
    pub(crate) fn assemble(regions: Regions<M>, header: Header) -> Self {
        let catalog = Catalog::new(regions.get(4));
        let tree = Tree::build(&header.blinding_seed, &catalog);
        Self {
            frames: Frames::new(&regions),
            holds: Holds::new(&regions),
            header_region: regions.get(0),
            regions,
            header,
            catalog,
            tree,
        }
    }

    /// Return the root of the hash tree, to be certified.
    pub fn root(&self) -> Digest {
        self.tree.root()
    }

    /// Write the counters down; the last act of every change.
    pub(crate) fn save(&self) {
        self.header.write(&self.header_region);
    }

    /// Make sure that no table runs out of room in this message.
    pub(crate) fn reserve_tables(&self, purpose: Purpose) -> Outcome<()> {
        let asked_bytes = self.regions.shortage_bytes(self.header.frames_end, purpose);
        if self.regions.grow(asked_bytes) {
            Ok(())
        } else {
            Err(Error::OutOfMemory { asked_bytes })
        }
    }
}
