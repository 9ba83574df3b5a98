//! The frames and their index.
//!
//! A frame may be stored several times, once for each user that put it while it was held for that
//! user by nothing: so a put of what others store does exactly what a put of new bytes does, costs
//! as much and takes as much room. The next collection of garbage leaves one copy.
//!
//! The key of a copy is the frame digest, 32 bytes, and the number of the user, 4, big-endian.
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
use datanode_codec::limits::MAX_FRAME_BYTES;
use ic_stable_structures::{Memory, StableBTreeMap};

use crate::Digest;
use crate::arriving::Arriving;
use crate::extents::{Extents, Room};
use crate::header::Header;
use crate::key::Key;
use crate::regions::{BUCKET_PAGES, PAGE_BYTES, Region, Regions, region};

const KEY_BYTES: usize = 36;
const ENTRY_BYTES: usize = 32;
const DAMAGED: u8 = 1;
/// Stored and arriving bytes are compared in pieces of this length.
const PIECE_BYTES: usize = 65_536;

/// Key of a copy.
pub type CopyKey = Key<KEY_BYTES>;

/// Where a copy of a frame lies and how it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub start: u64,
    pub touched_ns: u64,
    pub length: u32,
    pub damaged: bool,
    /// One lease of its user that holds it. It may have ended: then it holds nothing.
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

/// Where the bytes of a stored frame lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Where they start in the frame region, bytes.
    pub start: u64,
    /// How many there are; none if the frame's entry is damaged and leads outside.
    pub length: usize,
}

/// What became of a stored frame that the same frame arrived for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Healed {
    /// Nothing: it was as it should be.
    Whole,
    /// Its bytes were damaged and are whole again.
    Rewritten,
    /// Nothing: the bytes at the entry's place are not this frame's, or have lost their header.
    Astray,
}

/// The frame region, its index and its free extents.
pub struct Frames<M: Memory> {
    region: Region<M>,
    index: StableBTreeMap<CopyKey, [u8; ENTRY_BYTES], Region<M>>,
    pub extents: Extents<M>,
}

impl<M: Memory + Clone> Frames<M> {
    pub fn new(regions: &Regions<M>) -> Self {
        Self {
            region: regions.get(region::FRAMES),
            index: StableBTreeMap::init(regions.get(region::INDEX)),
            extents: Extents::new(regions.get(region::EXTENTS)),
        }
    }

    /// Return a user's copy of a frame.
    pub fn copy_of(&self, digest: &Digest, user: u32) -> Option<Entry> {
        self.index.get(&copy_key(digest, user)).map(Entry::decode)
    }

    /// List all copies of a frame, by user.
    pub fn copies(&self, digest: &Digest) -> Vec<(u32, Entry)> {
        let range = copy_key(digest, 0)..=copy_key(digest, u32::MAX);
        let rows = self.index.range(range);
        rows.map(|row| (split_copy(row.key()).1, Entry::decode(row.value()))).collect()
    }

    /// Return a copy of a frame with its user, one that is not known to be damaged if there is one.
    pub fn find(&self, digest: &Digest) -> Option<(u32, Entry)> {
        let copies = self.copies(digest);
        copies.iter().find(|(_, entry)| !entry.damaged).or(copies.first()).copied()
    }

    /// Return a copy of a frame, one that is not known to be damaged if there is one.
    pub fn get(&self, digest: &Digest) -> Option<Entry> {
        self.find(digest).map(|(_, entry)| entry)
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

    /// Store a user's copy of a frame under a lease, in room that was found for it.
    ///
    /// One walk through the index finds out whether it is there and enters it, for a walk costs as
    /// much as hashing a kilobyte. If it is there, nothing else has happened, and its entry is
    /// returned: the caller brings it back by `restore`.
    pub fn add(
        &mut self,
        (digest, user): (&Digest, u32),
        frame: &mut Arriving<'_>,
        room: Room,
        (lease, now_ns): (u64, u64),
        header: &mut Header,
    ) -> Option<Entry> {
        let length = frame.length() as u32;
        let start = room.start();
        let entry = Entry { start, touched_ns: now_ns, length, damaged: false, lease };
        if let Some(old) = self.index.insert(copy_key(digest, user), entry.encode()) {
            return Some(Entry::decode(old));
        }
        self.extents.take(room, length.into(), header);
        self.grow(header.frames_end.div_ceil(PAGE_BYTES));
        frame.write(&self.region, start);
        header.frames += 1;
        header.frame_bytes += u64::from(length);
        None
    }

    /// Make a stored copy equal to the arriving bytes, if its entry leads to it.
    pub fn heal(&mut self, entry: Entry, frame: &mut Arriving<'_>) -> Healed {
        if entry.length as usize != frame.length() || !self.is_inside(entry) {
            return Healed::Astray;
        }
        let mut stored = vec![0; PIECE_BYTES.min(frame.length())];
        let (mut differs, mut begins_alike) = (false, true);
        frame.each_piece(|offset, piece| {
            let mut at = entry.start + offset as u64;
            for expected in piece.chunks(PIECE_BYTES) {
                let stored = &mut stored[..expected.len()];
                self.region.read(at, stored);
                if at == entry.start {
                    begins_alike = stored.get(..HEADER_BYTES) == expected.get(..HEADER_BYTES);
                }
                differs |= differ(stored, expected);
                at += expected.len() as u64;
            }
        });
        if !differs {
            return Healed::Whole;
        }
        if !begins_alike {
            return Healed::Astray;
        }
        frame.write(&self.region, entry.start);
        Healed::Rewritten
    }

    /// Store a copy anew whose entry leads astray; return the entry that leads to it.
    ///
    /// What the old entry covers is not given back: it may be another frame's.
    pub fn relocate(
        &mut self,
        old: Entry,
        frame: &mut Arriving<'_>,
        room: Room,
        header: &mut Header,
    ) -> Entry {
        let length = frame.length() as u32;
        let start = room.start();
        self.extents.take(room, length.into(), header);
        self.grow(header.frames_end.div_ceil(PAGE_BYTES));
        frame.write(&self.region, start);
        let others = header.frame_bytes.saturating_sub(old.length.into());
        header.frame_bytes = others + u64::from(length);
        Entry { start, length, ..old }
    }

    /// Tell whether the bytes of an entry lie in the region; a damaged entry may claim others.
    fn is_inside(&self, entry: Entry) -> bool {
        let end = entry.start.checked_add(entry.length.into());
        let end = end.filter(|_| entry.length as usize <= MAX_FRAME_BYTES);
        end.is_some_and(|end| end <= self.region.size() * PAGE_BYTES)
    }

    /// Grow the region up to the end of a frame in a room, and return it with where that begins.
    pub fn prepare(&self, room: Room, bytes: u64) -> (&Region<M>, u64) {
        self.grow((room.start() + bytes).div_ceil(PAGE_BYTES));
        (&self.region, room.start())
    }

    /// Bring back an entry that `add` has overwritten.
    pub fn restore(&mut self, digest: &Digest, user: u32, entry: Entry) {
        self.index.insert(copy_key(digest, user), entry.encode());
    }

    /// Note a put, a pin or what a scrub found.
    pub fn update(
        &mut self,
        (digest, user): (&Digest, u32),
        old: Entry,
        new: Entry,
        header: &mut Header,
    ) {
        header.damaged += u64::from(new.damaged);
        header.damaged = header.damaged.saturating_sub(old.damaged.into());
        self.index.insert(copy_key(digest, user), new.encode());
    }

    /// Free a copy.
    pub fn remove(&mut self, (digest, user): (&Digest, u32), entry: Entry, header: &mut Header) {
        self.index.remove(&copy_key(digest, user));
        // A damaged frame without its header may be a damaged entry, which leads into other frames.
        if !entry.damaged || self.header(entry).is_some() {
            self.extents.give_back(entry.start, entry.length.into(), header);
        }
        header.frames -= 1;
        header.frame_bytes = header.frame_bytes.saturating_sub(entry.length.into());
        header.damaged = header.damaged.saturating_sub(entry.damaged.into());
    }

    /// Walk all copies behind those of a digest: digest, user, entry.
    pub fn walk(&self, after: Option<Digest>) -> impl Iterator<Item = (Digest, u32, Entry)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let start = after.map_or(Unbounded, |digest| Excluded(copy_key(&digest, u32::MAX)));
        self.index.range((start, Unbounded)).map(|row| {
            let (digest, user) = split_copy(row.key());
            (digest, user, Entry::decode(row.value()))
        })
    }

    /// Read a stored frame as it is.
    pub fn read(&self, entry: Entry) -> Vec<u8> {
        self.read_part(entry, 0, entry.length as usize)
    }

    /// Tell where the bytes of a frame lie.
    pub fn stored(&self, entry: Entry) -> Stored {
        match self.is_inside(entry) {
            true => Stored { start: entry.start, length: entry.length as usize },
            false => Stored { start: 0, length: 0 },
        }
    }

    /// Copy a part of a stored frame; it must lie inside.
    pub fn read_stored(&self, frame: Stored, offset: usize, into: &mut [u8]) {
        assert!(offset + into.len() <= frame.length, "a part lies inside its frame");
        self.region.read(frame.start + offset as u64, into);
    }

    /// Read some of the bytes of a stored frame; none if its entry is damaged and leads outside.
    pub fn read_part(&self, entry: Entry, offset: u64, length: usize) -> Vec<u8> {
        if !self.is_inside(entry) {
            return Vec::new();
        }
        let mut bytes = vec![0; length];
        self.region.read(entry.start + offset, &mut bytes);
        bytes
    }

    /// Read what a stored frame says of itself; nothing if its header is damaged.
    pub fn header(&self, entry: Entry) -> Option<FrameHeader> {
        if !self.is_inside(entry) {
            return None;
        }
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

fn copy_key(digest: &Digest, user: u32) -> CopyKey {
    Key::join([digest, &user.to_be_bytes(), &[], &[]])
}

fn split_copy(key: &CopyKey) -> (Digest, u32) {
    (key.digest_at(0), key.u32_at(32))
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

#[cfg(feature = "outer")]
impl<M: Memory + Clone> Frames<M> {
    /// Read a stored frame to the front of `buffer`, which grows if it must and is not cleared, and
    /// return its length; nothing if its entry is damaged and leads outside.
    pub fn read_into(&self, entry: Entry, buffer: &mut Vec<u8>) -> Option<usize> {
        if !self.is_inside(entry) {
            return None;
        }
        let length = entry.length as usize;
        buffer.resize(buffer.len().max(length), 0);
        self.region.read(entry.start, &mut buffer[..length]);
        Some(length)
    }
}
