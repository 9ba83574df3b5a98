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

    /// Take room that was found for so many bytes; return where it starts.
    pub fn take(&mut self, room: Room, bytes: u64, header: &mut Header) -> u64 {
        let taken = round(bytes);
        match room {
            Room::Tail { start } => {
                header.frames_end = start + taken;
                start
            }
            Room::Extent { start, length } => {
                self.forget(start, length);
                if length > taken {
                    self.remember(start + taken, length - taken);
                }
                header.free_bytes -= taken;
                start
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
