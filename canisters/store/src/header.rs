//! Region 0: what the memory is, and the counters of the store.
//!
//! Version 3, little-endian, one page:
//!
//! ```text
//! offset size field
//!      0    4 magic "DNST"
//!      4    1 version, 3
//!      5    3 reserved, zero
//!      8   32 blinding seed
//!     40    8 next number, of leases and tasks
//!     48    4 next model id
//!     52    4 next seal id
//!     56    8 end of the frames, bytes
//!     64    8 bytes of free extents before that end
//!     72    8 count of frames
//!     80    8 bytes of frames
//!     88    8 count of damaged frames
//!     96    4 count of leases
//!    100    4 count of models
//!    104    4 next account id
//!    108    4 count of garbage collections begun
//!    112    4 next number of a sealer
//!    116   12 reserved, zero
//! ```

use candid::Principal;
use datanode_codec::digest::keyed_hash;
use ic_stable_structures::Memory;

use crate::Digest;
use crate::open_error::OpenError;

/// Version of the layout of all regions.
pub const STORE_VERSION: u8 = 3;

const MAGIC: [u8; 4] = *b"DNST";
const HEADER_BYTES: usize = 128;
const COUNTERS_AT: usize = 40;

/// The counters of the store; written through at every change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub blinding_seed: Digest,
    pub next_number: u64,
    pub next_model: u32,
    pub next_seal: u32,
    pub frames_end: u64,
    pub free_bytes: u64,
    pub frames: u64,
    pub frame_bytes: u64,
    pub damaged: u64,
    pub leases: u32,
    pub models: u32,
    pub next_account: u32,
    pub collections: u32,
    pub next_sealer: u32,
}

impl Header {
    /// Return the header of an empty store.
    pub fn new(blinding_seed: Digest) -> Self {
        Self {
            blinding_seed,
            next_number: 1,
            next_model: 1,
            next_seal: 1,
            frames_end: 0,
            free_bytes: 0,
            frames: 0,
            frame_bytes: 0,
            damaged: 0,
            leases: 0,
            models: 0,
            next_account: 1,
            collections: 0,
            next_sealer: 1,
        }
    }

    /// Read the header of a region that is at least a page long.
    pub fn read<M: Memory>(region: &M) -> Result<Self, OpenError> {
        let mut bytes = [0; HEADER_BYTES];
        region.read(0, &mut bytes);
        if bytes[..4] != MAGIC {
            return Err(OpenError::Magic { found: [bytes[0], bytes[1], bytes[2], bytes[3]] });
        }
        if bytes[4] != STORE_VERSION {
            return Err(OpenError::Version { found: bytes[4], known: STORE_VERSION });
        }
        let mut blinding_seed = [0; 32];
        blinding_seed.copy_from_slice(&bytes[8..COUNTERS_AT]);
        let u32_at = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        Ok(Self {
            blinding_seed,
            next_number: u64_at(40),
            next_model: u32_at(48),
            next_seal: u32_at(52),
            frames_end: u64_at(56),
            free_bytes: u64_at(64),
            frames: u64_at(72),
            frame_bytes: u64_at(80),
            damaged: u64_at(88),
            leases: u32_at(96),
            models: u32_at(100),
            next_account: u32_at(104),
            collections: u32_at(108),
            next_sealer: u32_at(112),
        })
    }

    /// Write the header.
    pub fn write<M: Memory>(&self, region: &M) {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[STORE_VERSION, 0, 0, 0]);
        bytes.extend_from_slice(&self.blinding_seed);
        bytes.extend_from_slice(&self.next_number.to_le_bytes());
        bytes.extend_from_slice(&self.next_model.to_le_bytes());
        bytes.extend_from_slice(&self.next_seal.to_le_bytes());
        bytes.extend_from_slice(&self.frames_end.to_le_bytes());
        bytes.extend_from_slice(&self.free_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.frames.to_le_bytes());
        bytes.extend_from_slice(&self.frame_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.damaged.to_le_bytes());
        bytes.extend_from_slice(&self.leases.to_le_bytes());
        bytes.extend_from_slice(&self.models.to_le_bytes());
        bytes.extend_from_slice(&self.next_account.to_le_bytes());
        bytes.extend_from_slice(&self.collections.to_le_bytes());
        bytes.extend_from_slice(&self.next_sealer.to_le_bytes());
        bytes.resize(HEADER_BYTES, 0);
        region.write(0, &bytes);
    }

    /// Return a fresh number for a lease or a task.
    ///
    /// It tells nothing of how many there were before, for uploaders that know nothing of each
    /// other see them. It has 63 bits, so that databases with signed integers keep it.
    pub fn number(&mut self) -> u64 {
        let count = self.next_number.to_le_bytes();
        self.next_number += 1;
        self.blinded(b"number", &count) >> 1
    }

    /// Return the number that stands for a principal in the rows of its further leases.
    ///
    /// The seed is secret, so that a caller cannot search for a principal with another's number.
    pub fn holder_tag(&self, holder: Principal) -> u64 {
        self.blinded(b"holder", holder.as_slice())
    }

    fn blinded(&self, purpose: &[u8], value: &[u8]) -> u64 {
        let blinded = keyed_hash(&self.blinding_seed, &[purpose, &[0], value].concat());
        let (first, _) = blinded.split_first_chunk().expect("a digest has 32 bytes");
        u64::from_le_bytes(*first)
    }
}
