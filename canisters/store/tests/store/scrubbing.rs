//! Scrubbing: what it names as good is good, whatever was damaged, and a put repairs the rest.

use std::collections::BTreeSet;

use datanode_store::Digest;
use datanode_store::api::{FrameAnswer, Hash};

use crate::support::manifest::{Checkpoint, raw_frame, some_bytes};
use crate::support::{User::*, World, hash};

/// What all steps of a scrub name.
#[derive(Debug, Default)]
struct Told {
    good: BTreeSet<Digest>,
    corrupt: BTreeSet<Digest>,
    restored: BTreeSet<Digest>,
}

fn scrub(world: &mut World, max_bytes: u64) -> Told {
    let (mut told, mut cursor) = (Told::default(), Vec::new());
    let digests = |hashes: Vec<Hash>| hashes.into_iter().map(|Hash(digest)| digest);
    loop {
        let step = world.store.scrub(&world.context(Operator), &cursor, max_bytes).unwrap();
        told.good.extend(digests(step.checked));
        told.corrupt.extend(digests(step.corrupt));
        told.restored.extend(digests(step.restored));
        match step.next {
            Some(next) => cursor = next.into_vec(),
            None => break,
        }
        world.reopen();
    }
    told.good = told.good.difference(&told.corrupt).copied().collect();
    told
}

/// A sealed model whose frames all have lengths of their own.
fn sealed() -> (World, Checkpoint) {
    let mut world = World::new();
    let chunks: Vec<_> =
        (0..6).map(|i| raw_frame(&some_bytes(i, 1_000 + 100 * i as usize))).collect();
    let checkpoint = Checkpoint::new(&chunks);
    world.sealed(Operator, "llama", &checkpoint);
    (world, checkpoint)
}

/// Return the frames of the manifest that readers get as they are.
fn whole(world: &World, checkpoint: &Checkpoint) -> BTreeSet<Digest> {
    let all: Vec<u32> = (0..checkpoint.chunks.len() as u32).collect();
    let answers = world.frames(Operator, "llama", checkpoint.manifest(), &all).unwrap();
    let answers = answers.iter().zip(&checkpoint.chunks);
    let same = |(answer, frame): &(&FrameAnswer, &Vec<u8>)| matches!(answer, FrameAnswer::Frame(bytes) if bytes.as_slice() == frame.as_slice());
    answers.filter(same).map(|(_, frame)| hash(frame)).collect()
}

/// Check that a scrub vouches for what is whole and for nothing else, and that a put repairs it.
fn found_and_repaired(world: &mut World, checkpoint: &Checkpoint, what: &str) -> Told {
    let chunks: BTreeSet<Digest> = checkpoint.chunks.iter().map(|frame| hash(frame)).collect();
    let told = scrub(world, u64::MAX);
    let good: BTreeSet<Digest> = told.good.intersection(&chunks).copied().collect();
    let read = whole(world, checkpoint);
    // Readers find a chunk by its page: a damaged one hides frames that are good.
    if checkpoint.parts().iter().any(|part| told.corrupt.contains(&hash(part))) {
        assert!(good.is_superset(&read), "{what}");
    } else {
        assert_eq!(good, read, "{what}");
    }
    let lease = world.lease(Operator, "llama");
    world.put(Operator, lease, &checkpoint.all_frames()).unwrap();
    let again = scrub(world, u64::MAX);
    let all: BTreeSet<Digest> = checkpoint.all_frames().iter().map(|frame| hash(frame)).collect();
    assert!(again.good.is_superset(&all), "{what}: a put repairs");
    assert!(again.restored.is_empty(), "{what}: references are restored once");
    world.store.end_upload(&world.context(Operator), lease).unwrap();
    world.collect(true).unwrap();
    assert_eq!(whole(world, checkpoint), chunks, "{what}: garbage collection spares it");
    world.reopen();
    told
}

#[test]
fn scrub_of_a_healthy_node_names_every_frame_and_restores_nothing() {
    let (mut world, checkpoint) = sealed();
    let all: BTreeSet<Digest> = checkpoint.all_frames().iter().map(|frame| hash(frame)).collect();
    for max_bytes in [0, 1_500, u64::MAX] {
        let told = scrub(&mut world, max_bytes);
        assert_eq!((told.good, told.corrupt.len(), told.restored.len()), (all.clone(), 0, 0));
    }
}

#[test]
fn damage_of_an_index_entry_is_found_and_repaired() {
    let (world, checkpoint) = sealed();
    let victim = &checkpoint.chunks[2];
    let length = (victim.len() as u32).to_le_bytes();
    let row = [&world.now_ns.to_le_bytes()[..], &length, &[0; 4]].concat();
    let places = world.memory.find_all(&row);
    let [touched] = places[..] else { panic!("one entry has this length: {places:?}") };
    let start = touched - 8;
    // Start, last use, length, flags and lease.
    for at in start..start + 32 {
        for bit in [1, 0x10, 0x80] {
            let mut world = world.fork();
            world.memory.xor(at, bit);
            world.reopen();
            let told =
                found_and_repaired(&mut world, &checkpoint, &format!("{} {bit}", at - start));
            let leads_there = !matches!(at - start, 0..8 | 16..20);
            assert_eq!(told.good.contains(&hash(victim)), leads_there);
        }
    }
}

#[test]
fn damage_of_a_digest_wherever_it_stands_is_found_and_repaired() {
    let (world, checkpoint) = sealed();
    let victim = hash(&checkpoint.chunks[2]);
    let places = world.memory.find_all(&victim);
    assert!(places.len() >= 3, "index, reference and chunk page: {places:?}");
    let (mut missing, mut restored, mut corrupt) = (0, 0, 0);
    for at in places {
        // The last bytes keep the order of the rows, as the first may not.
        for byte in [31, 20] {
            let mut world = world.fork();
            world.memory.xor(at + byte, 1);
            world.reopen();
            let told = found_and_repaired(&mut world, &checkpoint, &format!("{at} {byte}"));
            missing += usize::from(!told.good.contains(&victim));
            restored += usize::from(told.restored.contains(&victim));
            corrupt += usize::from(told.corrupt.contains(&hash(&checkpoint.pages[0])));
        }
    }
    assert!((missing, restored, corrupt) >= (2, 2, 2), "{missing} {restored} {corrupt}");
}

#[test]
fn lost_references_of_every_part_are_restored() {
    let (world, checkpoint) = sealed();
    for frame in checkpoint.all_frames() {
        let digest = hash(&frame);
        // The first sealer's seal of the first model, whose bits stand reversed.
        let model = 1u32.reverse_bits();
        let key = [&digest[..], &1u32.to_be_bytes(), &model.to_be_bytes()].concat();
        let places = world.memory.find_all(&key);
        let [at] = places[..] else { panic!("a reference stands once: {places:?}") };
        let mut world = world.fork();
        world.memory.xor(at + 39, 0xff);
        world.reopen();
        let told = found_and_repaired(&mut world, &checkpoint, "reference");
        assert_eq!(told.restored, BTreeSet::from([digest]));
    }
}

#[test]
fn damage_of_every_part_is_named() {
    let (world, checkpoint) = sealed();
    for frame in checkpoint.all_frames() {
        for at in [0, 20, frame.len() - 1] {
            let mut world = world.fork();
            let place = world.memory.find(&frame).unwrap();
            world.memory.flip(place + at as u64);
            let told = scrub(&mut world, 1_000);
            assert_eq!(told.corrupt, BTreeSet::from([hash(&frame)]));
            let lease = world.lease(Operator, "llama");
            world.put(Operator, lease, &checkpoint.all_frames()).unwrap();
            assert!(scrub(&mut world, 1_000).corrupt.is_empty());
        }
    }
}

#[test]
fn a_repair_writes_nothing_where_a_damaged_entry_leads() {
    let (mut world, checkpoint) = sealed();
    let (victim, other) = (&checkpoint.chunks[0], &checkpoint.chunks[1]);
    let [from, to] = [victim, other].map(|frame| world.memory.find(frame).unwrap());
    let length = (victim.len() as u32).to_le_bytes();
    let row = [&world.now_ns.to_le_bytes()[..], &length, &[0; 4]].concat();
    let start = world.memory.find_all(&row)[0] - 8;
    let mut bytes = [0; 8];
    ic_stable_structures::Memory::read(&world.memory, start, &mut bytes);
    let astray = (u64::from_le_bytes(bytes) + to - from).to_le_bytes();
    ic_stable_structures::Memory::write(&world.memory, start, &astray);
    world.reopen();
    let lease = world.lease(Operator, "llama");
    world.put(Operator, lease, std::slice::from_ref(victim)).unwrap();
    assert_eq!(whole(&world, &checkpoint).len(), checkpoint.chunks.len());
}

#[test]
fn references_of_deleted_versions_are_not_restored() {
    let (mut world, checkpoint) = sealed();
    world.delete(Operator, "llama", None).unwrap();
    let told = scrub(&mut world, u64::MAX);
    assert_eq!((told.restored.len(), told.good.len()), (0, checkpoint.all_frames().len()));
    assert_eq!(world.collect(true).unwrap().0 as usize, checkpoint.all_frames().len());
}

#[test]
fn a_cursor_of_a_version_that_is_gone_goes_on_with_the_next() {
    let (mut world, _) = sealed();
    let context = world.context(Operator);
    for cursor in [[0; 12], [0xff; 12], [0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0]] {
        let step = world.store.scrub(&context, &cursor, u64::MAX).unwrap();
        assert_eq!((step.next, step.checked.len(), step.restored.len()), (None, 0, 0));
    }
    assert!(world.store.scrub(&context, &[0; 13], 1).is_err());
}
