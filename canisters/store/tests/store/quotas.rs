//! What counts on a quota, and from when until when.

use crate::support::User::*;
use crate::support::manifest::*;
use crate::support::*;
use datanode_store::Error;
use datanode_store::api::*;
use datanode_store::limits::*;

const HOUR_NS: u64 = 3_600 * SECOND_NS;

/// Frames of 1,000 bytes.
fn frames(seeds: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    seeds.map(|seed| raw_frame(&some_bytes(seed, 936))).collect()
}

fn bytes(frames: &[Vec<u8>]) -> u64 {
    frames.iter().map(|frame| frame.len() as u64).sum()
}

/// Make a node on which Alice has a quota for all models.
fn alice_with(quota_bytes: u64) -> World {
    let mut world = World::new();
    let quota = Some(quota_bytes);
    world.grant_with(Operator, Alice, Role::Uploader, None, None, quota).unwrap();
    world
}

/// Return what is used of a quota, by asking for more than there is.
fn used(world: &mut World, user: User, name: &str) -> u64 {
    let mut world = world.fork();
    let lease = world.lease(user, name);
    let much = raw_frame(&some_bytes(99, 1_000_000));
    match world.put(user, lease, &[much]) {
        Err(Error::Quota { used_bytes, .. }) => used_bytes,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_an_ended_upload_left_counts_until_it_is_collected() {
    let mut world = alice_with(4_000);
    let lease = world.lease(Alice, "a");
    world.put(Alice, lease, &frames(0..3)).unwrap();
    let end = |world: &mut World, lease| {
        world.store.end_upload(&world.context(Alice), lease).unwrap();
    };
    end(&mut world, lease);
    assert_eq!(used(&mut world, Alice, "a"), 3_000);
    let lease = world.lease(Alice, "a");
    let results = world.put(Alice, lease, &frames(10..12)).unwrap();
    assert_eq!(results, [PutResult::Stored, PutResult::NoRoom]);
    world.collect(false).unwrap();
    assert_eq!(used(&mut world, Alice, "a"), 4_000, "the frames are still stored");
    world.advance(GRACE_NS + HOUR_NS);
    world.lease(Alice, "a");
    assert_eq!(world.collect(false).map(|(freed, _)| freed), Ok(3));
    assert_eq!(used(&mut world, Alice, "a"), 1_000);
    end(&mut world, lease);
    world.collect(true).unwrap();
    assert_eq!(used(&mut world, Alice, "a"), 0, "a forced collection frees at once");
    assert_eq!(world.details().frames, 0);
}

#[test]
fn a_version_counts_all_its_frames_once_and_its_lease_no_longer() {
    let chunks = frames(0..4);
    let checkpoint = Checkpoint::new(&[chunks.clone(), chunks].concat());
    let all = bytes(&frames(0..4)) + bytes(&checkpoint.parts());
    let mut world = alice_with(all);
    assert_eq!(world.sealed(Alice, "llama", &checkpoint), 1);
    assert_eq!(used(&mut world, Alice, "llama"), all, "head, pages and placement too");
    world.reopen();
    world.delete(Alice, "llama", None).unwrap();
    assert_eq!(used(&mut world, Alice, "next"), all, "its frames are still stored");
    world.collect(true).unwrap();
    assert_eq!(used(&mut world, Alice, "next"), 0);
    assert_eq!(world.sealed(Alice, "next", &checkpoint), 1);
}

#[test]
fn what_a_seal_leaves_out_counts_until_it_is_collected() {
    let checkpoint = Checkpoint::new(&frames(0..2));
    let all = bytes(&checkpoint.all_frames());
    let mut world = alice_with(all + 1_000);
    let lease = world.lease(Alice, "llama");
    world.put(Alice, lease, &frames(9..10)).unwrap();
    world.put(Alice, lease, &checkpoint.all_frames()).unwrap();
    world.seal(Alice, lease, &checkpoint.seal("llama")).unwrap();
    assert_eq!(used(&mut world, Alice, "llama"), all + 1_000);
    world.collect(true).unwrap();
    assert_eq!(used(&mut world, Alice, "llama"), all);
}

#[test]
fn a_seal_of_frames_that_others_stored_counts_and_may_be_refused() {
    let public = Checkpoint::new(&frames(0..5));
    let copy = Checkpoint::new(&frames(0..5)[..4]);
    let parts = bytes(&copy.parts());
    let mut world = alice_with(parts + 3_999);
    world.sealed(Operator, "public", &public);
    world.publish("public");
    let lease = world.lease(Alice, "copy");
    world.put(Alice, lease, &copy.parts()).unwrap();
    // What was checked before the quota ended is pinned, and counts.
    let quota = Error::Quota { limit_bytes: parts + 3_999, used_bytes: parts + 3_000 };
    assert_eq!(world.seal(Alice, lease, &copy.seal("copy")), Err(quota));
    world.grant_with(Operator, Alice, Role::Uploader, None, None, Some(parts + 4_000)).unwrap();
    assert_eq!(world.seal(Alice, lease, &copy.seal("copy")), Ok(1));
    assert_eq!(used(&mut world, Alice, "copy"), parts + 4_000);
}

#[test]
fn whom_a_bound_owner_lets_upload_uses_the_quota_of_the_owner() {
    let checkpoint = Checkpoint::new(&frames(0..1));
    let all = bytes(&checkpoint.all_frames());
    let mut world = alice_with(all + 2_000);
    world.sealed(Alice, "llama", &checkpoint);
    world.grant(Alice, Bob, Role::Uploader, Some("llama")).unwrap();
    let lease = world.lease(Bob, "llama");
    let results = world.put(Bob, lease, &frames(10..13)).unwrap();
    assert_eq!(results, [PutResult::Stored, PutResult::Stored, PutResult::NoRoom]);
    let told = world.put(Bob, lease, &frames(13..14));
    assert!(matches!(&told, Err(Error::Conflict(text)) if text.contains("quota")), "{told:?}");
    assert_eq!(used(&mut world, Alice, "new"), all + 2_000);
    // A quota of one's own binds as well.
    world.grant_with(Alice, Bob, Role::Uploader, Some("llama"), None, Some(500)).unwrap();
    let refused = Err(Error::Quota { limit_bytes: 500, used_bytes: 2_000 });
    assert_eq!(world.put(Bob, lease, &frames(13..14)), refused);
}

#[test]
fn a_model_that_was_given_away_counts_on_what_it_was_made_under() {
    let checkpoint = Checkpoint::new(&frames(0..1));
    let all = bytes(&checkpoint.all_frames());
    let mut world = alice_with(all + 1_000);
    world.sealed(Alice, "llama", &checkpoint);
    let give = |world: &mut World, by: User, to: User| {
        let transfer = Transfer { model: "llama".into(), to: to.principal() };
        world.store.transfer_model(&world.context(by), transfer).unwrap();
    };
    give(&mut world, Alice, Bob);
    let lease = world.lease(Bob, "llama");
    let results = world.put(Bob, lease, &frames(10..12)).unwrap();
    assert_eq!(results, [PutResult::Stored, PutResult::NoRoom]);
    assert_eq!(used(&mut world, Alice, "next"), all + 1_000);
    // A controller who gives it away answers for it from then on.
    give(&mut world, Operator, Bob);
    assert_eq!(world.put(Bob, lease, &frames(10..12)).unwrap()[1], PutResult::Stored);
    assert_eq!(world.begin(Bob, "llama").map(|lease| lease.frames), Ok(2), "the lease goes on");
    world.advance(GRACE_NS + HOUR_NS);
    world.collect(false).unwrap();
    assert_eq!(used(&mut world, Alice, "next"), all);
}

#[test]
fn neither_a_revocation_nor_an_expiry_nor_a_grant_of_ones_own_lifts_a_quota() {
    let checkpoint = Checkpoint::new(&frames(0..1));
    let quota = bytes(&checkpoint.all_frames()) + 1_000;
    let mut world = alice_with(quota);
    world.sealed(Alice, "llama", &checkpoint);
    let lease = world.lease(Alice, "llama");
    world.put(Alice, lease, &frames(1..2)).unwrap();
    let refused = Err(Error::Quota { limit_bytes: quota, used_bytes: quota });
    let more = frames(5..6);
    assert_eq!(world.put(Alice, lease, &more), refused);
    world.grant(Alice, Alice, Role::Uploader, Some("llama")).unwrap();
    assert_eq!(world.put(Alice, lease, &more), refused, "a grant of one's own");
    let expires = Some(world.now_ns + 1);
    world.grant_with(Operator, Alice, Role::Uploader, None, expires, Some(quota)).unwrap();
    world.advance(1);
    assert_eq!(world.put(Alice, lease, &more), refused, "an expiry");
    let revoke = Revoke { to: Alice.principal(), role: Role::Uploader, model: None };
    world.store.revoke(&world.context(Operator), revoke).unwrap();
    assert_eq!(world.put(Alice, lease, &more), refused, "a revocation");
    world.grant_with(Operator, Alice, Role::Uploader, None, None, Some(quota)).unwrap();
    assert_eq!(world.put(Alice, lease, &more), refused, "the same grant again");
    world.grant(Operator, Alice, Role::Uploader, None).unwrap();
    assert_eq!(world.put(Alice, lease, &more).unwrap(), [PutResult::Stored]);
}

#[test]
fn a_grant_of_a_controller_on_a_model_is_an_account_of_its_own() {
    let mut world = alice_with(2_000);
    let quota = Some(1_000);
    world.grant_with(Operator, Alice, Role::Uploader, Some("special"), None, quota).unwrap();
    let special = world.lease(Alice, "special");
    let results = world.put(Alice, special, &frames(0..2)).unwrap();
    assert_eq!(results, [PutResult::Stored, PutResult::NoRoom]);
    assert_eq!(used(&mut world, Alice, "other"), 0);
    assert_eq!(used(&mut world, Alice, "special"), 1_000);
}

#[test]
fn pins_count_and_controllers_have_no_quota() {
    let mut world = alice_with(2_000);
    world.sealed(Operator, "public", &Checkpoint::new(&frames(0..4)));
    world.publish("public");
    let lease = world.lease(Alice, "mine");
    let digests: Vec<_> = frames(0..4).iter().map(|frame| hash(frame)).collect();
    assert_eq!(world.pin(Alice, lease, &digests[..2]), Ok(vec![true; 2]));
    let refused = Error::Quota { limit_bytes: 2_000, used_bytes: 2_000 };
    assert_eq!(world.pin(Alice, lease, &digests[2..]), Err(refused));
    world.grant_with(Operator, Operator, Role::Uploader, None, None, Some(1)).unwrap();
    let lease = world.lease(Operator, "own");
    assert_eq!(world.pin(Operator, lease, &digests), Ok(vec![true; 4]));
}
