//! Golden frames gone wrong: no panic, and no more memory than a chunk may cost.
//! `PROPTEST_CASES=100000 cargo test --release` looks longer.
#![cfg(feature = "decode")]

#[path = "support/memory.rs"]
mod memory;
mod support;

use std::path::Path;

use datanode_codec::{decode, digest};
use memory::peak;
use proptest::prelude::*;
use support::{mutated, mutations};

const MOST_BYTES: isize = 16 << 20;

fn frames() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let names = ["zstd", "masksplit_f16", "masksplit_patched", "masksplit_f32_bf16origin"];
    names
        .iter()
        .map(|name| std::fs::read(folder.join(format!("frame_{name}_v1.bin"))).unwrap())
        .collect()
}

proptest! {
    #[test]
    fn a_mutated_golden_frame_costs_at_most_sixteen_mebibytes(
        which in 0usize..4,
        mutations in mutations(),
        keep_header in any::<bool>(),
    ) {
        let good = &frames()[which];
        // Behind an intact header the mutations reach the decoders more often.
        let mut frame = if keep_header {
            [good[..64].to_vec(), mutated(&good[64..], &mutations)].concat()
        } else {
            mutated(good, &mutations)
        };
        if keep_header {
            let length = (frame.len() - 64) as u32;
            frame[12..16].copy_from_slice(&length.to_le_bytes());
        }
        let (decoded, most_bytes) = peak(|| decode(&frame));
        prop_assert!(most_bytes < MOST_BYTES);
        if let Ok(raw) = decoded {
            prop_assert_eq!(&frame[16..48], &digest::hash(&raw));
        }
    }
}
