//! Frames as they arrive: read in pieces from the message that brings them.
//!
//! A message pays for each 64 KiB page of the heap that it touches. The frames of a message are
//! therefore never in the heap together: they pass through one buffer of two pages, which is the
//! same in every message. Small frames fill it side by side; a larger one goes through piece by
//! piece, and is written to its room while its digest is computed.

use datanode_codec::digest::{self, PIECE_BYTES};
use datanode_codec::frame::{HEADER_BYTES, parse_header};
use ic_stable_structures::Memory;

use crate::Digest;
use crate::regions::{PAGE_BYTES, Region};

/// The frames of a message.
pub trait Incoming {
    /// Return how many there are.
    fn count(&self) -> usize;
    /// Return the length of one, bytes.
    fn length(&self, index: usize) -> usize;
    /// Copy a part of one; it must lie inside.
    fn read(&self, index: usize, offset: usize, into: &mut [u8]);
}

impl Incoming for Vec<&[u8]> {
    fn count(&self) -> usize {
        self.len()
    }

    fn length(&self, index: usize) -> usize {
        self[index].len()
    }

    fn read(&self, index: usize, offset: usize, into: &mut [u8]) {
        into.copy_from_slice(&self[index][offset..offset + into.len()]);
    }
}

/// The buffer; none while a message uses it.
#[derive(Default)]
pub struct Buffer(Vec<u8>);

impl Buffer {
    pub fn new() -> Self {
        Self(vec![0; PIECE_BYTES + PAGE_BYTES as usize])
    }

    fn pages(&mut self) -> &mut [u8] {
        let before = (self.0.as_ptr() as usize).wrapping_neg() % PAGE_BYTES as usize;
        &mut self.0[before..before + PIECE_BYTES]
    }

    /// Return its first page.
    pub fn page(&mut self) -> &mut [u8] {
        &mut self.pages()[..PAGE_BYTES as usize]
    }

    /// Fill the buffer with whole frames from an index on; none if the first does not fit.
    pub fn fill<'a>(&'a mut self, incoming: &dyn Incoming, first: usize) -> Vec<&'a [u8]> {
        let mut rest = self.pages();
        let mut found = Vec::new();
        for index in first..incoming.count() {
            let length = incoming.length(index);
            let Some((frame, after)) = core::mem::take(&mut rest).split_at_mut_checked(length)
            else {
                break;
            };
            incoming.read(index, 0, frame);
            found.push(&*frame);
            rest = after;
        }
        found
    }

    /// Pass a frame through the buffer, and show each piece with its offset.
    fn pass(&mut self, frame: (&dyn Incoming, usize), mut show: impl FnMut(usize, &[u8])) {
        let (incoming, index) = frame;
        let pages = self.pages();
        let length = incoming.length(index);
        for offset in (0..length).step_by(PIECE_BYTES) {
            let piece = &mut pages[..PIECE_BYTES.min(length - offset)];
            incoming.read(index, offset, piece);
            show(offset, piece);
        }
    }
}

/// Tell what is wrong with the header of a frame that is longer than one, if anything is.
pub fn fault_of((incoming, index): (&dyn Incoming, usize)) -> Option<String> {
    let mut header = [0; HEADER_BYTES];
    incoming.read(index, 0, &mut header);
    parse_header(&header, incoming.length(index)).err().map(|error| error.to_string())
}

/// A frame that has arrived.
pub enum Arriving<'a> {
    /// In the buffer as a whole.
    Whole(&'a [u8]),
    /// In the message.
    Pieces {
        incoming: &'a dyn Incoming,
        index: usize,
        buffer: &'a mut Buffer,
        /// Where it has been written to, in the frame region.
        at: Option<u64>,
    },
}

impl<'a> Arriving<'a> {
    /// Pass a large frame through the buffer: return its digest and the frame, which is written to
    /// a room if there is one.
    ///
    /// What is written there counts for nothing until the room is taken.
    pub fn through<M: Memory>(
        buffer: &'a mut Buffer,
        (incoming, index): (&'a dyn Incoming, usize),
        room: Option<(&Region<M>, u64)>,
    ) -> (Digest, Self) {
        let mut hasher = digest::Pieces::default();
        buffer.pass((incoming, index), |offset, piece| {
            hasher.add(piece);
            if let Some((region, start)) = room {
                region.write(start + offset as u64, piece);
            }
        });
        let at = room.map(|(_, start)| start);
        (hasher.finish(), Self::Pieces { incoming, index, buffer, at })
    }

    /// Return its length, bytes.
    pub fn length(&self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.len(),
            Self::Pieces { incoming, index, .. } => incoming.length(*index),
        }
    }

    /// Write it to the frame region, unless it is there.
    pub fn write<M: Memory>(&mut self, region: &Region<M>, start: u64) {
        match self {
            Self::Whole(bytes) => region.write(start, bytes),
            Self::Pieces { at, .. } if *at == Some(start) => (),
            Self::Pieces { incoming, index, buffer, at } => {
                buffer.pass((*incoming, *index), |offset, piece| {
                    region.write(start + offset as u64, piece);
                });
                *at = Some(start);
            }
        }
    }

    /// Show it piece by piece, each with its offset.
    pub fn each_piece(&mut self, mut show: impl FnMut(usize, &[u8])) {
        match self {
            Self::Whole(bytes) => show(0, bytes),
            Self::Pieces { incoming, index, buffer, .. } => buffer.pass((*incoming, *index), show),
        }
    }
}
