//! The regions of stable memory and the room in front of them.
//!
//! ```text
//! region  what
//!      0  header
//!      1  index: frame digest -> where and what the frame is
//!      2  frames, raw
//!      3  free extents of the frame region
//!      4  catalog: models, versions, grants, leases, tasks
//!      5  further leases: (lease id, frame digest)
//!      6  references: (frame digest, model id, seal id)
//! ```
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

const FRAMES: usize = 2;
const REGION_COUNT: u8 = 7;

/// A region.
pub type Region<M> = VirtualMemory<M>;

/// All regions of a memory.
pub struct Regions<M: Memory> {
    base: M,
    regions: Vec<Region<M>>,
}

impl<M: Memory + Clone> Regions<M> {
    /// Divide a memory; it is empty or was divided before.
    pub fn new(base: M) -> Self {
        let manager = MemoryManager::init_with_bucket_size(base.clone(), BUCKET_PAGES as u16);
        let regions = (0..REGION_COUNT).map(|id| manager.get(MemoryId::new(id))).collect();
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
            let needed = if id == FRAMES {
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
