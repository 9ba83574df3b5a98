//! Creating a store in empty memory, and opening one strictly.

use ic_stable_structures::Memory;

use crate::Digest;
use crate::header::Header;
use crate::inner::Inner;
use crate::open_error::OpenError;
use crate::regions::{BUCKET_PAGES, PAGE_BYTES, Regions, region};

const MANAGER_MAGIC: [u8; 3] = *b"MGR";
const MANAGER_VERSION: u8 = 1;
/// Offset and length of what is checked of the memory manager's page: magic 3, version 1,
/// count of buckets u16, pages of a bucket u16.
const MANAGER_BYTES: usize = 8;

impl<M: Memory + Clone> Inner<M> {
    /// Create a store in empty memory.
    ///
    /// # Errors
    /// The memory is not empty, or does not grow.
    pub fn create(memory: M, blinding_seed: Digest) -> Result<Self, OpenError> {
        if memory.size() > 0 {
            return Err(OpenError::NotEmpty { found: memory.size() * PAGE_BYTES });
        }
        let needed = (1 + u64::from(region::COUNT) * BUCKET_PAGES) * PAGE_BYTES;
        if memory.grow(needed / PAGE_BYTES) < 0 {
            return Err(OpenError::NoRoom { needed });
        }
        let regions = Regions::new(memory);
        let header = Header::new(blinding_seed);
        regions.get(region::HEADER).grow(1);
        header.write(&regions.get(region::HEADER));
        Ok(Self::assemble(regions, header))
    }

    /// Open the store in a memory.
    ///
    /// # Errors
    /// The memory holds no store, a newer one, or is cut off. It is not written to.
    pub fn open(memory: M) -> Result<Self, OpenError> {
        check_manager(&memory)?;
        let regions = Regions::new(memory);
        if regions.get(region::HEADER).size() == 0 {
            return Err(OpenError::Magic { found: [0; 4] });
        }
        let header = Header::read(&regions.get(region::HEADER))?;
        let found = regions.get(region::FRAMES).size() * PAGE_BYTES;
        if header.frames_end > found {
            return Err(OpenError::Size { needed: header.frames_end, found });
        }
        Ok(Self::assemble(regions, header))
    }
}

/// Check what the memory manager would otherwise overwrite or panic at.
fn check_manager<M: Memory>(memory: &M) -> Result<(), OpenError> {
    let mut bytes = [0; MANAGER_BYTES];
    if memory.size() > 0 {
        memory.read(0, &mut bytes);
    }
    let [a, b, c, version, buckets @ .., pages_low, pages_high] = bytes;
    if [a, b, c] != MANAGER_MAGIC {
        return Err(OpenError::Magic { found: [a, b, c, version] });
    }
    if version != MANAGER_VERSION {
        return Err(OpenError::Version { found: version, known: MANAGER_VERSION });
    }
    let bucket_pages = u64::from(u16::from_le_bytes([pages_low, pages_high]));
    let needed = (1 + u64::from(u16::from_le_bytes(buckets)) * bucket_pages) * PAGE_BYTES;
    let found = memory.size() * PAGE_BYTES;
    if bucket_pages != BUCKET_PAGES || needed > found {
        return Err(OpenError::Size { needed, found });
    }
    Ok(())
}
