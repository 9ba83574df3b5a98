//! Deleting and collecting: nothing that is held is ever freed, and everything else is.

use crate::support::User::*;
use crate::support::manifest::*;
use crate::support::*;
use datanode_store::Error;
use datanode_store::api::*;
use datanode_store::limits::*;

fn checkpoint(seeds: std::ops::Range<u64>) -> Checkpoint {
    let chunks: Vec<_> = seeds.map(|seed| raw_frame(&some_bytes(seed, 500))).collect();
    Checkpoint::new(&chunks)
}

#[test]
fn a_deleted_model_is_gone_at_once_and_freed_after_14_days() {
    let mut world = World::new();
    let first = checkpoint(0..6);
    world.sealed(Operator, "llama", &first);
    world.delete(Operator, "llama", None).unwrap();
    let gone = world.store.model(&world.context(Operator), "llama");
    assert_eq!(gone, Err(Error::NotFound("llama".into())));
    assert_eq!(world.collect(false), Ok((0, 0)));
    world.advance(GRACE_NS);
    let bytes = first.all_frames().iter().map(|frame| frame.len() as u64).sum();
    assert_eq!(world.collect(false), Ok((first.all_frames().len() as u32, bytes)));
    let details = world.details();
    assert_eq!((details.frames, details.frame_bytes, details.models), (0, 0, 0));
}

#[test]
fn a_frame_of_several_leases_is_held_until_the_last_one_ends() {
    let mut world = World::new();
    let frame = vec![raw_frame(&some_bytes(1, 500))];
    let names = ["a", "b", "c"];
    let leases = names.map(|name| world.lease(Operator, name));
    let end = |world: &mut World, lease| {
        world.store.end_upload(&world.context(Operator), lease).unwrap();
        world.collect(true).unwrap().0
    };
    let lists = |world: &World, lease| {
        world.store.lease_frames(&world.context(Operator), lease, &[]).unwrap().frames.len()
    };
    for lease in leases {
        world.put(Operator, lease, &frame).unwrap();
        assert_eq!(world.put(Operator, lease, &frame).unwrap(), [PutResult::AlreadyStored]);
        assert_eq!(lists(&world, lease), 1);
    }
    // The first one stands with the frame itself; a fourth takes its place, and the others stay.
    assert_eq!(end(&mut world, leases[0]), 0);
    let fourth = world.lease(Operator, "d");
    world.put(Operator, fourth, &frame).unwrap();
    let described = world.begin(Operator, "d").unwrap();
    assert_eq!((described.frames, lists(&world, fourth)), (1, 1));
    assert_eq!(end(&mut world, leases[2]), 0);
    assert_eq!(end(&mut world, fourth), 0);
    assert_eq!(lists(&world, leases[1]), 1);
    world.reopen();
    assert_eq!(end(&mut world, leases[1]), 1);
    assert_eq!(world.details().frames, 0);
}

#[test]
fn versions_share_frames_and_each_keeps_its_own() {
    let mut world = World::new();
    world.sealed(Operator, "llama", &checkpoint(0..6));
    let second = checkpoint(3..9);
    world.sealed(Operator, "llama", &second);
    world.delete(Operator, "llama", Some(1)).unwrap();
    let (freed, _) = world.collect(true).unwrap();
    assert_eq!(freed, 3 + 3, "three chunks; head, placement and chunk page");
    let model = world.store.model(&world.context(Operator), "llama").unwrap();
    assert_eq!((model.latest, model.versions.len()), (2, 1));
    let answers = world.frames(Operator, "llama", second.manifest(), &[0, 1, 2, 3, 4, 5]).unwrap();
    let whole = second.chunks.iter().map(|frame| FrameAnswer::Frame(frame.clone().into()));
    assert_eq!(answers, whole.collect::<Vec<_>>());
    let unknown = world.delete(Operator, "llama", Some(1));
    assert_eq!(unknown, Err(Error::NotFound("llama".into())));
}

#[test]
fn versions_of_a_name_rise_beyond_its_deletion() {
    let mut world = World::new();
    world.sealed(Operator, "llama", &checkpoint(0..1));
    world.sealed(Operator, "llama", &checkpoint(1..2));
    world.delete(Operator, "llama", Some(2)).unwrap();
    assert_eq!(world.store.model(&world.context(Operator), "llama").unwrap().latest, 1);
    assert_eq!(world.sealed(Operator, "llama", &checkpoint(2..3)), 3);
    world.delete(Operator, "llama", None).unwrap();
    world.grant(Operator, Alice, Role::Uploader, None).unwrap();
    assert_eq!(world.sealed(Alice, "llama", &checkpoint(3..4)), 4);
    let model = world.store.model(&world.context(Alice), "llama").unwrap();
    assert_eq!((model.owner, model.versions.len()), (Alice.principal(), 1));
}

#[test]
fn a_model_goes_with_its_last_version_and_its_grants_with_it() {
    let mut world = World::new();
    world.grant(Operator, Alice, Role::Uploader, None).unwrap();
    world.sealed(Alice, "llama", &checkpoint(0..1));
    world.grant(Alice, Bob, Role::Uploader, Some("llama")).unwrap();
    world.delete(Alice, "llama", Some(1)).unwrap();
    assert_eq!(world.begin(Bob, "llama"), Err(Error::Unauthorized));
    assert_eq!(world.store.grants(&world.context(Operator), Some("llama")), Ok(vec![]));
    assert_eq!(world.details().models, 0);
}

#[test]
fn deleting_never_breaks_an_upload_that_pinned_the_frames() {
    let mut world = World::new();
    let first = checkpoint(0..6);
    world.sealed(Operator, "llama", &first);
    let lease = world.lease(Operator, "fine-tune");
    let digests: Vec<_> = first.all_frames().iter().map(|frame| hash(frame)).collect();
    assert!(world.pin(Operator, lease, &digests).unwrap().iter().all(|pinned| *pinned));
    world.delete(Operator, "llama", None).unwrap();
    assert_eq!(world.collect(true), Ok((0, 0)));
    assert_eq!(world.seal(Operator, lease, &first.seal("fine-tune")), Ok(1));
    assert_eq!(world.collect(true), Ok((0, 0)));
}

#[test]
fn frames_of_an_ended_lease_live_14_days_after_their_last_put() {
    let mut world = World::new();
    let batch = checkpoint(0..2).chunks;
    let lease = world.lease(Operator, "llama");
    world.put(Operator, lease, &batch).unwrap();
    world.advance(10 * DAY_NS);
    world.put(Operator, lease, &batch[1..]).unwrap();
    world.store.end_upload(&world.context(Operator), lease).unwrap();
    world.advance(5 * DAY_NS);
    assert_eq!(world.collect(false), Ok((1, 564)));
    world.advance(9 * DAY_NS);
    assert_eq!(world.collect(false), Ok((1, 564)));
}

#[test]
fn a_lease_that_nobody_uses_for_14_days_is_ended_by_the_collection() {
    let mut world = World::new();
    let lease = world.lease(Operator, "llama");
    world.put(Operator, lease, &checkpoint(0..2).chunks).unwrap();
    world.advance(13 * DAY_NS);
    assert_eq!(world.collect(true), Ok((0, 0)), "an expired lease still holds");
    world.advance(DAY_NS);
    assert_eq!(world.collect(false), Ok((2, 1_128)));
    assert_eq!(world.missing(Operator, lease, &[]), Err(Error::LeaseLost));
    assert_eq!(world.details().leases, 0);
}

#[test]
fn freed_room_is_used_again_before_memory_grows() {
    let mut world = World::new();
    let batch = |seed| vec![raw_frame(&some_bytes(seed, 1_999_936))];
    for seed in 0..20 {
        let lease = world.lease(Operator, "llama");
        world.put(Operator, lease, &batch(seed)).unwrap();
        world.store.end_upload(&world.context(Operator), lease).unwrap();
        world.collect(true).unwrap();
        let details = world.details();
        assert_eq!((details.frames, details.stable_bytes), (0, (1 + 8 * 256) * 65_536));
    }
    assert_eq!(world.details().free_bytes % 65_536, 0, "the frame region is empty");
}

#[test]
fn the_last_step_of_a_collection_may_be_repeated() {
    let mut world = World::new();
    let stale = [&[3][..], &7u64.to_be_bytes()].concat();
    let context = world.context(Operator);
    let step = world.store.collect_garbage(&context, Force { force: false }, &stale).unwrap();
    assert_eq!(step, GarbagePage { next: None, freed_frames: 0, freed_bytes: 0 });
    let wrong = world.store.collect_garbage(&context, Force { force: false }, &[9]);
    assert!(matches!(wrong, Err(Error::BadRequest(_))));
}

#[test]
fn a_former_owner_may_see_the_deletion_through_and_a_stranger_learns_nothing() {
    let mut world = World::new();
    world.grant(Operator, Alice, Role::Uploader, None).unwrap();
    let chunks: Vec<_> = (0..9_000u64).map(|i| raw_frame(&i.to_le_bytes())).collect();
    world.sealed(Alice, "llama", &Checkpoint::new(&chunks));
    let alice = world.context(Alice);
    let next = world.store.delete_model(&alice, "llama", None, &[]).unwrap().next.unwrap();
    world.reopen();
    assert!(world.details().task.is_some());
    assert!(world.store.admits(&alice, datanode_store::Need::Owner));
    let bob = world.context(Bob);
    let unknown = Err(Error::NotFound("llama".into()));
    assert_eq!(world.store.delete_model(&bob, "llama", None, &[]), unknown);
    assert_eq!(world.store.delete_model(&bob, "llama", None, &next).unwrap().next, None);
    assert!(world.details().task.is_some(), "the stranger's call did no work");
    assert_eq!(world.delete(Alice, "llama", None), Ok(()));
    assert_eq!(world.details().task, None);
    assert_eq!(world.delete(Alice, "llama", None), unknown.map(|_: DeletePage| ()));
}
