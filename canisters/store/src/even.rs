//! A memory of which look-ups read the same number of pages whatever they find.
//!
//! The first access of a message to a page costs 80,000 instructions, as much as all else that a
//! look-up does with a node of a tree. How many pages it needs tells what lies there: the rows of a
//! frame that many models share fill nodes of their own, and nodes that one seal filled lie side by
//! side. So each look-up reads further pages, until the message has read as many as were due.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ic_stable_structures::Memory;

use crate::regions::PAGE_BYTES;

/// A memory that counts the pages that are read of it. Its clones count together.
#[derive(Clone)]
pub struct Even<M> {
    memory: M,
    /// The page that was read last: most reads are of the same node.
    last: Rc<Cell<Option<u64>>>,
    pages: Rc<RefCell<Pages>>,
}

/// The pages that the look-ups of a message have read.
#[derive(Default)]
struct Pages {
    /// A bit a page.
    read: Vec<u64>,
    count: u64,
    /// How many are due by the look-ups so far.
    due: u64,
    /// All pages before this one were read.
    next: u64,
}

impl Pages {
    fn note(&mut self, page: u64) {
        let (word, bit) = place(page);
        if word >= self.read.len() {
            self.read.resize(word + 1, 0);
        }
        self.count += u64::from(self.read[word] & bit == 0);
        self.read[word] |= bit;
    }

    /// Return the first page that was not read.
    fn unread(&mut self) -> u64 {
        let is_read = |page| {
            let (word, bit) = place(page);
            self.read.get(word).is_some_and(|word| word & bit != 0)
        };
        while is_read(self.next) {
            self.next += 1;
        }
        self.next
    }
}

/// Return the word and the bit in it that stand for a page.
fn place(page: u64) -> (usize, u64) {
    ((page / 64) as usize, 1 << (page % 64))
}

impl<M: Memory + Clone> Even<M> {
    pub fn new(memory: M) -> Self {
        Self { memory, last: Rc::default(), pages: Rc::default() }
    }

    /// Forget what was read: a message begins.
    pub fn begin(&self) {
        self.last.take();
        self.pages.take();
    }

    /// Look something up, and read pages until the look-ups of this message have read `pages` each,
    /// or all there are.
    pub fn look_up<T>(&self, pages: u64, look: impl FnOnce(Self) -> T) -> T {
        let found = look(self.clone());
        let counted = &mut *self.pages.borrow_mut();
        counted.due = self.size().min(counted.due + pages);
        while counted.count < counted.due {
            let page = counted.unread();
            self.memory.read(page * PAGE_BYTES, &mut [0]);
            counted.note(page);
        }
        found
    }
}

impl<M: Memory> Memory for Even<M> {
    fn size(&self) -> u64 {
        self.memory.size()
    }

    fn grow(&self, pages: u64) -> i64 {
        self.memory.grow(pages)
    }

    fn read(&self, offset: u64, to: &mut [u8]) {
        self.memory.read(offset, to);
        let end = offset + to.len() as u64;
        let (first, last) = (offset / PAGE_BYTES, end.saturating_sub(1) / PAGE_BYTES);
        if first != last || self.last.replace(Some(last)) != Some(last) {
            let mut pages = self.pages.borrow_mut();
            (first..=last).for_each(|page| pages.note(page));
        }
    }

    fn write(&self, offset: u64, from: &[u8]) {
        self.memory.write(offset, from);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;
    use std::rc::Rc;

    use ic_stable_structures::Memory;
    use proptest::prelude::*;

    use super::Even;
    use crate::regions::PAGE_BYTES;

    const SIZE: u64 = 200;

    /// A memory that tells which of its pages were read.
    #[derive(Clone, Default)]
    struct Watched(Rc<RefCell<BTreeSet<u64>>>);

    impl Memory for Watched {
        fn size(&self) -> u64 {
            SIZE
        }

        fn grow(&self, _: u64) -> i64 {
            -1
        }

        fn read(&self, offset: u64, to: &mut [u8]) {
            assert!(offset + to.len() as u64 <= SIZE * PAGE_BYTES);
            let last = (offset + to.len() as u64 - 1) / PAGE_BYTES;
            self.0.borrow_mut().extend(offset / PAGE_BYTES..=last);
        }

        fn write(&self, _: u64, _: &[u8]) {}
    }

    proptest! {
        #[test]
        fn look_ups_read_as_many_pages_whatever_they_read(
            messages in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(0..SIZE * PAGE_BYTES - 9, 0..8), 0..40),
                1..4,
            ),
        ) {
            let watched = Watched::default();
            let memory = Even::new(watched.clone());
            for look_ups in messages {
                memory.begin();
                watched.0.take();
                for (index, reads) in look_ups.iter().enumerate() {
                    // Nine bytes may lie on two pages.
                    memory.look_up(16, |memory| {
                        reads.iter().for_each(|offset| memory.read(*offset, &mut [0; 9]));
                    });
                    let due = (16 * (index as u64 + 1)).min(SIZE);
                    prop_assert_eq!(watched.0.borrow().len() as u64, due);
                }
            }
        }
    }
}
