//! `begin_upload` refuses announced frames that do not fit, so that nobody pays for their messages.

use crate::support::User::*;
use crate::support::manifest::*;
use crate::support::*;
use datanode_store::Error;
use datanode_store::api::*;
use datanode_store::limits::*;
use proptest::prelude::*;

/// Bytes of a bucket, by which memory grows.
const BUCKET: u64 = 256 * 65_536;

fn frame(seed: u64, bytes: usize) -> Vec<Vec<u8>> {
    vec![raw_frame(&some_bytes(seed, bytes - 64))]
}

fn alice_with(quota: u64) -> World {
    let mut world = World::new();
    world.grant_with(Operator, Alice, Role::Uploader, None, None, Some(quota)).unwrap();
    world
}

#[test]
fn announced_bytes_count_on_quotas() {
    let mut world = alice_with(10_000);
    assert!(world.announce(Alice, "llama", 1, 10_000).is_ok());
    let quota = |used_bytes| Error::Quota { limit_bytes: 10_000, used_bytes };
    assert_eq!(world.announce(Alice, "llama", 2, 10_001), Err(quota(0)));
    let lease = world.lease(Alice, "llama");
    world.put(Alice, lease, &frame(1, 4_000)).unwrap();
    assert!(world.announce(Alice, "llama", 1, 6_000).is_ok());
    assert_eq!(world.announce(Alice, "llama", 1, 6_001), Err(quota(4_000)));
    assert_eq!(world.announce(Alice, "other", 1, 6_001), Err(quota(4_000)));
    assert_eq!(world.details().leases, 1, "a refused announcement makes no lease");
    assert!(world.announce(Alice, "llama", 0, 0).is_ok(), "a lease in any case");
}

#[test]
fn an_account_that_takes_a_lease_over_must_have_room_for_both() {
    let mut world = alice_with(10_000);
    let lease = world.lease(Alice, "llama");
    world.put(Alice, lease, &frame(1, 4_000)).unwrap();
    let quota = Some(5_000);
    world.grant_with(Operator, Alice, Role::Uploader, Some("llama"), None, quota).unwrap();
    assert!(world.announce(Alice, "llama", 1, 1_000).is_ok());
    let refused = Err(Error::Quota { limit_bytes: 5_000, used_bytes: 0 });
    assert_eq!(world.announce(Alice, "llama", 1, 1_001), refused);
}

#[test]
fn a_name_that_another_one_uploads_is_told_before_a_lack_of_room() {
    let mut world = alice_with(1_000);
    world.lease(Operator, "llama");
    assert!(matches!(world.announce(Alice, "llama", 1, 9_999), Err(Error::LeaseHeld { .. })));
}

#[test]
fn announced_bytes_need_cycles_and_grow_no_memory() {
    let mut world = World::new();
    world.lease(Operator, "llama");
    world.cycles = world.reserve + SPARE_CYCLES - 1;
    assert!(matches!(world.announce(Operator, "llama", 1, 1), Err(Error::LowCycles { .. })));
    world.cycles += 1;
    let before = world.details().stable_bytes;
    assert!(world.announce(Operator, "llama", 1, 1).is_ok());
    let Err(Error::LowCycles { needed, .. }) = world.announce(Operator, "llama", 99, 10 * BUCKET)
    else {
        panic!("ten buckets raise the reserve");
    };
    world.cycles = world.reserve + needed;
    assert!(world.announce(Operator, "llama", 99, 10 * BUCKET).is_ok());
    assert_eq!(world.details().stable_bytes, before);
}

#[test]
fn announced_bytes_beyond_the_largest_memory_are_refused() {
    let mut world = World::new();
    world.reserve = 0;
    let refused = world.announce(Operator, "llama", 1, MAX_STABLE_BYTES);
    assert!(matches!(refused, Err(Error::OutOfMemory { .. })), "{refused:?}");
    let refused = world.announce(Operator, "llama", 1, MAX_STABLE_BYTES + 1);
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
}

#[test]
fn a_memory_that_does_not_grow_refuses_what_is_announced_beyond_it() {
    let mut world = World::new();
    let lease = world.lease(Operator, "llama");
    world.memory.refuse_growth();
    assert!(world.announce(Operator, "llama", 1, 2_000_000).is_ok());
    let mut seed = 0;
    while world.announce(Operator, "llama", 1, 2_000_000).is_ok() {
        let stored = world.put(Operator, lease, &frame(seed, 2_000_000)).unwrap();
        assert_eq!(stored, [PutResult::Stored], "what was admitted is stored");
        seed += 1;
    }
    assert_eq!(seed, 8, "a bucket holds eight");
    assert!(world.put(Operator, lease, &frame(seed, 2_000_000)).is_err());
    world.memory.allow_growth();
    assert!(world.announce(Operator, "llama", 1, 2_000_000).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// One frame is stored if and only if it was admitted, also in a memory full of gaps.
    #[test]
    fn a_frame_is_stored_if_it_was_admitted(
        sizes in prop::collection::vec(64usize..2_000_000, 4..14),
        kept in any::<u16>(),
        quota in 1_000_000u64..30_000_000,
        next in 65usize..2_080_832,
    ) {
        let mut world = alice_with(quota);
        world.memory.refuse_growth();
        for (index, bytes) in sizes.iter().enumerate() {
            let name = format!("model-{index}");
            let lease = world.lease(Alice, &name);
            let _ = world.put(Alice, lease, &frame(index as u64, *bytes));
            if kept >> index & 1 == 0 {
                world.store.end_upload(&world.context(Alice), lease).unwrap();
            }
        }
        world.collect(true).unwrap();
        let lease = world.lease(Alice, "next");
        let admitted = world.announce(Alice, "next", 1, next as u64);
        let stored = world.put(Alice, lease, &frame(99, next));
        match admitted {
            Ok(_) => prop_assert_eq!(stored, Ok(vec![PutResult::Stored])),
            Err(error) => prop_assert_eq!(
                std::mem::discriminant(&error),
                std::mem::discriminant(&stored.unwrap_err())
            ),
        }
    }
}
