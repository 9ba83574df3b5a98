//! The regions of stable memory and the room in front of them.
//!
//! A bucket is 256 pages (16 MiB): the manager's default of 128 would cap all regions at 256 GiB.
//! Each region rents whole buckets, which is why the small tables share one.

use ic_stable_structures::Memory;
use ic_stable_structures::memory_manager::{MemoryId, MemoryManager, VirtualMemory};

use crate::limits::MAX_STABLE_BYTES;

/// Pages of a bucket. Part of the layout.
pub const BUCKET_PAGES: u64 = 256;
/// Bytes of a Wasm page.
pub const PAGE_BYTES: u64 = 65_536;

/// Pages of the memory manager before the first bucket.
const MANAGER_PAGES: u64 = 1;
/// Kept free in every table: more than one message can add to it. The most that a test sees is the
/// pin of 16,384 frames, whose rows of 40 bytes take a third of this.
const TABLE_SLACK_PAGES: u64 = 64;

/// What a message is about to do with the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Add to them.
    Fill,
    /// Free what they hold, or change it.
    Free,
}

impl Purpose {
    /// Whoever fills leaves as much again, so that a full node can still be emptied: freeing writes
    /// rows as well, and a table whose bucket is used up needs one that the memory then refuses.
    fn slack_pages(self) -> u64 {
        match self {
            Self::Fill => 2 * TABLE_SLACK_PAGES,
            Self::Free => TABLE_SLACK_PAGES,
        }
    }
}

/// A region.
pub type Region<M> = VirtualMemory<M>;

/// Numbers of the regions. Part of the layout.
pub mod region {
    /// The header: what the memory is, and counters.
    pub const HEADER: usize = 0;
    /// Index of the copies of frames: frame digest, user -> where and how the copy is.
    pub const INDEX: usize = 1;
    /// Frames, raw.
    pub const FRAMES: usize = 2;
    /// Free extents of the frame region.
    pub const EXTENTS: usize = 3;
    /// Catalog: models, versions, grants, accounts, leases, tasks.
    pub const CATALOG: usize = 4;
    /// Further leases: holder tag, frame digest, lease id.
    pub const LEASED: usize = 5;
    /// References: frame digest, sealer, model id, seal id.
    pub const REFERENCES: usize = 6;
    /// Contents: sealer, content digest, model id, seal id -> frame.
    pub const CONTENTS: usize = 7;
    /// How many regions there are.
    pub const COUNT: u8 = 8;
}

/// All regions of a memory.
pub struct Regions<M: Memory> {
    base: M,
    regions: Vec<Region<M>>,
}

impl<M: Memory + Clone> Regions<M> {
    /// Divide a memory; it is empty or was divided before.
    pub fn new(base: M) -> Self {
        let manager = MemoryManager::init_with_bucket_size(base.clone(), BUCKET_PAGES as u16);
        let regions = crate::outer::ids().map(|id| manager.get(MemoryId::new(id))).collect();
        Self { base, regions }
    }

    /// Return a region.
    pub fn get(&self, id: usize) -> Region<M> {
        self.regions[id].clone()
    }

    /// Return the size of the whole memory, bytes.
    pub fn stable_bytes(&self) -> u64 {
        self.base.size() * PAGE_BYTES
    }

    /// Return by how many bytes the memory must grow so that frames end at `frames_end` and no
    /// table runs out of room in this message.
    pub fn shortage_bytes(&self, frames_end: u64, purpose: Purpose) -> u64 {
        let buckets = self.regions.iter().enumerate().map(|(id, region)| {
            let size = region.size();
            let needed = if id == region::FRAMES {
                frames_end.div_ceil(PAGE_BYTES)
            } else {
                size + purpose.slack_pages()
            };
            needed.max(size).div_ceil(BUCKET_PAGES)
        });
        let pages = MANAGER_PAGES + BUCKET_PAGES * buckets.sum::<u64>();
        pages.saturating_sub(self.base.size()) * PAGE_BYTES
    }

    /// Grow the memory by so many bytes; tell whether that went well.
    ///
    /// The manager panics where the memory refuses to grow. Growing beneath it beforehand turns
    /// that into an answer.
    pub fn grow(&self, bytes: u64) -> bool {
        bytes == 0
            || (self.stable_bytes() + bytes <= MAX_STABLE_BYTES
                && self.base.grow(bytes / PAGE_BYTES) >= 0)
    }
}
