//! A binary trie of hashes: leaves by place, the hash of every fork kept.
//!
//! A fork stands at the first bit in which the places below it differ. The places are
//! pseudorandom, so that the depth is about the logarithm of the count; a change, like a witness,
//! costs as many hashes, and the root none. The same places give the same trie, in whatever order
//! they came.

use ic_certification::{HashTree, empty, fork, fork_hash, pruned};

use crate::Digest;

/// The trie.
#[derive(Default)]
pub struct Trie(Option<Node>);

enum Node {
    Leaf { place: Digest, hash: Digest },
    Fork { bit: usize, hash: Digest, halves: Box<[Node; 2]> },
}

impl Trie {
    /// Return the hash of all.
    pub fn hash(&self) -> Digest {
        self.0.as_ref().map_or_else(|| empty().digest(), Node::hash)
    }

    /// Put a leaf at a place, instead of the one that is there.
    pub fn insert(&mut self, place: Digest, hash: Digest) {
        let leaf = Node::Leaf { place, hash };
        self.0 = Some(match self.0.take() {
            None => leaf,
            Some(node) => {
                let bit = first_difference(&place, node.nearest(&place));
                node.insert(leaf, &place, bit)
            }
        });
    }

    /// Remove the leaf at a place, if there is one.
    pub fn remove(&mut self, place: &Digest) {
        self.0 = self.0.take().and_then(|node| node.remove(place));
    }

    /// Return a tree with the same hash that shows `shown` as the leaf at a place and prunes the
    /// others.
    pub fn witness(&self, place: &Digest, shown: HashTree) -> HashTree {
        self.0.as_ref().map_or_else(empty, |node| node.witness(place, shown))
    }
}

impl Node {
    fn hash(&self) -> Digest {
        match self {
            Self::Leaf { hash, .. } | Self::Fork { hash, .. } => *hash,
        }
    }

    /// Return the place of the leaf that a walk by the bits of `place` ends at.
    fn nearest(&self, place: &Digest) -> &Digest {
        match self {
            Self::Leaf { place, .. } => place,
            Self::Fork { bit, halves, .. } => halves[side(place, *bit)].nearest(place),
        }
    }

    /// Insert a leaf that differs from its nearest one at a bit first; at none: replace that one.
    fn insert(self, leaf: Self, place: &Digest, difference: Option<usize>) -> Self {
        match (self, difference) {
            (Self::Fork { bit, halves, .. }, difference)
                if difference.is_none_or(|difference| bit < difference) =>
            {
                let [left, right] = *halves;
                match side(place, bit) {
                    0 => Self::fork(bit, [left.insert(leaf, place, difference), right]),
                    _ => Self::fork(bit, [left, right.insert(leaf, place, difference)]),
                }
            }
            (_, None) => leaf,
            (node, Some(bit)) => {
                let halves = if side(place, bit) == 0 { [leaf, node] } else { [node, leaf] };
                Self::fork(bit, halves)
            }
        }
    }

    fn remove(self, place: &Digest) -> Option<Self> {
        match self {
            Self::Leaf { place: found, .. } if found == *place => None,
            Self::Leaf { .. } => Some(self),
            Self::Fork { bit, halves, .. } => {
                let [left, right] = *halves;
                let (kept, other) =
                    if side(place, bit) == 0 { (left, right) } else { (right, left) };
                Some(match kept.remove(place) {
                    None => other,
                    Some(kept) if side(place, bit) == 0 => Self::fork(bit, [kept, other]),
                    Some(kept) => Self::fork(bit, [other, kept]),
                })
            }
        }
    }

    fn fork(bit: usize, halves: [Self; 2]) -> Self {
        let hash = fork_hash(&halves[0].hash(), &halves[1].hash());
        Self::Fork { bit, hash, halves: Box::new(halves) }
    }

    fn witness(&self, place: &Digest, shown: HashTree) -> HashTree {
        match self {
            Self::Leaf { .. } => shown,
            Self::Fork { bit, halves, .. } => {
                let [left, right] = &**halves;
                match side(place, *bit) {
                    0 => fork(left.witness(place, shown), pruned(right.hash())),
                    _ => fork(pruned(left.hash()), right.witness(place, shown)),
                }
            }
        }
    }
}

fn side(place: &Digest, bit: usize) -> usize {
    usize::from(place[bit / 8] >> (7 - bit % 8) & 1)
}

fn first_difference(one: &Digest, other: &Digest) -> Option<usize> {
    (0..8 * one.len()).find(|bit| side(one, *bit) != side(other, *bit))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use datanode_codec::digest::hash;
    use ic_certification::{labeled, leaf};
    use proptest::prelude::*;

    /// Hash the places from a bit on, by the definition.
    fn expected(leaves: &[(Digest, Digest)], bit: usize) -> Digest {
        match leaves {
            [] => empty().digest(),
            [(_, hash)] => *hash,
            _ => {
                let (left, right) =
                    leaves.split_at(leaves.partition_point(|(place, _)| side(place, bit) == 0));
                match (left, right) {
                    ([], rest) | (rest, []) => expected(rest, bit + 1),
                    _ => fork_hash(&expected(left, bit + 1), &expected(right, bit + 1)),
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Few different bytes, so that places are near each other and come twice.
        #[test]
        fn the_trie_is_that_of_its_leaves(
            steps in prop::collection::vec((0u8..4, 0u8..8, any::<bool>()), 1..60)
        ) {
            let mut trie = Trie::default();
            let mut leaves = BTreeMap::new();
            for (count, (first, last, remove)) in steps.into_iter().enumerate() {
                let mut place = [0; 32];
                (place[0], place[31]) = (first, last);
                if remove {
                    trie.remove(&place);
                    leaves.remove(&place);
                } else {
                    let tree = labeled("x", leaf(hash(&[count as u8])));
                    trie.insert(place, tree.digest());
                    leaves.insert(place, tree.digest());
                    prop_assert_eq!(trie.witness(&place, tree).digest(), trie.hash());
                }
                let all: Vec<_> = leaves.iter().map(|(place, hash)| (*place, *hash)).collect();
                prop_assert_eq!(trie.hash(), expected(&all, 0));
            }
        }
    }
}
