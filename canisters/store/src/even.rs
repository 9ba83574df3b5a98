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

/// A memory whose pages are counted during look-ups. Its clones count together.
#[derive(Clone)]
pub struct Even<M> {
    memory: M,
    count: Rc<Count>,
}

/// The pages that look-ups of a message have read.
#[derive(Default)]
struct Count {
    looking: Cell<bool>,
    /// The page that was read last: most reads are of the same node.
    last: Cell<Option<u64>>,
    pages: RefCell<Pages>,
}

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
        let (word, bit) = ((page / 64) as usize, 1 << (page % 64));
        if word >= self.read.len() {
            self.read.resize(word + 1, 0);
        }
        self.count += u64::from(self.read[word] & bit == 0);
        self.read[word] |= bit;
    }

    /// Return the first page that was not read.
    fn unread(&mut self) -> u64 {
        let is_read = |page: u64| {
            self.read.get((page / 64) as usize).is_some_and(|word| word >> (page % 64) & 1 == 1)
        };
        while is_read(self.next) {
            self.next += 1;
        }
        self.next
    }
}

impl<M: Memory> Even<M> {
    pub fn new(memory: M) -> Self {
        Self { memory, count: Rc::default() }
    }

    /// Forget what was read: a message begins.
    pub fn begin(&self) {
        self.count.pages.take();
        self.count.last.take();
    }

    /// Look something up, and read pages until the look-ups of this message have read `pages` each,
    /// or all there are.
    pub fn look_up<T>(&self, pages: u64, look: impl FnOnce() -> T) -> T {
        self.count.looking.set(true);
        let found = look();
        self.count.looking.set(false);
        self.level(pages);
        found
    }

    fn level(&self, pages: u64) {
        let counted = &mut *self.count.pages.borrow_mut();
        counted.due = self.size().min(counted.due + pages);
        while counted.count < counted.due {
            let page = counted.unread();
            self.memory.read(page * PAGE_BYTES, &mut [0]);
            counted.note(page);
        }
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
        if self.count.looking.get() && !to.is_empty() {
            let (first, last) = (offset / PAGE_BYTES, (offset + to.len() as u64 - 1) / PAGE_BYTES);
            if self.count.last.replace(Some(last)) != Some(first) || first != last {
                let mut pages = self.count.pages.borrow_mut();
                (first..=last).for_each(|page| pages.note(page));
            }
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
            let clone = memory.clone();
            for look_ups in messages {
                memory.begin();
                watched.0.take();
                for (index, reads) in look_ups.iter().enumerate() {
                    // Nine bytes may lie on two pages.
                    let read = |offset: &u64| clone.read(*offset, &mut [0; 9]);
                    memory.look_up(16, || reads.iter().for_each(read));
                    let due = (16 * (index as u64 + 1)).min(SIZE);
                    prop_assert_eq!(watched.0.borrow().len() as u64, due);
                }
            }
        }
    }
}
