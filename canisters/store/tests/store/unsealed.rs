//! What is not sealed yet, or no longer, is held for nobody but its lease.

use crate::support::User::*;
use crate::support::manifest::*;
use crate::support::*;
use datanode_store::Digest;
use datanode_store::api::*;

/// A checkpoint whose seal, and whose deletion, take several steps.
fn large(first: u64) -> Checkpoint {
    let chunks: Vec<_> = (first..first + 9_000).map(|i| raw_frame(&i.to_le_bytes())).collect();
    Checkpoint::new(&chunks)
}

/// Make a public model with a version to which Alice may add.
fn public_model() -> World {
    let mut world = World::new();
    world.sealed(Operator, "llama", &Checkpoint::new(&[raw_frame(b"public")]));
    world.publish("llama");
    world.grant(Operator, Alice, Role::Uploader, Some("llama")).unwrap();
    world.grant(Operator, Bob, Role::Uploader, Some("bobs/model")).unwrap();
    world
}

/// Tell what Bob, who uploads another model, is told of some digests: none is missing, all pinned.
fn bob_holds(world: &mut World, digests: &[Digest]) -> (bool, bool) {
    let lease = world.lease(Bob, "bobs/model");
    let missing = world.missing(Bob, lease, digests).unwrap();
    let pinned = world.pin(Bob, lease, digests).unwrap();
    (missing.contains(&false), pinned.contains(&true))
}

#[test]
fn frames_of_a_seal_in_progress_or_given_up_are_not_those_of_its_public_model() {
    let mut world = public_model();
    let checkpoint = large(0);
    let lease = world.lease(Alice, "llama");
    for frames in checkpoint.all_frames().chunks(200) {
        world.put(Alice, lease, frames).unwrap();
    }
    let sample = checkpoint.all_frames().into_iter().rev().step_by(300);
    let digests: Vec<_> = sample.map(|frame| hash(&frame)).collect();
    let mut cursor = serde_bytes::ByteBuf::new();
    loop {
        let context = world.context(Alice);
        let seal = Seal { expected_version: Some(2), ..checkpoint.seal("llama") };
        let SealStep::Next(next) = world.store.seal_model(&context, lease, seal, &cursor).unwrap()
        else {
            break;
        };
        cursor = next;
        let mut copy = world.fork();
        assert_eq!(bob_holds(&mut copy, &digests), (false, false), "in progress");
        copy.store.end_upload(&copy.context(Alice), lease).unwrap();
        assert_eq!(bob_holds(&mut copy, &digests), (false, false), "given up");
        copy.collect(true).unwrap();
        assert_eq!(copy.details().frames, 5, "the public model's alone");
    }
    assert_eq!(bob_holds(&mut world, &digests), (true, true), "sealed in a public model");
}

#[test]
fn frames_of_a_deleted_version_are_no_longer_those_of_its_model() {
    let mut world = World::new();
    let checkpoint = large(0);
    world.sealed(Operator, "llama", &checkpoint);
    world.sealed(Operator, "llama", &Checkpoint::new(&checkpoint.chunks[..1]));
    world.grant(Operator, Bob, Role::Uploader, Some("bobs/model")).unwrap();
    let operator = world.context(Operator);
    let step = world.store.delete_model(&operator, "llama", Some(1), &[]).unwrap();
    assert!(step.next.is_some(), "its references are still there");
    world.publish("llama");
    let sample = checkpoint.all_frames().into_iter().step_by(300);
    let digests: Vec<_> = sample.map(|frame| hash(&frame)).collect();
    assert_eq!(bob_holds(&mut world, &digests[1..]), (false, false));
    assert_eq!(bob_holds(&mut world, &digests[..1]), (true, true), "the second version has it");
}

#[test]
fn a_model_deleted_while_it_is_sealed_is_made_anew_by_who_may_and_reads_nothing_of_the_old() {
    let mut world = World::new();
    let old = large(20_000);
    world.sealed(Operator, "llama", &old);
    world.grant(Operator, Alice, Role::Uploader, Some("llama")).unwrap();
    world.grant(Operator, Alice, Role::Uploader, None).unwrap();
    let checkpoint = large(0);
    let lease = world.lease(Alice, "llama");
    for frames in checkpoint.all_frames().chunks(200) {
        world.put(Alice, lease, frames).unwrap();
    }
    let steps = |world: &mut World, count| {
        for _ in 0..count {
            let context = world.context(Alice);
            let step = world.store.seal_model(&context, lease, checkpoint.seal("llama"), &[]);
            assert!(matches!(step, Ok(SealStep::Next(_))), "{step:?}");
        }
    };
    steps(&mut world, 2);
    let operator = world.context(Operator);
    assert!(world.store.delete_model(&operator, "llama", None, &[]).unwrap().next.is_some());
    let version = world.seal(Alice, lease, &checkpoint.seal("llama")).unwrap();
    assert_eq!((version, world.details().models), (2, 1));
    let model = world.store.model(&world.context(Alice), "llama").unwrap();
    assert_eq!((model.owner, model.versions.len()), (Alice.principal(), 1));
    let lease = world.lease(Alice, "llama");
    let digests: Vec<_> = old.chunks.iter().step_by(300).map(|frame| hash(frame)).collect();
    assert!(!world.pin(Alice, lease, &digests).unwrap().contains(&true));
    world.collect(true).unwrap();
    assert_eq!(world.details().frames as usize, checkpoint.all_frames().len());
    world.reopen();
}
