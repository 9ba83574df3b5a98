//! The frames and their index.
//!
//! An entry of the index is 32 bytes, little-endian:
//!
//! ```text
//! offset size field
//!      0    8 start in the frame region, bytes
//!      8    8 last put or pin, nanoseconds
//!     16    4 length, bytes
//!     20    1 flags: 1 damaged
//!     21    3 reserved, zero
//!     24    8 lease that holds it, or held it, or 0; what further leases hold has rows of its own
//! ```

use datanode_codec::digest;
use datanode_codec::frame::{HEADER_BYTES, Header as FrameHeader, parse_header};
use ic_stable_structures::{Memory, StableBTreeMap};

use crate::Digest;
use crate::extents::{Extents, Room};
use crate::header::Header;
use crate::regions::{BUCKET_PAGES, PAGE_BYTES, Region, Regions};

const ENTRY_BYTES: usize = 32;
const DAMAGED: u8 = 1;
/// Stored and arriving bytes are compared in pieces of this length.
const PIECE_BYTES: usize = 65_536;

/// Where a frame lies and how it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub start: u64,
    pub touched_ns: u64,
    pub length: u32,
    pub damaged: bool,
    /// One lease that holds it. It may have ended: then it holds nothing.
    pub lease: u64,
}

impl Entry {
    fn encode(self) -> [u8; ENTRY_BYTES] {
        let mut row = [0; ENTRY_BYTES];
        row[..8].copy_from_slice(&self.start.to_le_bytes());
        row[8..16].copy_from_slice(&self.touched_ns.to_le_bytes());
        row[16..20].copy_from_slice(&self.length.to_le_bytes());
        row[20] = if self.damaged { DAMAGED } else { 0 };
        row[24..].copy_from_slice(&self.lease.to_le_bytes());
        row
    }

    fn decode(row: [u8; ENTRY_BYTES]) -> Self {
        let number = |at: usize, length: usize| {
            row[at..at + length].iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
        };
        Self {
            start: number(0, 8),
            touched_ns: number(8, 8),
            length: number(16, 4) as u32,
            damaged: row[20] & DAMAGED != 0,
            lease: number(24, 8),
        }
    }
}

/// The frame region, its index and its free extents.
pub struct Frames<M: Memory> {
    region: Region<M>,
    index: StableBTreeMap<Digest, [u8; ENTRY_BYTES], Region<M>>,
    pub extents: Extents<M>,
}

impl<M: Memory + Clone> Frames<M> {
    pub fn new(regions: &Regions<M>) -> Self {
        Self {
            region: regions.get(2),
            index: StableBTreeMap::init(regions.get(1)),
            extents: Extents::new(regions.get(3)),
        }
    }

    pub fn get(&self, digest: &Digest) -> Option<Entry> {
        self.index.get(digest).map(Entry::decode)
    }

    /// Grow the region for frames of so many bytes at once, as far as its last bucket goes.
    ///
    /// To grow, a region has the memory manager write 2 KiB down, 4,300 instructions: rather once a
    /// message than once a frame. A bucket is the region's whether it is used or not.
    pub fn grow_ahead(&self, bytes: u64, header: &Header) {
        let size = self.region.size();
        let wished = (header.frames_end + bytes).div_ceil(PAGE_BYTES);
        self.grow(wished.min(size.next_multiple_of(BUCKET_PAGES)));
    }

    fn grow(&self, pages: u64) {
        let size = self.region.size();
        if pages > size {
            assert!(self.region.grow(pages - size) >= 0, "room was reserved");
        }
    }

    /// Store a frame under a lease, in room that was found for it.
    ///
    /// One walk through the index finds out whether it is there and enters it, for a walk costs as
    /// much as hashing a kilobyte. If it is there, nothing else has happened, and its entry is
    /// returned: the caller brings it back by `update`.
    pub fn add(
        &mut self,
        digest: &Digest,
        frame: &[u8],
        room: Room,
        (lease, now_ns): (u64, u64),
        header: &mut Header,
    ) -> Option<Entry> {
        let length = frame.len() as u32;
        let start = room.start();
        let entry = Entry { start, touched_ns: now_ns, length, damaged: false, lease };
        if let Some(old) = self.index.insert(*digest, entry.encode()) {
            return Some(Entry::decode(old));
        }
        self.extents.take(room, length.into(), header);
        self.grow(header.frames_end.div_ceil(PAGE_BYTES));
        self.region.write(start, frame);
        header.frames += 1;
        header.frame_bytes += u64::from(length);
        None
    }

    /// Make a stored frame equal to the arriving bytes; tell whether it was not.
    pub fn heal(&mut self, entry: Entry, frame: &[u8]) -> bool {
        let mut piece = vec![0; PIECE_BYTES.min(frame.len())];
        let mut at = entry.start;
        for expected in frame.chunks(PIECE_BYTES) {
            let stored = &mut piece[..expected.len()];
            self.region.read(at, stored);
            if differ(stored, expected) {
                self.region.write(entry.start, frame);
                return true;
            }
            at += expected.len() as u64;
        }
        false
    }

    /// Note a put, a pin or what a scrub found.
    pub fn update(&mut self, digest: &Digest, old: Entry, new: Entry, header: &mut Header) {
        header.damaged += u64::from(new.damaged);
        header.damaged -= u64::from(old.damaged);
        self.index.insert(*digest, new.encode());
    }

    /// Free a frame.
    pub fn remove(&mut self, digest: &Digest, entry: Entry, header: &mut Header) {
        self.index.remove(digest);
        self.extents.give_back(entry.start, entry.length.into(), header);
        header.frames -= 1;
        header.frame_bytes -= u64::from(entry.length);
        header.damaged -= u64::from(entry.damaged);
    }

    /// Walk the index behind a digest.
    pub fn walk(&self, after: Option<Digest>) -> impl Iterator<Item = (Digest, Entry)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let start = after.map_or(Unbounded, Excluded);
        self.index.range((start, Unbounded)).map(|row| (*row.key(), Entry::decode(row.value())))
    }

    /// Read a stored frame as it is.
    pub fn read(&self, entry: Entry) -> Vec<u8> {
        self.read_part(entry, 0, entry.length as usize)
    }

    /// Read some of the bytes of a stored frame.
    pub fn read_part(&self, entry: Entry, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.region.read(entry.start + offset, &mut bytes);
        bytes
    }

    /// Read what a stored frame says of itself; nothing if its header is damaged.
    pub fn header(&self, entry: Entry) -> Option<FrameHeader> {
        let mut header = [0; HEADER_BYTES];
        self.region.read(entry.start, &mut header);
        parse_header(&header, entry.length as usize).ok()
    }

    /// Read a frame if its bytes still have its digest.
    pub fn read_checked(&self, digest: &Digest, entry: Entry) -> Option<Vec<u8>> {
        let frame = self.read(entry);
        (digest::hash(&frame) == *digest).then_some(frame)
    }

    /// Return the bytes of the frame region that are grown and hold no frame.
    pub fn free_bytes(&self, header: &Header) -> u64 {
        self.region.size() * PAGE_BYTES - header.frames_end + header.free_bytes
    }
}

/// Compare eight bytes at a time: the compiler's own comparison of slices takes 26 instructions a
/// byte on Wasm, this one takes two.
fn differ(stored: &[u8], expected: &[u8]) -> bool {
    let (words, rest) = stored.as_chunks::<8>();
    let (expected_words, expected_rest) = expected.as_chunks::<8>();
    let word_differs =
        |(a, b): (&[u8; 8], &[u8; 8])| u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b);
    words.iter().zip(expected_words).fold(0, |sum, pair| sum | word_differs(pair)) != 0
        || words.len() != expected_words.len()
        || rest != expected_rest
}
