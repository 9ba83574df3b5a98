//! Uploaders who mean harm: what they do costs the node no more than what they paid to store.

use crate::support::User::*;
use crate::support::manifest::*;
use crate::support::*;
use datanode_store::Error;
use datanode_store::api::*;
use datanode_store::limits::LEASE_NS;

const CHUNKS: u64 = 9_000;

fn many(first: u64) -> Checkpoint {
    let chunks: Vec<_> = (first..first + CHUNKS).map(|i| raw_frame(&i.to_le_bytes())).collect();
    Checkpoint::new(&chunks)
}

fn put_all(world: &mut World, user: User, model: &str, checkpoint: &Checkpoint) -> u64 {
    let lease = world.lease(user, model);
    for frames in checkpoint.all_frames().chunks(200) {
        world.put(user, lease, frames).unwrap();
    }
    lease
}

#[test]
fn garbage_is_collected_while_seals_run_renew_and_start_again() {
    let mut world = World::new();
    world.grant(Operator, Alice, Role::Uploader, None).unwrap();
    let checkpoints = [many(0), many(CHUNKS)];
    let names = ["first", "second"];
    let leases = [0, 1].map(|i| put_all(&mut world, Alice, names[i], &checkpoints[i]));
    let ended = put_all(&mut world, Operator, "ended", &many(2 * CHUNKS));
    world.store.end_upload(&world.context(Operator), ended).unwrap();

    let mut cursor = serde_bytes::ByteBuf::new();
    let (mut freed, mut steps) = (0, 0);
    loop {
        // One seal goes on for ever; the other is abandoned and started anew at every step.
        for (which, expected) in [(0, None), (1, Some(1)), (1, None)] {
            for _ in 0..4 {
                let seal =
                    Seal { expected_version: expected, ..checkpoints[which].seal(names[which]) };
                let context = world.context(Alice);
                let step = world.store.seal_model(&context, leases[which], seal, &[]);
                if !matches!(step, Ok(SealStep::Next(_))) {
                    break;
                }
            }
            world.advance(LEASE_NS / 2);
        }
        let context = world.context(Operator);
        let step = world.store.collect_garbage(&context, Force { force: true }, &cursor).unwrap();
        freed += step.freed_frames;
        steps += 1;
        assert!(steps < 60, "the collection comes to an end");
        match step.next {
            None => break,
            Some(next) => cursor = next,
        }
    }
    assert_eq!(freed as usize, many(2 * CHUNKS).all_frames().len(), "all of it was garbage");
}

#[test]
fn a_manifest_cannot_claim_more_chunks_than_its_pages_hold() {
    let mut world = World::new();
    let frame = raw_frame(b"the same");
    let checkpoint = Checkpoint::new(&vec![frame; 2 * 16_384]);
    assert_eq!(checkpoint.pages[0], checkpoint.pages[1]);
    let lease = world.lease(Operator, "llama");
    let mut frames = checkpoint.parts();
    frames.push(checkpoint.chunks[0].clone());
    for frame in frames {
        world.put(Operator, lease, &[frame]).unwrap();
    }
    let refused = world.seal(Operator, lease, &checkpoint.seal("llama"));
    assert_eq!(refused, Err(Error::BadManifest("the head names a page twice".into())));
}

#[test]
fn frames_that_a_seal_has_checked_stay_though_the_model_that_held_them_is_deleted() {
    let mut world = World::new();
    let checkpoint = many(0);
    world.sealed(Operator, "llama", &checkpoint);
    let lease = world.lease(Operator, "copy");
    world.put(Operator, lease, &checkpoint.parts()).unwrap();
    let mut cursor = serde_bytes::ByteBuf::new();
    // The first steps check all frames of the manifest, the next ones refer to them.
    for _ in 0..3 {
        let context = world.context(Operator);
        let step = world.store.seal_model(&context, lease, checkpoint.seal("copy"), &cursor);
        let Ok(SealStep::Next(next)) = step else { panic!("{step:?}") };
        cursor = next;
    }
    world.delete(Operator, "llama", None).unwrap();
    assert_eq!(world.collect(true), Ok((0, 0)));
    let described = world.begin(Operator, "copy").unwrap();
    assert_eq!(described.frames as usize, checkpoint.all_frames().len(), "all are pinned");
    assert_eq!(world.seal(Operator, lease, &checkpoint.seal("copy")), Ok(1));
    assert_eq!(world.collect(true), Ok((0, 0)));
    let last = world.frames(Operator, "copy", checkpoint.manifest(), &[8_999]).unwrap();
    assert_eq!(last, [FrameAnswer::Frame(checkpoint.chunks[8_999].clone().into())]);
}
