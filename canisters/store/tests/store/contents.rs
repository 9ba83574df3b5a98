//! Finding the frames of contents that the caller sealed.

use crate::support::User::*;
use crate::support::manifest::*;
use crate::support::*;
use datanode_codec::digest;
use datanode_store::Error;
use datanode_store::api::*;
use datanode_store::limits::MAX_DIGESTS_A_CALL;

const CHUNKS: u64 = 9_000;

fn chunks(first: u64) -> Vec<Vec<u8>> {
    (first..first + CHUNKS).map(|i| raw_frame(&i.to_le_bytes())).collect()
}

/// Ask, in pages, which chunks are found.
fn found(world: &World, user: User, first: u64) -> usize {
    let contents: Vec<_> =
        (first..first + CHUNKS).map(|i| Hash(digest::hash(&i.to_le_bytes()))).collect();
    let told = world.store.find_contents(&world.context(user), &contents).unwrap();
    told.iter().flatten().count()
}

fn put_all(world: &mut World, user: User, model: &str, checkpoint: &Checkpoint) -> u64 {
    let lease = world.lease(user, model);
    for frames in checkpoint.all_frames().chunks(200) {
        world.put(user, lease, frames).unwrap();
    }
    lease
}

#[test]
fn contents_are_found_when_the_seal_is_done_and_in_no_step_before() {
    let mut world = World::new();
    world.grant(Operator, Alice, Role::Uploader, None).unwrap();
    let checkpoint = Checkpoint::new(&chunks(0));
    let lease = put_all(&mut world, Alice, "llama", &checkpoint);
    let mut cursor = serde_bytes::ByteBuf::new();
    let mut steps = 0;
    loop {
        assert_eq!(found(&world, Alice, 0), 0);
        let context = world.context(Alice);
        let step = world.store.seal_model(&context, lease, checkpoint.seal("llama"), &cursor);
        world.reopen();
        match step.unwrap() {
            SealStep::Next(next) => (cursor, steps) = (next, steps + 1),
            SealStep::Done(_) => break,
        }
    }
    assert!(steps >= 2, "an upgrade lay between the steps");
    assert_eq!(found(&world, Alice, 0), CHUNKS as usize);
    assert_eq!(found(&world, Operator, 0), 0, "a controller reads it, and did not seal it");
}

#[test]
fn rows_of_deleted_and_abandoned_seals_are_removed_in_steps() {
    let mut world = World::new();
    let checkpoint = Checkpoint::new(&chunks(0));
    world.sealed(Operator, "llama", &checkpoint);
    let other = Checkpoint::new(&chunks(CHUNKS));
    let lease = put_all(&mut world, Operator, "phi", &other);
    for _ in 0..3 {
        let context = world.context(Operator);
        let step = world.store.seal_model(&context, lease, other.seal("phi"), &[]).unwrap();
        assert!(matches!(step, SealStep::Next(_)));
    }
    world.store.end_upload(&world.context(Operator), lease).unwrap();
    let operator = world.context(Operator);
    let step = world.store.delete_model(&operator, "llama", None, &[]).unwrap();
    assert!(step.next.is_some(), "rows are left");
    assert_eq!(found(&world, Operator, 0) + found(&world, Operator, CHUNKS), 0);
    world.delete(Operator, "llama", None).unwrap();
    world.collect(true).unwrap();
    assert_eq!((world.details().frames, world.details().task), (0, None));
    // No row was left behind to hide the same contents of another seal.
    world.sealed(Operator, "llama", &checkpoint);
    assert_eq!(found(&world, Operator, 0), CHUNKS as usize);
}

#[test]
fn a_content_is_found_in_another_version_when_one_is_deleted() {
    let mut world = World::new();
    let raw = some_bytes(1, 300);
    let content = digest::hash(&raw);
    // Contents are their writer's claims: two frames may claim the same.
    let frames = [raw_frame(&raw), frame_of(0, 1, 300, content, &raw)];
    for frame in &frames {
        world.sealed(Operator, "llama", &Checkpoint::new(std::slice::from_ref(frame)));
    }
    let find = |world: &World| {
        let told = world.store.find_contents(&world.context(Operator), &[Hash(content)]).unwrap();
        told[0].as_ref().map(|held| (held.frame.0, held.element))
    };
    let second = (hash(&frames[1]), 1);
    assert!([(hash(&frames[0]), 0), second].contains(&find(&world).unwrap()));
    world.delete(Operator, "llama", Some(1)).unwrap();
    assert_eq!(find(&world), Some(second));
    world.reopen();
    assert_eq!(find(&world), Some(second));
    world.delete(Operator, "llama", Some(2)).unwrap();
    assert_eq!(find(&world), None);
}

#[test]
fn too_many_contents_and_a_content_named_twice_are_refused() {
    let world = World::new();
    let ask = |contents: &[Hash]| world.store.find_contents(&world.context(Operator), contents);
    let many: Vec<_> =
        (0..=MAX_DIGESTS_A_CALL as u64).map(|i| Hash(digest::hash(&i.to_le_bytes()))).collect();
    let limit = MAX_DIGESTS_A_CALL as u64;
    assert_eq!(ask(&many), Err(Error::TooLarge { limit, got: limit + 1 }));
    assert_eq!(ask(&many[1..]).map(|found| found.len()), Ok(MAX_DIGESTS_A_CALL));
    assert!(matches!(ask(&[many[0], many[1], many[0]]), Err(Error::BadRequest(_))));
}
