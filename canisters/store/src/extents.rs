//! Room in the frame region: free extents, joined with their neighbours, the best fit first.
//!
//! An extent starts at a multiple of 64 bytes and is as many long. Whole pages of 4 KiB would
//! waste three quarters of every layer norm of 1 KiB and dirty a page (1,000 instructions) for
//! each; packed, 256 of them dirty 64 pages, and a large frame at most one page more than it must.
//!
//! The free list holds each extent twice: `0 | start | length` finds neighbours,
//! `1 | length | start` finds the best fit. What lies behind the end of all frames is free too and
//! in no list.

use ic_stable_structures::{Memory, StableBTreeMap};

use crate::header::Header;
use crate::regions::Region;

/// What starts and lengths are multiples of, bytes.
pub const ALIGN_BYTES: u64 = 64;

const BY_START: u8 = 0;
const BY_LENGTH: u8 = 1;
const KEY_BYTES: usize = 17;

type Key = [u8; KEY_BYTES];

/// The free extents.
pub struct Extents<M: Memory>(StableBTreeMap<Key, (), Region<M>>);

/// Where a frame may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Into a free extent of this length.
    Extent { start: u64, length: u64 },
    /// Behind the last frame.
    Tail { start: u64 },
}

impl Room {
    /// Return where a frame starts in it.
    pub fn start(self) -> u64 {
        match self {
            Self::Extent { start, .. } | Self::Tail { start } => start,
        }
    }
}

impl<M: Memory> Extents<M> {
    pub fn new(region: Region<M>) -> Self {
        Self(StableBTreeMap::init(region))
    }

    /// Find room for so many bytes without taking it.
    pub fn find(&self, bytes: u64, header: &Header) -> Room {
        let best = if self.0.is_empty() {
            None
        } else {
            self.0.keys_range(key(BY_LENGTH, round(bytes), 0)..).next()
        };
        match best.map(|key| parse(&key)) {
            Some((length, start)) => Room::Extent { start, length },
            None => Room::Tail { start: header.frames_end },
        }
    }

    /// Take room that was found for so many bytes.
    pub fn take(&mut self, room: Room, bytes: u64, header: &mut Header) {
        let taken = round(bytes);
        match room {
            Room::Tail { start } => header.frames_end = start + taken,
            Room::Extent { start, length } => {
                self.forget(start, length);
                if length > taken {
                    self.remember(start + taken, length - taken);
                }
                header.free_bytes -= taken;
            }
        }
    }

    /// Give back the room of so many bytes.
    pub fn give_back(&mut self, start: u64, bytes: u64, header: &mut Header) {
        let mut length = round(bytes);
        let mut start = start;
        header.free_bytes += length;
        if let Some((next, next_length)) = self.at_or_after(start + length)
            && next == start + length
        {
            self.forget(next, next_length);
            length += next_length;
        }
        if let Some((before, before_length)) = self.before(start)
            && before + before_length == start
        {
            self.forget(before, before_length);
            start = before;
            length += before_length;
        }
        if start + length == header.frames_end {
            header.frames_end = start;
            header.free_bytes -= length;
        } else {
            self.remember(start, length);
        }
    }

    fn remember(&mut self, start: u64, length: u64) {
        self.0.insert(key(BY_START, start, length), ());
        self.0.insert(key(BY_LENGTH, length, start), ());
    }

    fn forget(&mut self, start: u64, length: u64) {
        self.0.remove(&key(BY_START, start, length));
        self.0.remove(&key(BY_LENGTH, length, start));
    }

    fn at_or_after(&self, start: u64) -> Option<(u64, u64)> {
        let range = key(BY_START, start, 0)..key(BY_LENGTH, 0, 0);
        self.0.keys_range(range).next().map(|key| parse(&key))
    }

    fn before(&self, start: u64) -> Option<(u64, u64)> {
        let range = key(BY_START, 0, 0)..key(BY_START, start, 0);
        self.0.keys_range(range).next_back().map(|key| parse(&key))
    }

    /// List the free extents by start.
    #[cfg(test)]
    pub fn list(&self) -> Vec<(u64, u64)> {
        self.0.keys_range(..key(BY_LENGTH, 0, 0)).map(|key| parse(&key)).collect()
    }
}

/// Return a length rounded up to whole units.
pub fn round(bytes: u64) -> u64 {
    bytes.next_multiple_of(ALIGN_BYTES)
}

fn key(order: u8, first: u64, second: u64) -> Key {
    let mut key = [order; KEY_BYTES];
    key[1..9].copy_from_slice(&first.to_be_bytes());
    key[9..].copy_from_slice(&second.to_be_bytes());
    key
}

fn parse(key: &Key) -> (u64, u64) {
    let number = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&key[at..at + 8]);
        u64::from_be_bytes(bytes)
    };
    (number(1), number(9))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regions::{Regions, region};
    use ic_stable_structures::VectorMemory;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn empty() -> (Extents<VectorMemory>, Header) {
        let regions = Regions::new(VectorMemory::default());
        (Extents::new(regions.get(region::EXTENTS)), Header::new([0; 32]))
    }

    fn take(extents: &mut Extents<VectorMemory>, header: &mut Header, bytes: u64) -> u64 {
        let room = extents.find(bytes, header);
        extents.take(room, bytes, header);
        room.start()
    }

    #[test]
    fn the_best_fit_is_taken_first() {
        let (mut extents, mut header) = empty();
        let starts: Vec<u64> = [640, 64, 128, 64, 320, 64]
            .map(|bytes| take(&mut extents, &mut header, bytes))
            .to_vec();
        for (index, bytes) in [(0, 640), (2, 128), (4, 320)] {
            extents.give_back(starts[index], bytes, &mut header);
        }
        assert_eq!(take(&mut extents, &mut header, 65), starts[2]);
        assert_eq!(take(&mut extents, &mut header, 200), starts[4]);
        assert_eq!(take(&mut extents, &mut header, 64), starts[4] + 256);
        assert_eq!(extents.list(), [(0, 640)]);
    }

    #[test]
    fn neighbours_are_joined_and_the_end_moves_back() {
        let (mut extents, mut header) = empty();
        let starts = [100, 200, 300, 400].map(|bytes| take(&mut extents, &mut header, bytes));
        assert_eq!(header.frames_end, 128 + 256 + 320 + 448);
        extents.give_back(starts[0], 100, &mut header);
        extents.give_back(starts[2], 300, &mut header);
        assert_eq!(extents.list(), [(0, 128), (384, 320)]);
        extents.give_back(starts[1], 200, &mut header);
        assert_eq!(extents.list(), [(0, 704)]);
        assert_eq!(header.free_bytes, 704);
        extents.give_back(starts[3], 400, &mut header);
        assert_eq!((extents.list(), header.frames_end, header.free_bytes), (vec![], 0, 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// No two extents overlap, no two free ones touch, and taken and free tile the region.
        #[test]
        fn taken_and_free_extents_tile_the_region(
            steps in prop::collection::vec((any::<bool>(), 1u64..5_000, any::<prop::sample::Index>()), 1..120)
        ) {
            let (mut extents, mut header) = empty();
            let mut taken: BTreeMap<u64, u64> = BTreeMap::new();
            for (give, bytes, which) in steps {
                if give && !taken.is_empty() {
                    let (&start, &bytes) = taken.iter().nth(which.index(taken.len())).unwrap();
                    taken.remove(&start);
                    extents.give_back(start, bytes, &mut header);
                } else {
                    let start = take(&mut extents, &mut header, bytes);
                    prop_assert!(taken.insert(start, bytes).is_none());
                }
                let free = extents.list();
                prop_assert!(free.windows(2).all(|pair| pair[0].0 + pair[0].1 < pair[1].0));
                prop_assert_eq!(header.free_bytes, free.iter().map(|(_, length)| length).sum::<u64>());
                let mut all: Vec<(u64, u64)> = free;
                all.extend(taken.iter().map(|(start, bytes)| (*start, round(*bytes))));
                all.sort_unstable();
                let mut end = 0;
                for (start, length) in all {
                    prop_assert_eq!(start, end);
                    end = start + length;
                }
                prop_assert_eq!(end, header.frames_end);
            }
        }
    }
}
