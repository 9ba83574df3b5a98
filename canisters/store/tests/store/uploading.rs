//! Leases, puts and pins.

use crate::support::User::*;
use crate::support::manifest::*;
use crate::support::*;
use datanode_store::Error;
use datanode_store::api::*;
use datanode_store::limits::*;

fn frames(count: u64, length: usize) -> Vec<Vec<u8>> {
    (0..count).map(|seed| raw_frame(&some_bytes(seed, length))).collect()
}

#[test]
fn each_frame_has_its_own_result_and_a_repeat_is_already_stored() {
    let mut world = World::new();
    let lease = world.lease(Operator, "llama");
    let frame = raw_frame(b"weights");
    let mut wrong_magic = frame.clone();
    wrong_magic[0] ^= 1;
    let longer = [frame.clone(), vec![0]].concat();
    let batch = [frame.clone(), wrong_magic, longer, vec![], frame.clone()];
    let results = world.put(Operator, lease, &batch).unwrap();
    assert_eq!((&results[0], &results[4]), (&PutResult::Stored, &PutResult::AlreadyStored));
    for bad in &results[1..4] {
        assert!(matches!(bad, PutResult::Bad(text) if !text.is_empty()), "{bad:?}");
    }
    world.reopen();
    assert_eq!(world.put(Operator, lease, &[frame]).unwrap(), [PutResult::AlreadyStored]);
    let details = world.details();
    assert_eq!((details.frames, details.frame_bytes, details.leases), (1, 71, 1));
}

#[test]
fn a_lease_counts_what_it_holds_and_lists_it() {
    let mut world = World::new();
    let lease = world.lease(Operator, "llama");
    let batch = frames(5, 300);
    world.put(Operator, lease, &batch).unwrap();
    world.put(Operator, lease, &batch[..2]).unwrap();
    let described = world.begin(Operator, "llama").unwrap();
    assert_eq!((described.frames, described.frame_bytes), (5, 5 * 364));
    let page = world.store.lease_frames(&world.context(Operator), lease, &[]).unwrap();
    assert_eq!((page.frames.len(), page.next), (5, None));
    for held in &page.frames {
        let frame = batch.iter().find(|frame| hash(frame) == held.frame.0).unwrap();
        assert_eq!((held.bytes, held.raw_bytes, held.codec, held.element), (364, 300, 0, 0));
        assert_eq!(held.content.0, hash(&frame[64..]));
    }
    let after = page.frames[2].frame.0;
    let rest = world.store.lease_frames(&world.context(Operator), lease, &after).unwrap();
    assert_eq!(rest.frames, page.frames[3..]);
    let wrong = world.store.lease_frames(&world.context(Operator), lease, &[1]);
    assert!(matches!(wrong, Err(Error::BadRequest(_))));
}

#[test]
fn a_lease_of_many_frames_is_listed_in_pages() {
    let mut world = World::new();
    let lease = world.lease(Operator, "llama");
    for batch in frames(HELD_A_PAGE as u64 + 3, 8).chunks(250) {
        world.put(Operator, lease, batch).unwrap();
    }
    let first = world.store.lease_frames(&world.context(Operator), lease, &[]).unwrap();
    assert_eq!(first.frames.len(), HELD_A_PAGE);
    let next = first.next.unwrap();
    let second = world.store.lease_frames(&world.context(Operator), lease, &next).unwrap();
    assert_eq!((second.frames.len(), second.next), (3, None));
}

#[test]
fn a_lease_is_the_holders_until_it_expires_and_as_long_as_nobody_takes_it() {
    let mut world = World::new();
    world.grant(Operator, Alice, Role::Uploader, None).unwrap();
    world.grant(Operator, Bob, Role::Uploader, None).unwrap();
    let first = world.begin(Alice, "llama").unwrap();
    assert_eq!(first.expires_ns, world.now_ns + LEASE_NS);
    let held = Error::LeaseHeld { holder: None, expires_ns: world.now_ns + LEASE_NS };
    assert_eq!(world.begin(Bob, "llama"), Err(held.clone()));
    assert_eq!(world.begin_with(Bob, "llama", true), Err(held));
    world.put(Alice, first.id, &frames(1, 9)).unwrap();
    world.advance(2 * LEASE_NS);
    assert_eq!(world.begin(Alice, "llama").unwrap().id, first.id, "nobody took it");
    world.advance(LEASE_NS);
    let second = world.begin(Bob, "llama").unwrap();
    assert!(second.id != first.id && second.frames == 0);
    let lost = [
        world.put(Alice, first.id, &[]).map(|_| ()),
        world.pin(Alice, first.id, &[]).map(|_| ()),
        world.missing(Alice, first.id, &[]).map(|_| ()),
        world.store.renew_upload(&world.context(Alice), first.id).map(|_| ()),
        world.store.end_upload(&world.context(Alice), first.id),
        world.store.lease_frames(&world.context(Alice), first.id, &[]).map(|_| ()),
    ];
    assert!(lost.iter().all(|answer| *answer == Err(Error::LeaseLost)), "{lost:?}");
    assert_eq!(world.missing(Bob, second.id, &[hash(&frames(1, 9)[0])]), Ok(vec![true]));
}

#[test]
fn controller_and_owner_take_over_at_once() {
    let mut world = World::new();
    world.grant(Operator, Alice, Role::Uploader, None).unwrap();
    world.sealed(Alice, "llama", &Checkpoint::new(&frames(1, 9)));
    world.grant(Alice, Bob, Role::Uploader, Some("llama")).unwrap();
    let bobs = world.lease(Bob, "llama");
    let owners = world.begin_with(Alice, "llama", true).unwrap().id;
    assert_ne!(bobs, owners);
    assert!(matches!(world.begin_with(Bob, "llama", true), Err(Error::LeaseHeld { .. })));
    assert_ne!(world.begin_with(Operator, "llama", true).unwrap().id, owners);
    assert_eq!(world.details().leases, 1);
}

#[test]
fn arguments_are_bounded() {
    let mut world = World::new();
    for name in ["", "a b", "caf\u{e9}", "a/../b", "..", &"x".repeat(129), "a\n"] {
        assert!(matches!(world.begin(Operator, name), Err(Error::BadRequest(_))), "{name:?}");
    }
    let lease = world.lease(Operator, &"x".repeat(128));
    let too_many = vec![vec![]; MAX_MESSAGE_FRAMES + 1];
    let refused = Err(Error::TooLarge { limit: 256, got: 257 });
    assert_eq!(world.put(Operator, lease, &too_many), refused);
    let refused = Err(Error::TooLarge { limit: 16_384, got: 16_385 });
    assert_eq!(world.missing(Operator, lease, &[[0; 32]; 16_385]), refused);
    assert_eq!(world.pin(Operator, lease, &[[0; 32]; 16_385]), refused);
}

#[test]
fn only_frames_that_the_caller_may_read_are_pinned() {
    let mut world = World::new();
    world.grant(Operator, Alice, Role::Uploader, None).unwrap();
    world.grant(Operator, Bob, Role::Uploader, None).unwrap();
    let checkpoint = Checkpoint::new(&frames(3, 100));
    world.sealed(Alice, "llama", &checkpoint);
    let digests: Vec<_> = checkpoint.chunks.iter().map(|frame| hash(frame)).collect();
    let bobs = world.lease(Bob, "phi");
    assert_eq!(world.pin(Bob, bobs, &digests), Ok(vec![false; 3]));
    world.grant(Alice, Bob, Role::Reader, Some("llama")).unwrap();
    assert_eq!(world.missing(Bob, bobs, &digests), Ok(vec![false; 3]), "held by the model");
    assert_eq!(world.pin(Bob, bobs, &digests), Ok(vec![true; 3]));
    world.delete(Alice, "llama", None).unwrap();
    world.advance(15 * DAY_NS - LEASE_NS);
    world.begin(Bob, "phi").unwrap();
    world.collect(true).unwrap();
    assert_eq!(world.missing(Bob, bobs, &digests), Ok(vec![false; 3]), "held by the pins");
    assert_eq!(world.details().frames, 3);
}

#[test]
fn a_put_heals_what_was_damaged_noticed_or_not() {
    let mut world = World::new();
    let lease = world.lease(Operator, "llama");
    let batch = frames(2, 70_000);
    world.put(Operator, lease, &batch).unwrap();
    world.corrupt(&batch[0]);
    let healed = vec![PutResult::Stored, PutResult::AlreadyStored];
    assert_eq!(world.put(Operator, lease, &batch).unwrap(), healed);
    assert_eq!(world.put(Operator, lease, &batch).unwrap(), vec![PutResult::AlreadyStored; 2]);
    world.corrupt(&batch[1]);
    let scrub = world.store.scrub(&world.context(Operator), &[], u64::MAX).unwrap();
    assert_eq!((scrub.corrupt, scrub.checked.len()), (vec![Hash(hash(&batch[1]))], 2));
    assert_eq!(world.details().damaged_frames, 1);
    let digests = [hash(&batch[0]), hash(&batch[1])];
    assert_eq!(world.missing(Operator, lease, &digests), Ok(vec![false, true]));
    assert_eq!(world.put(Operator, lease, &batch[1..]).unwrap(), [PutResult::Stored]);
    assert_eq!(world.details().damaged_frames, 0);
}

#[test]
fn a_scrub_goes_in_steps_of_bytes() {
    let mut world = World::new();
    let lease = world.lease(Operator, "llama");
    world.put(Operator, lease, &frames(5, 936)).unwrap();
    let (mut cursor, mut checked) = (vec![], vec![]);
    loop {
        let step = world.store.scrub(&world.context(Operator), &cursor, 2_500).unwrap();
        checked.push(step.checked.len());
        match step.next {
            None => break,
            Some(next) => cursor = next.into_vec(),
        }
    }
    assert_eq!(checked, [2, 2, 1]);
    let one = world.store.scrub(&world.context(Operator), &[], 0).unwrap();
    assert_eq!(one.checked.len(), 1, "a step checks at least one frame");
}
