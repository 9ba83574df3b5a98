//! How many leases there may be, which give way, and what controllers do about them.

use crate::support::User::*;
use crate::support::manifest::*;
use crate::support::*;
use datanode_store::Error;
use datanode_store::api::*;
use datanode_store::limits::*;

fn uploaders() -> World {
    let mut world = World::new();
    world.grant(Operator, Alice, Role::Uploader, None).unwrap();
    world.grant(Operator, Bob, Role::Uploader, None).unwrap();
    world
}

fn frames(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|seed| raw_frame(&some_bytes(seed, 90))).collect()
}

#[test]
fn two_thousand_begins_of_one_uploader_leave_room_for_others() {
    let mut world = uploaders();
    let kept = frames(3);
    let bobs = world.lease(Bob, "bobs");
    world.put(Bob, bobs, &kept).unwrap();
    world.advance(2 * LEASE_NS);
    let begun: Vec<_> =
        (0..2_000).map(|index| world.begin(Alice, &format!("flood-{index}"))).collect();
    let (taken, refused) = begun.split_at(MAX_LEASES_A_HOLDER);
    assert!(taken.iter().all(Result::is_ok));
    assert!(refused.iter().all(|answer| matches!(answer, Err(Error::Conflict(_)))));
    assert!(world.begin(Bob, "others").is_ok() && world.begin(Operator, "more").is_ok());
    let again = world.begin(Bob, "bobs").unwrap();
    assert_eq!((again.id, again.frames), (bobs, 3), "an expired lease with frames is kept");
}

#[test]
fn an_expired_lease_gives_way_to_another_one_of_its_holder() {
    let mut world = uploaders();
    let first = world.lease(Alice, "model-0");
    world.put(Alice, first, &frames(1)).unwrap();
    for index in 1..MAX_LEASES_A_HOLDER {
        world.advance(1);
        world.lease(Alice, &format!("model-{index}"));
    }
    assert!(matches!(world.begin(Alice, "one-more"), Err(Error::Conflict(_))));
    world.advance(LEASE_NS);
    assert!(world.begin(Alice, "one-more").is_ok());
    let leases = world.store.leases(&world.context(Operator), None).unwrap().leases;
    assert_eq!(leases.len(), MAX_LEASES_A_HOLDER);
    let held = |name: &str| leases.iter().any(|lease| lease.model == name);
    assert!(held("model-0"), "it holds a frame");
    assert!(!held("model-1") && held("model-2"), "the oldest of those that hold none");
    world.reopen();
}

#[test]
fn a_flood_of_principals_gives_way_when_it_has_expired() {
    let mut world = uploaders();
    let bobs = world.lease(Bob, "bobs");
    world.put(Bob, bobs, &frames(2)).unwrap();
    let flooders = (1..=MAX_LEASES as usize / MAX_LEASES_A_HOLDER).map(|it| [it as u8; 29]);
    let begin = |world: &mut World, caller: &[u8; 29], name: String| {
        let caller = candid::Principal::self_authenticating(caller);
        let grant = Grant {
            to: caller,
            role: Role::Uploader,
            model: None,
            expires_ns: None,
            quota_bytes: None,
        };
        world.store.grant(&world.context(Operator), grant).unwrap();
        let context = datanode_store::Context { caller, ..world.context(Alice) };
        let upload = Upload { model: name, frames: 1, frame_bytes: 1, takeover: false };
        let lease = world.store.begin_upload(&context, upload)?;
        let frame = raw_frame(b"one cheap frame");
        world.store.put_frames(&context, lease.id, &vec![frame.as_slice()]).unwrap();
        Ok::<_, Error>(lease)
    };
    let mut refused = 0;
    for (number, flooder) in flooders.enumerate() {
        for index in 0..MAX_LEASES_A_HOLDER {
            refused += usize::from(
                begin(&mut world, &flooder, format!("flood-{number}-{index}")).is_err(),
            );
        }
    }
    assert_eq!((refused, world.details().leases), (1, MAX_LEASES), "Bob's lease is one of all");
    assert!(matches!(world.begin(Alice, "alices"), Err(Error::Conflict(_))));
    world.advance(LEASE_NS);
    assert!(world.begin(Alice, "alices").is_ok(), "at once");
    assert_eq!(world.begin(Bob, "bobs").map(|lease| (lease.id, lease.frames)), Ok((bobs, 2)));
}

#[test]
fn controllers_list_and_end_leases_and_nobody_else_does() {
    let mut world = uploaders();
    let alices = world.lease(Alice, "alices");
    let ids: Vec<_> = (0..30).map(|index| world.lease(Bob, &format!("bobs-{index}"))).collect();
    let page = world.store.leases(&world.context(Operator), None).unwrap();
    assert_eq!((page.leases.len(), page.next), (31, None));
    assert!(page.leases.is_sorted_by_key(|lease| lease.id));
    let after = page.leases[6].id;
    let rest = world.store.leases(&world.context(Operator), Some(after)).unwrap();
    assert_eq!(rest.leases, page.leases[7..]);
    for user in [Alice, Bob, Stranger] {
        let context = world.context(user);
        assert_eq!(world.store.leases(&context, None), Err(Error::Unauthorized));
        assert_eq!(world.store.end_lease(&context, alices), Err(Error::Unauthorized));
    }
    let operator = world.context(Operator);
    assert_eq!(world.store.end_lease(&operator, ids[0]), Ok(()));
    assert!(matches!(world.store.end_lease(&operator, ids[0]), Err(Error::NotFound(_))));
    assert_eq!(world.put(Bob, ids[0], &[]), Err(Error::LeaseLost));
    assert_eq!(world.details().leases, 30);
    assert!(world.begin(Alice, "bobs-0").is_ok());
}

#[test]
fn who_uploads_a_model_is_told_to_controllers_and_its_owner() {
    let mut world = uploaders();
    world.sealed(Alice, "llama", &Checkpoint::new(&frames(1)));
    world.grant(Alice, Bob, Role::Uploader, Some("llama")).unwrap();
    let told = |world: &mut World, user, name: &str| match world.begin(user, name) {
        Err(Error::LeaseHeld { holder, .. }) => holder,
        other => panic!("{other:?}"),
    };
    world.lease(Bob, "llama");
    assert_eq!(told(&mut world, Alice, "llama"), Some(Bob.principal()));
    assert_eq!(told(&mut world, Operator, "llama"), Some(Bob.principal()));
    world.begin_with(Alice, "llama", true).unwrap();
    assert_eq!(told(&mut world, Bob, "llama"), None, "not to an uploader");
    world.lease(Alice, "new");
    assert_eq!(told(&mut world, Bob, "new"), None);
}

#[test]
fn a_frame_under_any_lease_of_the_caller_is_held_for_it_and_for_no_one_else() {
    let mut world = uploaders();
    let batch = frames(3);
    let digests: Vec<_> = batch.iter().map(|frame| hash(frame)).collect();
    let first = world.lease(Alice, "first");
    let bobs = world.lease(Bob, "bobs");
    world.put(Bob, bobs, &batch[..1]).unwrap();
    world.put(Alice, first, &batch[..2]).unwrap();
    let second = world.lease(Alice, "second");
    assert_eq!(world.missing(Alice, second, &digests), Ok(vec![false, false, true]));
    assert_eq!(world.missing(Bob, bobs, &digests), Ok(vec![false, true, true]));
    let again = world.put(Alice, second, &batch[..1]).unwrap();
    assert_eq!(again, [PutResult::AlreadyStored]);
    assert_eq!(world.pin(Alice, second, &digests), Ok(vec![true, true, false]));
    assert_eq!(world.pin(Bob, bobs, &digests), Ok(vec![true, false, false]));
    let count = |world: &mut World, user, name: &str| world.begin(user, name).unwrap().frames;
    assert_eq!(count(&mut world, Alice, "first"), 2, "a pin moves nothing");
    assert_eq!(count(&mut world, Alice, "second"), 2);
    // Each lease holds by itself.
    world.store.end_upload(&world.context(Alice), first).unwrap();
    world.store.end_upload(&world.context(Bob), bobs).unwrap();
    assert_eq!(world.collect(true).map(|(frames, _)| frames), Ok(1), "the copy that Bob put");
    assert_eq!(world.missing(Alice, second, &digests), Ok(vec![false, false, true]));
    world.store.end_upload(&world.context(Alice), second).unwrap();
    let third = world.lease(Alice, "third");
    assert_eq!(world.missing(Alice, third, &digests), Ok(vec![true, true, true]));
    assert_eq!(world.collect(true).map(|(frames, _)| frames), Ok(2));
}

#[test]
fn a_model_is_sealed_from_frames_of_all_leases_of_its_uploader() {
    let mut world = uploaders();
    let checkpoint = Checkpoint::new(&frames(4));
    let parts = world.lease(Alice, "parts");
    world.put(Alice, parts, &checkpoint.chunks).unwrap();
    let lease = world.lease(Alice, "llama");
    world.put(Alice, lease, &checkpoint.parts()).unwrap();
    assert_eq!(world.seal(Alice, lease, &checkpoint.seal("llama")), Ok(1));
    world.store.end_upload(&world.context(Alice), parts).unwrap();
    assert_eq!(world.collect(true), Ok((0, 0)));
    let answers = world.frames(Alice, "llama", checkpoint.manifest(), &[0, 1, 2, 3]).unwrap();
    assert!(answers.iter().all(|answer| matches!(answer, FrameAnswer::Frame(_))));
}

#[test]
fn rows_of_ended_leases_do_not_pile_up() {
    let mut world = uploaders();
    let frame = frames(1);
    let first = world.lease(Bob, "first");
    world.put(Bob, first, &frame).unwrap();
    let rows = |world: &World| world.memory.lines().len();
    let mut counts = Vec::new();
    for _ in 0..40 {
        let lease = world.lease(Alice, "again");
        world.put(Alice, lease, &frame).unwrap();
        world.store.end_upload(&world.context(Alice), lease).unwrap();
        counts.push(rows(&world));
    }
    assert!(counts[39] <= counts[9] + 4, "{counts:?}");
}
