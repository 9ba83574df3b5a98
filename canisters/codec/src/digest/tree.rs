//! The hash trees of BLAKE3 over inputs that are held in memory as a whole, side by side.
//!
//! Level by level, of all trees at once: the chaining values of the chunks, four at a time; then of
//! the parents, four at a time; a node without a neighbour goes up as it is. That is BLAKE3's tree,
//! whose left subtrees are the largest full ones. What a tree leaves over of fours shares the lanes
//! with what the others leave over. The crate does one or two that are left of all, for which the
//! lanes would take longer, the roots, and inputs of one chunk.

use alloc::vec::Vec;
use core::array::from_fn;
use core::cmp::Reverse;
use core::slice::from_ref;

use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use blake3::{CHUNK_LEN, Hasher};

use super::lanes::{
    BLOCK_BYTES, Block, CHAINING_BYTES, CHUNK_END, CHUNK_START, Chaining, Chunk, Lanes, PARENT,
    Setting, chain, chain_chunks,
};
use super::{DIGEST_BYTES, PIECE_BYTES};

/// Blocks of a chunk.
const CHUNK_BLOCKS: usize = CHUNK_LEN / BLOCK_BYTES;

/// Stands where a node goes that is not made yet.
const UNMADE: Chaining = [0; CHAINING_BYTES];

/// Return the BLAKE3-256 digest of each input.
pub(super) fn hash_each<L: Lanes>(inputs: &[&[u8]]) -> Vec<[u8; DIGEST_BYTES]> {
    // One chunk is a root already, and no node of a tree.
    let trees: Vec<&[u8]> =
        inputs.iter().copied().filter(|input| input.len() > CHUNK_LEN).collect();
    let mut counts: Vec<usize> =
        trees.iter().map(|input| input.len().div_ceil(CHUNK_LEN)).collect();
    let mut level = leaves::<L>(&trees, counts.iter().sum(), 0);
    while counts.iter().any(|&count| count > 2) {
        level = parents::<L>(&level, &mut counts);
    }
    let (pairs, _) = level.as_chunks::<2>();
    let mut roots = pairs.iter().map(|[left, right]| merge_subtrees_root(left, right, Mode::Hash));
    let digests = inputs.iter().map(|input| {
        let tree = if input.len() > CHUNK_LEN { roots.next() } else { None };
        *tree.unwrap_or_else(|| blake3::hash(input)).as_bytes()
    });
    digests.collect()
}

/// Computes a digest from pieces, each of which is a subtree.
#[derive(Default)]
pub(super) struct Pieces {
    nodes: Vec<Chaining>,
}

impl Pieces {
    /// Add a piece: `PIECE_BYTES` long, but for the last, and never empty.
    pub(super) fn add<L: Lanes>(&mut self, piece: &[u8]) {
        let first = (self.nodes.len() * (PIECE_BYTES / CHUNK_LEN)) as u64;
        let mut counts = [piece.len().div_ceil(CHUNK_LEN)];
        let mut level = leaves::<L>(&[piece], counts[0], first);
        while counts[0] > 2 {
            level = parents::<L>(&level, &mut counts);
        }
        self.nodes.push(match level[..] {
            [left, right] => merge_subtrees_non_root(&left, &right, Mode::Hash),
            _ => level[0],
        });
    }

    /// Return the digest of more than one piece.
    pub(super) fn finish<L: Lanes>(self) -> [u8; DIGEST_BYTES] {
        let mut counts = [self.nodes.len()];
        let mut level = self.nodes;
        while counts[0] > 2 {
            level = parents::<L>(&level, &mut counts);
        }
        *merge_subtrees_root(&level[0], &level[1], Mode::Hash).as_bytes()
    }
}

/// Return the lowest level of all trees, one behind the other; their chunks count from `first`.
fn leaves<L: Lanes>(inputs: &[&[u8]], count: usize, first: u64) -> Vec<Chaining> {
    let mut level = Vec::with_capacity(count);
    let mut leftover = Vec::new();
    for input in inputs {
        let mut counter = first;
        let (blocks, _) = input.as_chunks::<BLOCK_BYTES>();
        let (fours, _) = blocks.as_chunks::<{ 4 * CHUNK_BLOCKS }>();
        for four in fours {
            let counters = from_fn(|lane| counter + lane as u64);
            let setting = Setting { counters, flags: 0, first: CHUNK_START, last: CHUNK_END };
            let (chunks, _) = four.as_chunks::<CHUNK_BLOCKS>();
            level.extend(chain::<L>([&chunks[0], &chunks[1], &chunks[2], &chunks[3]], setting));
            counter += 4;
        }
        for bytes in input[fours.as_flattened().as_flattened().len()..].chunks(CHUNK_LEN) {
            leftover.push((level.len(), Chunk { bytes, counter }));
            level.push(UNMADE);
            counter += 1;
        }
    }
    // Chunks of like lengths side by side: four take as long as the longest of them.
    leftover.sort_unstable_by_key(|(_, chunk)| Reverse(chunk.bytes.len()));
    make(&mut level, &leftover, chain_chunks::<L>, |chunk| {
        let offset = chunk.counter * CHUNK_LEN as u64;
        Hasher::new().set_input_offset(offset).update(chunk.bytes).finalize_non_root()
    });
    level
}

/// Return the level above; a tree of two nodes has none but its root and stays as it is.
fn parents<L: Lanes>(mut level: &[Chaining], counts: &mut [usize]) -> Vec<Chaining> {
    let mut upper = Vec::with_capacity(level.len() / 2 + counts.len());
    let mut leftover = Vec::new();
    let setting = Setting { counters: [0; 4], flags: PARENT, first: 0, last: 0 };
    let four = |pairs: [&Block; 4]| chain::<L>(pairs.map(from_ref), setting);
    for count in counts {
        let (nodes, others) = level.split_at(*count);
        level = others;
        if nodes.len() == 2 {
            upper.extend_from_slice(nodes);
            continue;
        }
        let (pairs, _): (&[Block], _) = nodes.as_flattened().as_chunks();
        let (fours, few) = pairs.as_chunks::<4>();
        for pairs in fours {
            upper.extend(four(pairs.each_ref()));
        }
        for pair in few {
            leftover.push((upper.len(), pair));
            upper.push(UNMADE);
        }
        upper.extend_from_slice(&nodes[2 * pairs.len()..]);
        *count = count.div_ceil(2);
    }
    make(&mut upper, &leftover, four, |pair| {
        let (halves, _) = pair.as_chunks();
        merge_subtrees_non_root(&halves[0], &halves[1], Mode::Hash)
    });
    upper
}

/// Make the nodes of a level that are left over, each with its place: by fours, three like four,
/// and one or two alone.
fn make<T: Copy>(
    level: &mut [Chaining],
    leftover: &[(usize, T)],
    four: impl Fn([T; 4]) -> [Chaining; 4],
    alone: impl Fn(T) -> Chaining,
) {
    for group in leftover.chunks(4) {
        if group.len() < 3 {
            group.iter().for_each(|&(place, node)| level[place] = alone(node));
            continue;
        }
        let found = four(from_fn(|lane| group[lane.min(group.len() - 1)].1));
        for ((place, _), node) in group.iter().zip(found) {
            level[*place] = node;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::lanes::Portable;
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
    }

    fn is_same(input: &[u8]) -> bool {
        are_same(&[input])
    }

    fn are_same(inputs: &[&[u8]]) -> bool {
        let expected = inputs.iter().map(|input| *blake3::hash(input).as_bytes());
        hash_each::<Portable>(inputs) == expected.collect::<Vec<_>>()
    }

    #[test]
    fn every_shape_of_tree_up_to_forty_chunks_has_its_root() {
        let input = bytes(40 * CHUNK_LEN + 1);
        for chunks in 0..=40 {
            for length in (chunks * CHUNK_LEN).saturating_sub(1)..=chunks * CHUNK_LEN + 1 {
                assert!(is_same(&input[..length]), "{length} bytes");
            }
        }
    }

    #[test]
    fn a_last_chunk_of_any_length_has_its_place() {
        let input = bytes(8 * CHUNK_LEN);
        for length in 6 * CHUNK_LEN..=8 * CHUNK_LEN {
            assert!(is_same(&input[..length]), "{length} bytes");
        }
    }

    #[test]
    fn the_largest_frame_has_its_digest() {
        assert!(is_same(&bytes(crate::limits::MAX_FRAME_BYTES)));
    }

    #[test]
    fn pieces_have_the_digest_of_the_whole() {
        let input = bytes(5 * PIECE_BYTES + 1);
        for pieces in 1..=5 {
            for more in [1, 64, CHUNK_LEN, CHUNK_LEN + 1, 3 * CHUNK_LEN, 70_000, PIECE_BYTES] {
                let input = &input[..((pieces * PIECE_BYTES) + more).min(input.len())];
                let mut hasher = Pieces::default();
                input.chunks(PIECE_BYTES).for_each(|piece| hasher.add::<Portable>(piece));
                assert_eq!(hasher.finish::<Portable>(), *blake3::hash(input).as_bytes());
            }
        }
    }

    /// Lengths where a block, a chunk or four chunks end, and any others.
    fn lengths() -> impl Strategy<Value = usize> {
        let edge = prop::sample::select(vec![0, 1, 64, 1_024, 2_048, 3_072, 4_096, 8_192, 16_384]);
        prop_oneof![
            (edge, 0usize..3).prop_map(|(edge, more)| (edge + more).saturating_sub(1)),
            0usize..5_000,
            0usize..20_000,
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn any_input_has_the_digest_of_the_crate(
            seed in prop::collection::vec(any::<u8>(), 1..64),
            length in 0usize..100_000,
        ) {
            let input: Vec<u8> = seed.iter().copied().cycle().take(length).collect();
            prop_assert!(is_same(&input));
        }

        #[test]
        fn any_inputs_side_by_side_have_the_digests_that_each_has_alone(
            places in prop::collection::vec((0usize..5, lengths()), 0..20),
        ) {
            let data = bytes(30_000);
            // Few starts, so that some inputs are equal and some begin alike.
            let inputs: Vec<&[u8]> =
                places.iter().map(|(start, length)| &data[*start..start + length]).collect();
            prop_assert!(are_same(&inputs));
        }
    }
}
