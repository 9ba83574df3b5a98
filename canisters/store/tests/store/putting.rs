//! A message of many frames does what a message for each of them does.

use crate::support::User::*;
use crate::support::manifest::*;
use crate::support::*;
use datanode_store::Error;
use datanode_store::api::*;
use proptest::prelude::*;

/// Frames of whole and cut blocks, chunks and fours of chunks, and frames about as long as the
/// buffer and longer; few seeds, so that some come twice.
fn good() -> impl Strategy<Value = Vec<u8>> {
    let edge = prop::sample::select(vec![1, 64, 960, 1_024, 3_008, 4_032, 16_320, 65_472]);
    let piece = prop::sample::select(vec![131_008, 262_080]);
    let length = prop_oneof![
        4 => (edge, 0usize..3).prop_map(|(edge, more)| edge + more - 1),
        4 => 0usize..5_000,
        4 => 0usize..70_000,
        1 => (piece, 0usize..3).prop_map(|(piece, more)| piece + more - 1),
        1 => 131_072usize..400_000,
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

/// A frame that goes through the buffer in pieces.
fn large(seed: u64) -> Vec<u8> {
    raw_frame(&some_bytes(seed, 300_001))
}

#[test]
fn a_large_frame_is_healed_by_its_bytes() {
    let mut world = World::new();
    let lease = world.lease(Operator, "llama");
    let frame = [large(1)];
    assert_eq!(world.put(Operator, lease, &frame), Ok(vec![PutResult::Stored]));
    assert_eq!(world.put(Operator, lease, &frame), Ok(vec![PutResult::AlreadyStored]));
    let start = world.memory.find(&frame[0]);
    world.corrupt(&frame[0]);
    assert_ne!(world.memory.find(&frame[0]), start);
    assert_eq!(world.put(Operator, lease, &frame), Ok(vec![PutResult::Stored]));
    assert_eq!(world.memory.find(&frame[0]), start);
    assert_eq!(world.put(Operator, lease, &frame), Ok(vec![PutResult::AlreadyStored]));
    let details = world.details();
    assert_eq!((details.frames, details.frame_bytes), (1, frame[0].len() as u64));
}

#[test]
fn a_large_frame_that_comes_again_leaves_its_room_to_the_next() {
    let mut world = World::new();
    let lease = world.lease(Operator, "llama");
    let frames = [large(1), large(1), large(2), large(1)];
    let (new, old) = (PutResult::Stored, PutResult::AlreadyStored);
    let expected = vec![new.clone(), old.clone(), new, old];
    assert_eq!(world.put(Operator, lease, &frames), Ok(expected));
    let starts = [large(1), large(2)].map(|frame| world.memory.find(&frame).unwrap());
    assert_eq!(starts[1] - starts[0], (large(1).len() as u64).next_multiple_of(64));
    let scrubbed = world.store.scrub(&world.context(Operator), &[], u64::MAX).unwrap();
    assert_eq!(scrubbed.corrupt, vec![]);
}

#[test]
fn a_large_frame_with_a_bad_header_is_not_written() {
    let mut world = World::new();
    let lease = world.lease(Operator, "llama");
    let mut bad = large(1);
    bad[0] ^= 1;
    let mut long = large(2);
    long.resize(10 << 20, 7);
    let before = world.memory.snapshot();
    let results = world.put(Operator, lease, &[bad, long]).unwrap();
    assert!(results.iter().all(|result| matches!(result, PutResult::Bad(_))), "{results:?}");
    let header = world.memory.lines().len() - before.lines().len();
    assert!(header < 64, "{header} lines of 64 bytes were written");
}

#[test]
fn a_large_frame_without_room_is_not_written() {
    let mut world = World::new();
    let lease = world.lease(Operator, "llama");
    world.reserve = world.cycles;
    let before = world.memory.snapshot();
    assert!(matches!(world.put(Operator, lease, &[large(1)]), Err(Error::LowCycles { .. })));
    assert!(world.memory.same(&before));
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
