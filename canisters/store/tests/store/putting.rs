//! A message of many frames does what a message for each of them does.

use crate::support::User::*;
use crate::support::manifest::*;
use crate::support::*;
use datanode_store::api::*;
use proptest::prelude::*;

/// Frames of whole and cut blocks, chunks and fours of chunks; few seeds, so that some come twice.
fn good() -> impl Strategy<Value = Vec<u8>> {
    let edge = prop::sample::select(vec![1, 64, 960, 1_024, 3_008, 4_032, 16_320, 65_472]);
    let length = prop_oneof![
        (edge, 0usize..3).prop_map(|(edge, more)| edge + more - 1),
        0usize..5_000,
        0usize..70_000,
    ];
    (0u64..3, length).prop_map(|(seed, length)| raw_frame(&some_bytes(seed, length)))
}

/// Frames, whole ones that come again, and what is none: cut, with a byte too many, of another magic.
fn messages() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let frame = (good(), 0u8..8, any::<prop::sample::Index>());
    prop::collection::vec(frame, 0..24).prop_map(|drawn| {
        let mut frames: Vec<Vec<u8>> = Vec::new();
        for (mut frame, kind, which) in drawn {
            match kind {
                0 => frame.truncate(which.index(frame.len())),
                1 => frame.push(0),
                2 => frame[0] ^= 1,
                3 if !frames.is_empty() => frame = which.get(&frames).clone(),
                _ => {}
            }
            frames.push(frame);
        }
        frames
    })
}

fn held(world: &World, lease: u64) -> Vec<Held> {
    world.store.lease_frames(&world.context(Operator), lease, &[]).unwrap().frames
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn frames_together_are_kept_like_frames_one_by_one(frames in messages()) {
        let (mut together, mut alone) = (World::new(), World::new());
        let lease = together.lease(Operator, "llama");
        prop_assert_eq!(alone.lease(Operator, "llama"), lease);
        let results = together.put(Operator, lease, &frames).unwrap();
        let one_by_one: Vec<_> = frames
            .iter()
            .flat_map(|frame| alone.put(Operator, lease, std::slice::from_ref(frame)).unwrap())
            .collect();
        prop_assert_eq!(&results, &one_by_one);
        prop_assert_eq!(held(&together, lease), held(&alone, lease));
        let (details, expected) = (together.details(), alone.details());
        prop_assert_eq!(details.frames, expected.frames);
        prop_assert_eq!(details.frame_bytes, expected.frame_bytes);
        for (frame, result) in frames.iter().zip(&results) {
            if matches!(result, PutResult::Bad(_)) {
                continue;
            }
            let missing = together.missing(Operator, lease, &[hash(frame)]);
            prop_assert_eq!(missing, Ok(vec![false]));
            prop_assert!(together.memory.find(frame).is_some(), "its bytes are stored");
        }
        let scrubbed = together.store.scrub(&together.context(Operator), &[], u64::MAX).unwrap();
        prop_assert_eq!(scrubbed.corrupt, vec![]);
    }
}
