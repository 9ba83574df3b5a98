//! The hash tree of BLAKE3 over an input that is held in memory as a whole.
//!
//! Level by level: the chaining values of the chunks, four at a time; then of the parents, four at
//! a time, or three; a node without a neighbour goes up as it is. That is BLAKE3's tree, whose left subtrees
//! are the largest full ones. More than two chunks that are left of fours, of which the last may be
//! cut short, take the four lanes once more; the crate does what is fewer, and the root.

use alloc::vec::Vec;
use core::array::from_fn;

use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use blake3::{CHUNK_LEN, Hasher};

use super::lanes::{
    BLOCK_BYTES, Block, CHUNK_BLOCKS, CHUNK_END, CHUNK_START, Chaining, Lanes, PARENT, Setting,
    Short, chain, chain_chunks,
};

/// Shorter inputs have no four full chunks.
const LEAST_BYTES: usize = 4 * CHUNK_LEN;

/// Return the BLAKE3-256 digest of `input`.
pub(super) fn hash<L: Lanes>(input: &[u8]) -> [u8; 32] {
    if input.len() < LEAST_BYTES {
        return *blake3::hash(input).as_bytes();
    }
    let mut level = chunks::<L>(input);
    while level.len() > 2 {
        level = parents::<L>(&level);
    }
    // Four chunks leave two subtrees at least.
    let root = merge_subtrees_root(&level[0], &level[1], Mode::Hash);
    *root.as_bytes()
}

fn chunks<L: Lanes>(input: &[u8]) -> Vec<Chaining> {
    let mut level = Vec::with_capacity(input.len().div_ceil(CHUNK_LEN));
    let (blocks, _) = input.as_chunks::<BLOCK_BYTES>();
    let (fours, _) = blocks.as_chunks::<{ 4 * CHUNK_LEN / BLOCK_BYTES }>();
    for four in fours {
        let counter = level.len() as u64;
        let counters = [counter, counter + 1, counter + 2, counter + 3];
        let setting = Setting { counters, flags: 0, first: CHUNK_START, last: CHUNK_END };
        let (chunks, _) = four.as_chunks::<{ CHUNK_LEN / BLOCK_BYTES }>();
        level.extend(chain::<L>([&chunks[0], &chunks[1], &chunks[2], &chunks[3]], setting));
    }
    let rest = &input[level.len() * CHUNK_LEN..];
    if rest.len() > 2 * CHUNK_LEN {
        let (chunks, count) = last_chunks::<L>(rest, level.len() as u64);
        level.extend_from_slice(&chunks[..count]);
        return level;
    }
    for chunk in rest.chunks(CHUNK_LEN) {
        let offset = (level.len() * CHUNK_LEN) as u64;
        level.push(Hasher::new().set_input_offset(offset).update(chunk).finalize_non_root());
    }
    level
}

/// Return the chaining values of at most four chunks, and how many there are.
fn last_chunks<L: Lanes>(rest: &[u8], counter: u64) -> ([Chaining; 4], usize) {
    let lane = (rest.len() - 1) / CHUNK_LEN;
    let bytes = rest.len() - lane * CHUNK_LEN;
    let mut last = [[0; BLOCK_BYTES]; CHUNK_BLOCKS];
    last.as_flattened_mut()[..bytes].copy_from_slice(&rest[lane * CHUNK_LEN..]);
    let (blocks, _) = rest.as_chunks::<BLOCK_BYTES>();
    let (whole, _) = blocks.as_chunks::<CHUNK_BLOCKS>();
    // A lane without a chunk repeats the last one.
    let inputs = from_fn(|at| if at < lane { &whole[at] } else { &last });
    let counters = from_fn(|at| counter + at as u64);
    (chain_chunks::<L>(inputs, counters, Short { lane, bytes }), lane + 1)
}

fn parents<L: Lanes>(level: &[Chaining]) -> Vec<Chaining> {
    let mut upper = Vec::with_capacity(level.len().div_ceil(2));
    let (pairs, _): (&[Block], _) = level.as_flattened().as_chunks();
    let (fours, _) = pairs.as_chunks::<4>();
    let setting = Setting { counters: [0; 4], flags: PARENT, first: 0, last: 0 };
    for [a, b, c, d] in fours {
        upper.extend(chain::<L>([a, b, c, d].map(core::slice::from_ref), setting));
    }
    let rest = &pairs[upper.len()..];
    if let [a, b, c] = rest {
        let three = chain::<L>([a, b, c, c].map(core::slice::from_ref), setting);
        upper.extend_from_slice(&three[..3]);
    }
    for rest in level[upper.len() * 2..].chunks(2) {
        upper.push(match rest {
            [left, right] => merge_subtrees_non_root(left, right, Mode::Hash),
            _ => rest[0],
        });
    }
    upper
}

#[cfg(test)]
mod tests {
    use super::super::lanes::Portable;
    use super::*;
    use proptest::prelude::*;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
    }

    fn is_same(input: &[u8]) -> bool {
        hash::<Portable>(input) == *blake3::hash(input).as_bytes()
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
    }
}
