//! A memory that keeps only what was written, may refuse to grow, and whose bits can be flipped.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use ic_stable_structures::Memory;

const PAGE: u64 = 65_536;
const BLOCK: u64 = 4_096;

#[derive(Default)]
struct Inner {
    pages: u64,
    limit_pages: Option<u64>,
    blocks: BTreeMap<u64, Box<[u8; BLOCK as usize]>>,
    writes: u64,
    reads: Cell<u64>,
    touched: RefCell<BTreeSet<u64>>,
}

/// Shared by its clones, as stable memory is.
#[derive(Clone, Default)]
pub struct TestMemory(Rc<RefCell<Inner>>);

impl TestMemory {
    /// Refuse to grow beyond the present size.
    pub fn refuse_growth(&self) {
        let mut inner = self.0.borrow_mut();
        inner.limit_pages = Some(inner.pages);
    }

    pub fn allow_growth(&self) {
        self.0.borrow_mut().limit_pages = None;
    }

    pub fn set_pages(&self, pages: u64) {
        self.0.borrow_mut().pages = pages;
    }

    /// Return how often it was written to.
    pub fn writes(&self) -> u64 {
        self.0.borrow().writes
    }

    /// Return how often it was read from or written to.
    pub fn accesses(&self) -> u64 {
        let inner = self.0.borrow();
        inner.reads.get() + inner.writes
    }

    /// Return the count of pages that were read or written since the last time.
    pub fn take_touched(&self) -> usize {
        self.0.borrow().touched.take().len()
    }

    /// Return a copy that shares nothing.
    pub fn snapshot(&self) -> Self {
        let inner = self.0.borrow();
        let (blocks, reads) = (inner.blocks.clone(), inner.reads.clone());
        let copy = Inner { blocks, reads, touched: RefCell::default(), ..*inner };
        Self(Rc::new(RefCell::new(copy)))
    }

    pub fn same(&self, other: &Self) -> bool {
        self.lines() == other.lines() && self.size() == other.size()
    }

    pub fn flip(&self, at: u64) {
        self.xor(at, 1);
    }

    pub fn xor(&self, at: u64, by: u8) {
        let mut byte = [0];
        self.read(at, &mut byte);
        self.write(at, &[byte[0] ^ by]);
    }

    /// Find all places where some bytes stand, wherever they begin.
    pub fn find_all(&self, needle: &[u8]) -> Vec<u64> {
        let starts: Vec<u64> = self.0.borrow().blocks.keys().map(|block| block * BLOCK).collect();
        let end = self.size() * PAGE;
        let mut found = Vec::new();
        for start in starts {
            let mut bytes =
                vec![0; (BLOCK as usize + needle.len() - 1).min((end - start) as usize)];
            self.read(start, &mut bytes);
            let places = bytes.windows(needle.len()).enumerate();
            found.extend(places.filter(|(_, at)| *at == needle).map(|(at, _)| start + at as u64));
        }
        found
    }

    pub fn find(&self, needle: &[u8]) -> Option<u64> {
        let starts: Vec<u64> = self.0.borrow().blocks.keys().map(|block| block * BLOCK).collect();
        let is_at = |at, needle: &[u8]| {
            let mut found = vec![0; needle.len()];
            self.read(at, &mut found);
            found == needle
        };
        let lines = starts.iter().flat_map(|start| (*start..start + BLOCK).step_by(64));
        let first = &needle[..needle.len().min(64)];
        lines.into_iter().find(|at| is_at(*at, first) && is_at(*at, needle))
    }

    /// List the 64-byte lines that are not zero.
    pub fn lines(&self) -> Vec<(u64, [u8; 64])> {
        let inner = self.0.borrow();
        let lines = inner.blocks.iter().flat_map(|(block, bytes)| {
            bytes
                .as_chunks::<64>()
                .0
                .iter()
                .enumerate()
                .map(move |(index, line)| (block * BLOCK + index as u64 * 64, *line))
        });
        lines.filter(|(_, line)| *line != [0; 64]).collect()
    }

    /// Walk the pieces of a range that lie in one block each: (block, offset in it, range in the buffer).
    fn pieces(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
        let mut done = 0;
        std::iter::from_fn(move || {
            if done == length {
                return None;
            }
            let at = offset + done as u64;
            let within = (at % BLOCK) as usize;
            let piece = (BLOCK as usize - within).min(length - done);
            done += piece;
            Some((at / BLOCK, within, done - piece, piece))
        })
    }
}

impl Memory for TestMemory {
    fn size(&self) -> u64 {
        self.0.borrow().pages
    }

    fn grow(&self, pages: u64) -> i64 {
        let mut inner = self.0.borrow_mut();
        if inner.limit_pages.is_some_and(|limit| inner.pages + pages > limit) {
            return -1;
        }
        inner.pages += pages;
        (inner.pages - pages) as i64
    }

    fn read(&self, offset: u64, dst: &mut [u8]) {
        let inner = self.0.borrow();
        inner.reads.set(inner.reads.get() + 1);
        assert!(offset + dst.len() as u64 <= inner.pages * PAGE, "read out of bounds");
        inner.touched.borrow_mut().extend(pages(offset, dst.len()));
        for (block, within, at, length) in Self::pieces(offset, dst.len()) {
            let piece = &mut dst[at..at + length];
            match inner.blocks.get(&block) {
                Some(bytes) => piece.copy_from_slice(&bytes[within..within + length]),
                None => piece.fill(0),
            }
        }
    }

    fn write(&self, offset: u64, src: &[u8]) {
        let mut inner = self.0.borrow_mut();
        assert!(offset + src.len() as u64 <= inner.pages * PAGE, "write out of bounds");
        inner.writes += 1;
        inner.touched.borrow_mut().extend(pages(offset, src.len()));
        for (block, within, at, length) in Self::pieces(offset, src.len()) {
            let bytes = inner.blocks.entry(block).or_insert_with(|| Box::new([0; BLOCK as usize]));
            bytes[within..within + length].copy_from_slice(&src[at..at + length]);
        }
    }
}

fn pages(offset: u64, length: usize) -> std::ops::Range<u64> {
    offset / PAGE..(offset + length as u64).div_ceil(PAGE)
}
