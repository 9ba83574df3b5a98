//! The parts of the store, and how they are put together.

use std::cell::Cell;
use std::collections::BTreeMap;

use ic_stable_structures::Memory;

use crate::arriving::Buffer;
use crate::audience::{self, Audience};
use crate::catalog::Catalog;
use crate::certify::Tree;
use crate::contents::Contents;
use crate::error::Error;
use crate::frames::Frames;
use crate::header::Header;
use crate::held::Holds;
use crate::outer::Beside;
use crate::regions::{Purpose, Region, Regions, region};
use crate::{Digest, Outcome};

/// Everything a node holds.
///
/// Methods are grouped by what one wants to do, a file each: `begin`, `put`, `find`, `seal`, `read`,
/// `listing`, `grants`, `delete`, `garbage`, `scrub`, `status`. Only [`Store`](crate::Store) calls
/// those that change something.
pub struct Inner<M: Memory> {
    pub(crate) regions: Regions<M>,
    pub(crate) header: Header,
    pub(crate) catalog: Catalog<M>,
    pub(crate) frames: Frames<M>,
    pub(crate) holds: Holds<M>,
    pub(crate) contents: Contents<M>,
    pub(crate) tree: Tree,
    pub(crate) beside: Beside,
    pub(crate) buffer: Cell<Buffer>,
    /// Who reads a model, by its id; it lives on the heap and is built anew at opening.
    pub(crate) audiences: BTreeMap<u32, Audience>,
    /// The counters as the memory holds them.
    written: Header,
    header_region: Region<M>,
}

impl<M: Memory + Clone> Inner<M> {
    pub(crate) fn assemble(regions: Regions<M>, header: Header) -> Self {
        let catalog = Catalog::new(regions.get(region::CATALOG));
        let tree = Tree::build(&header.blinding_seed, &catalog);
        Self {
            frames: Frames::new(&regions),
            holds: Holds::new(&regions),
            contents: Contents::new(regions.get(region::CONTENTS)),
            audiences: audience::all(&catalog),
            header_region: regions.get(region::HEADER),
            regions,
            written: header.clone(),
            header,
            catalog,
            tree,
            beside: Beside::default(),
            buffer: Cell::new(Buffer::new()),
        }
    }

    /// Return the root of the hash tree, to be certified.
    pub fn root(&self) -> Digest {
        self.beside.root(self.tree.root())
    }

    /// Write the counters down if they have changed.
    pub(crate) fn save(&mut self) {
        if self.header != self.written {
            self.header.write(&self.header_region);
            self.written = self.header.clone();
        }
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
