//! Byte-pair merges: the pair of lowest rank first, of equals the leftmost.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Default)]
struct Merge {
    left: u32,
    right: u32,
    rank: u32,
    token: u32,
}

/// The merges of a tokenizer.
#[derive(Default)]
pub(super) struct Merges {
    /// In the order of left tokens, then of right tokens.
    table: Vec<Merge>,
    /// For each left token, how many merges have a lower one; and how many there are.
    starts: Vec<u32>,
}

impl Merges {
    /// Add the merge of the next rank.
    pub(super) fn add(&mut self, left: u32, right: u32, token: u32) {
        let rank = self.table.len() as u32;
        self.table.push(Merge { left, right, rank, token });
    }

    /// Prepare for searches after the last merge was added. Of two merges of a pair the later
    /// holds.
    pub(super) fn finish(&mut self) {
        let lefts = self.table.iter().map(|merge| merge.left as usize + 1).max().unwrap_or(0);
        self.starts = vec![0; lefts + 1];
        for merge in &self.table {
            self.starts[merge.left as usize + 1] += 1;
        }
        for left in 0..lefts {
            self.starts[left + 1] += self.starts[left];
        }
        let (mut next, mut sorted) =
            (self.starts.clone(), vec![Merge::default(); self.table.len()]);
        for merge in &self.table {
            let place = &mut next[merge.left as usize];
            sorted[*place as usize] = *merge;
            *place += 1;
        }
        for bucket in sorted.chunk_by_mut(|a, b| a.left == b.left) {
            // A search finds the first of several merges of a pair: the latest.
            bucket.sort_unstable_by_key(|merge| (merge.right, Reverse(merge.rank)));
        }
        self.table = sorted;
    }

    fn find(&self, left: u32, right: u32) -> Option<&Merge> {
        let from = *self.starts.get(left as usize)? as usize;
        let bucket = self.table.get(from..*self.starts.get(left as usize + 1)? as usize)?;
        let found = bucket.partition_point(|merge| merge.right < right);
        bucket.get(found).filter(|merge| merge.right == right)
    }
}

#[derive(Clone, Copy)]
struct Symbol {
    /// `NONE` once it was merged into the one before it.
    token: u32,
    previous: u32,
    next: u32,
}

/// Merges one word; its buffers are kept to be used again.
#[derive(Default)]
pub(super) struct Merger {
    symbols: Vec<Symbol>,
    /// Rank, position of the left symbol, token of the merge.
    queue: BinaryHeap<Reverse<(u32, u32, u32)>>,
}

impl Merger {
    /// Add the next symbol of a word.
    pub(super) fn push(&mut self, token: u32) {
        let position = self.symbols.len() as u32;
        if let Some(last) = self.symbols.last_mut() {
            last.next = position;
        }
        let previous = position.checked_sub(1).unwrap_or(NONE);
        self.symbols.push(Symbol { token, previous, next: NONE });
    }

    /// Merge the word and append its tokens; takes n log n steps for n symbols.
    pub(super) fn finish(&mut self, merges: &Merges, to: &mut Vec<u32>) {
        for position in 1..self.symbols.len() {
            self.enqueue(merges, position as u32 - 1);
        }
        while let Some(Reverse((_, position, token))) = self.queue.pop() {
            self.merge(merges, position, token);
        }
        to.extend(self.symbols.drain(..).map(|each| each.token).filter(|&token| token != NONE));
    }

    fn enqueue(&mut self, merges: &Merges, position: u32) {
        let symbol = self.symbols[position as usize];
        if symbol.next == NONE {
            return;
        }
        let right = self.symbols[symbol.next as usize].token;
        if let Some(merge) = merges.find(symbol.token, right) {
            self.queue.push(Reverse((merge.rank, position, merge.token)));
        }
    }

    fn merge(&mut self, merges: &Merges, position: u32, token: u32) {
        let symbol = self.symbols[position as usize];
        if symbol.token == NONE || symbol.next == NONE {
            return;
        }
        let right = self.symbols[symbol.next as usize];
        // The pair may have changed since it was queued.
        if merges.find(symbol.token, right.token).is_none_or(|merge| merge.token != token) {
            return;
        }
        self.symbols[symbol.next as usize].token = NONE;
        self.symbols[position as usize] = Symbol { token, next: right.next, ..symbol };
        if right.next != NONE {
            self.symbols[right.next as usize].previous = position;
        }
        self.enqueue(merges, position);
        if symbol.previous != NONE {
            self.enqueue(merges, symbol.previous);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Merger, Merges};
    use proptest::prelude::*;

    fn merged(merges: &Merges, symbols: &[u32]) -> Vec<u32> {
        let (mut merger, mut found) = (Merger::default(), Vec::new());
        symbols.iter().for_each(|&symbol| merger.push(symbol));
        merger.finish(merges, &mut found);
        found
    }

    /// The definition: look for the best pair, merge it, begin again.
    fn merged_slowly(rules: &[(u32, u32)], symbols: &[u32]) -> Vec<u32> {
        let mut word = symbols.to_vec();
        let rank = |pair: &[u32]| rules.iter().position(|rule| [rule.0, rule.1] == *pair);
        while let Some((rank, at)) =
            word.windows(2).enumerate().filter_map(|(at, pair)| Some((rank(pair)?, at))).min()
        {
            word[at] = 10 + rank as u32;
            word.remove(at + 1);
        }
        word
    }

    proptest! {
        #[test]
        fn merges_by_rank_from_the_left(
            rules in prop::collection::btree_set((0..14_u32, 0..14_u32), 0..12),
            order in any::<u64>(),
            symbols in prop::collection::vec(0..4_u32, 0..40),
        ) {
            let mut rules: Vec<_> = rules.into_iter().collect();
            if !rules.is_empty() {
                let turn = order as usize % rules.len();
                rules.rotate_left(turn);
            }
            let mut merges = Merges::default();
            for (rank, &(left, right)) in rules.iter().enumerate() {
                merges.add(left, right, 10 + rank as u32);
            }
            merges.finish();
            prop_assert_eq!(merged(&merges, &symbols), merged_slowly(&rules, &symbols));
        }
    }

    #[test]
    fn long_words_take_few_steps() {
        let mut merges = Merges::default();
        merges.add(0, 0, 1);
        merges.add(1, 1, 2);
        merges.finish();
        assert_eq!(merged(&merges, &[0; 400_000]), [2; 100_000]);
    }
}
