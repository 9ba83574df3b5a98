//! The layout of stable memory, byte for byte.
//!
//! A fixed script gives this image for ever: a change of a layout is a new version, with a golden
//! image of its own and a reader for the old one. The image lists the 64-byte lines that are not
//! zero, each with its offset before it (u64, little-endian).

use std::path::Path;

use crate::support::User::*;
use crate::support::manifest::*;
use crate::support::memory::TestMemory;
use crate::support::*;
use datanode_store::api::*;

use datanode_store::Store;
use ic_stable_structures::Memory;

const LINE_BYTES: usize = 64;

/// Do something that leaves a row of every kind.
fn script() -> World {
    let mut world = World::new();
    world.grant(Operator, Alice, Role::Uploader, None).unwrap();
    let expires = Some(world.now_ns + DAY_NS);
    let role = Role::Uploader;
    world.grant_with(Operator, Bob, role, Some("phi"), expires, Some(1 << 20)).unwrap();
    let chunks: Vec<_> = (0..4).map(|seed| raw_frame(&some_bytes(seed, 100))).collect();
    world.sealed(Alice, "llama", &Checkpoint::new(&chunks[..2]));
    world.sealed(Alice, "llama", &Checkpoint::new(&chunks[1..3]));
    world.sealed(Operator, "gone", &Checkpoint::new(&chunks));
    world.delete(Operator, "gone", None).unwrap();
    world.publish("llama");
    let lease = world.lease(Operator, "ended");
    world.put(Operator, lease, &[raw_frame(&some_bytes(7, 150)), raw_frame(b"end")]).unwrap();
    world.store.end_upload(&world.context(Operator), lease).unwrap();
    world.collect(true).unwrap();
    world.advance(SECOND_NS);
    let lease = world.lease(Bob, "phi");
    let frame = raw_frame(&some_bytes(9, 100));
    world.put(Bob, lease, std::slice::from_ref(&frame)).unwrap();
    let further = world.lease(Operator, "further");
    world.put(Operator, further, std::slice::from_ref(&frame)).unwrap();
    world.corrupt(&frame);
    world.store.scrub(&world.context(Operator), &[], u64::MAX).unwrap();
    world
}

fn image(memory: &TestMemory) -> Vec<u8> {
    let mut image = Vec::new();
    for (at, line) in memory.lines() {
        image.extend_from_slice(&at.to_le_bytes());
        image.extend_from_slice(&line);
    }
    image
}

fn golden() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/store_v3.image")
}

#[test]
fn the_script_gives_the_golden_image() {
    let golden = std::fs::read(golden()).unwrap();
    let image = image(&script().memory);
    let lines = |image: &[u8]| image.as_chunks::<{ LINE_BYTES + 8 }>().0.to_vec();
    for (line, (found, expected)) in lines(&image).iter().zip(&lines(&golden)).enumerate() {
        assert_eq!(found, expected, "line {line} of the image");
    }
    assert_eq!(image.len(), golden.len());
}

#[test]
fn the_golden_image_is_opened_and_says_what_the_script_did() {
    let world = script();
    let memory = TestMemory::default();
    memory.grow(world.memory.size());
    for line in std::fs::read(golden()).unwrap().as_chunks::<{ LINE_BYTES + 8 }>().0 {
        let (at, bytes) = line.split_first_chunk().unwrap();
        memory.write(u64::from_le_bytes(*at), bytes);
    }
    let opened = Store::open(memory).unwrap();
    assert_eq!(opened.root(), world.store.root());
    let context = world.context(Operator);
    assert_eq!(opened.status(&context), world.store.status(&context));
    for name in ["llama", "gone", "phi"] {
        assert_eq!(opened.model(&context, name), world.store.model(&context, name));
        assert_eq!(opened.grants(&context, Some(name)), world.store.grants(&context, Some(name)));
    }
    assert_eq!(opened.status(&context).details.unwrap().damaged_frames, 1);
}

/// Run by hand, once, when a layout version is born.
#[test]
#[ignore = "writes the golden image of a new layout version"]
fn write_the_golden_image() {
    std::fs::create_dir_all(golden().parent().unwrap()).unwrap();
    std::fs::write(golden(), image(&script().memory)).unwrap();
}
