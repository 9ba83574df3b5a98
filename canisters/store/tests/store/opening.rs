//! Opening strictly, and running out of memory and cycles without losing anything.

use crate::support::User::*;
use crate::support::manifest::*;
use crate::support::memory::TestMemory;
use crate::support::*;
use datanode_store::api::*;
use datanode_store::{Error, OpenError, Store};
use ic_stable_structures::Memory;
use ic_stable_structures::memory_manager::{MemoryId, MemoryManager};

fn untouched(memory: &TestMemory) -> Option<OpenError> {
    let before = memory.writes();
    let error = Store::open(memory.clone()).err();
    assert_eq!(memory.writes(), before, "the memory is not written to");
    error
}

fn header(memory: &TestMemory) -> impl Memory {
    MemoryManager::init_with_bucket_size(memory.clone(), 256).get(MemoryId::new(0))
}

#[test]
fn foreign_memory_is_left_alone() {
    let empty = TestMemory::default();
    assert_eq!(untouched(&empty), Some(OpenError::Magic { found: [0; 4] }));
    let foreign = TestMemory::default();
    foreign.grow(300);
    foreign.write(0, b"SQLite format 3");
    assert_eq!(untouched(&foreign), Some(OpenError::Magic { found: *b"SQLi" }));
    let refused = Store::create(foreign.clone(), SEED).err();
    assert_eq!(refused, Some(OpenError::NotEmpty { found: 300 * 65_536 }));
    let managed = TestMemory::default();
    MemoryManager::init_with_bucket_size(managed.clone(), 256).get(MemoryId::new(0)).grow(1);
    assert_eq!(untouched(&managed), Some(OpenError::Magic { found: [0; 4] }));
}

#[test]
fn another_magic_another_version_and_a_cut_memory_are_three_errors() {
    let world = World::new();
    let memory = world.memory.snapshot();
    header(&memory).write(0, b"DNSX");
    assert_eq!(untouched(&memory), Some(OpenError::Magic { found: *b"DNSX" }));

    let memory = world.memory.snapshot();
    header(&memory).write(4, &[4]);
    assert_eq!(untouched(&memory), Some(OpenError::Version { found: 4, known: 3 }));

    let memory = world.memory.snapshot();
    header(&memory).write(4, &[2]);
    assert_eq!(untouched(&memory), Some(OpenError::Version { found: 2, known: 3 }));

    let memory = world.memory.snapshot();
    let needed_pages = 1 + 7 * 256; // the frame region has no bucket yet
    memory.set_pages(needed_pages - 1);
    let bytes = |pages: u64| pages * 65_536;
    let error = OpenError::Size { needed: bytes(needed_pages), found: bytes(needed_pages - 1) };
    assert_eq!(untouched(&memory), Some(error));

    let memory = world.memory.snapshot();
    header(&memory).write(56, &u64::MAX.to_le_bytes());
    assert!(matches!(untouched(&memory), Some(OpenError::Size { .. })));

    let memory = world.memory.snapshot();
    memory.write(3, &[2]);
    assert_eq!(untouched(&memory), Some(OpenError::Version { found: 2, known: 1 }));
    let memory = world.memory.snapshot();
    memory.write(6, &128u16.to_le_bytes());
    assert!(matches!(untouched(&memory), Some(OpenError::Size { .. })));
}

#[test]
fn every_opening_error_says_what_is_wrong() {
    let errors = [
        OpenError::Magic { found: *b"DNSX" },
        OpenError::Version { found: 2, known: 1 },
        OpenError::Size { needed: 2, found: 1 },
        OpenError::NotEmpty { found: 1 },
        OpenError::NoRoom { needed: 1 },
    ];
    assert!(errors.iter().all(|error| error.to_string().contains("stable memory")));
}

#[test]
fn a_memory_too_small_for_an_empty_store_is_told() {
    let memory = TestMemory::default();
    memory.refuse_growth();
    let error = Store::create(memory, SEED).err();
    assert_eq!(error, Some(OpenError::NoRoom { needed: (1 + 8 * 256) * 65_536 }));
}

#[test]
fn a_memory_that_does_not_grow_leaves_no_room_and_loses_nothing() {
    let mut world = World::new();
    let lease = world.lease(Operator, "llama");
    world.memory.refuse_growth();
    let mut stored = Vec::new();
    for seed in 0.. {
        let batch: Vec<_> =
            (0..2).map(|half| raw_frame(&some_bytes(2 * seed + half, 1_048_000))).collect();
        let before = world.memory.snapshot();
        match world.put(Operator, lease, &batch) {
            Err(Error::OutOfMemory { asked_bytes }) => {
                assert_eq!(asked_bytes, 256 * 65_536, "one bucket");
                assert!(world.memory.same(&before));
                break;
            }
            Ok(results) => {
                let kept = results.iter().filter(|result| **result == PutResult::Stored).count();
                stored.extend_from_slice(&batch[..kept]);
                assert!(results[kept..].iter().all(|result| *result == PutResult::NoRoom));
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(stored.len(), 16, "a bucket of 16 MiB is full");
    world.reopen();
    let digests: Vec<_> = stored.iter().map(|frame| hash(frame)).collect();
    assert_eq!(world.missing(Operator, lease, &digests), Ok(vec![false; 16]));
    let small = raw_frame(&some_bytes(99, 1_000));
    world.memory.allow_growth();
    assert_eq!(world.put(Operator, lease, &[small]).unwrap(), [PutResult::Stored]);
}

#[test]
fn memory_grows_by_one_bucket_at_a_time() {
    let mut world = World::new();
    let lease = world.lease(Operator, "llama");
    let mut before = world.details().stable_bytes;
    for seed in 0..20 {
        world.put(Operator, lease, &[raw_frame(&some_bytes(seed, 2_000_000))]).unwrap();
        let now = world.details().stable_bytes;
        assert!(now - before <= 16 << 20);
        before = now;
    }
}

#[test]
fn a_put_that_the_balance_does_not_cover_is_refused_with_nothing_lost() {
    let mut world = World::new();
    let lease = world.lease(Operator, "llama");
    let frame = raw_frame(b"weights");
    let before = world.memory.snapshot();
    world.cycles = world.reserve + 44_999_999_999;
    match world.put(Operator, lease, std::slice::from_ref(&frame)) {
        Err(Error::LowCycles { balance, needed }) => {
            assert_eq!(balance, Some(44_999_999_999u64.into()));
            assert_eq!(needed, 45_000_000_000);
        }
        other => panic!("{other:?}"),
    }
    assert!(world.memory.same(&before));
    world.cycles += 1;
    let stored = world.put(Operator, lease, std::slice::from_ref(&frame)).unwrap();
    assert_eq!(stored, [PutResult::Stored]);
    world.cycles = 0;
    let again = world.put(Operator, lease, &[frame.clone(), raw_frame(b"more")]).unwrap();
    assert_eq!(again, [PutResult::AlreadyStored, PutResult::NoRoom]);
}

#[test]
fn growth_asks_for_its_share_of_the_freezing_reserve() {
    let mut world = World::new();
    let lease = world.lease(Operator, "llama");
    let frame = |seed| vec![raw_frame(&some_bytes(seed, 2_000_000))];
    for seed in 0..8 {
        world.put(Operator, lease, &frame(seed)).unwrap();
    }
    world.cycles = world.reserve + 46_000_000_000;
    let refused = world.put(Operator, lease, &frame(8));
    let Err(Error::LowCycles { needed, .. }) = refused else { panic!("{refused:?}") };
    let share = world.reserve * (16 << 20) / ((128 << 20) + 65_536 + (4 << 20));
    assert_eq!(needed, 45_000_000_000 + share);
}

#[test]
fn status_tells_strangers_versions_alone() {
    let world = World::new();
    let status = world.store.status(&world.context(Stranger));
    assert_eq!(status, Status { interface_version: 2, store_version: 3, details: None });
    let details = world.details();
    assert_eq!(details.stable_bytes, (1 + 8 * 256) * 65_536);
    assert!(details.burn_per_day > 0 && details.freezing_days > 1_000);
}

/// Return the size of a region, pages, from the memory manager's header.
fn region_pages(memory: &TestMemory, region: u64) -> u64 {
    let mut pages = [0; 8];
    memory.read(40 + 8 * region, &mut pages);
    u64::from_le_bytes(pages)
}

#[test]
fn the_largest_call_adds_less_to_a_table_than_is_kept_free() {
    let mut world = World::new();
    let chunks: Vec<_> = (0..16_384u64).map(|i| raw_frame(&i.to_le_bytes())).collect();
    world.sealed(Operator, "llama", &Checkpoint::new(&chunks));
    let digests: Vec<_> = chunks.iter().map(|frame| hash(frame)).collect();
    // The first lease of a frame has no row of its own, the second has.
    let first = world.lease(Operator, "first");
    world.pin(Operator, first, &digests).unwrap();
    let lease = world.lease(Operator, "other");
    let before: Vec<u64> = (0..8).map(|region| region_pages(&world.memory, region)).collect();
    assert!(before.iter().all(|pages| *pages > 0), "{before:?}");
    world.pin(Operator, lease, &digests).unwrap();
    let grown = (0..8).map(|region| region_pages(&world.memory, region) - before[region as usize]);
    let most = grown.max().unwrap();
    assert!((1..=32).contains(&most), "{most} pages of the 64 that are kept free");
}

/// Return a region of a node's memory as its own manager would.
fn region(memory: &TestMemory, id: u8) -> impl Memory + use<> {
    MemoryManager::init_with_bucket_size(memory.clone(), 256).get(MemoryId::new(id))
}

#[test]
fn a_node_whose_memory_is_full_can_be_emptied() {
    for table in [1, 3, 4, 5, 6, 7] {
        let mut world = World::new();
        let checkpoint = Checkpoint::new(&[raw_frame(b"weights")]);
        world.sealed(Operator, "llama", &checkpoint);
        let lease = world.lease(Operator, "phi");
        let grow = |world: &World, pages| region(&world.memory, table).grow(pages);
        grow(&world, 150 - region(&world.memory, table).size());
        world.reopen();
        world.memory.refuse_growth();
        let digests = [hash(&checkpoint.chunks[0])];
        let refused = [
            world.put(Operator, lease, &checkpoint.chunks).map(|_| ()),
            world.pin(Operator, lease, &digests).map(|_| ()),
            world.seal(Operator, lease, &checkpoint.seal("phi")).map(|_| ()),
            world.begin(Operator, "gpt").map(|_| ()),
            world.grant(Operator, Bob, Role::Reader, None),
        ];
        let full = Err(Error::OutOfMemory { asked_bytes: 1 << 24 });
        assert!(refused.iter().all(|answer| *answer == full), "{refused:?}");
        // Between the last upload and now, freeing has used up room of its own.
        grow(&world, 40);
        world.reopen();
        assert_eq!(world.begin(Operator, "phi").map(|lease| lease.id), Ok(lease));
        world.store.end_upload(&world.context(Operator), lease).unwrap();
        world.delete(Operator, "llama", None).unwrap();
        assert_eq!(world.collect(true).map(|(frames, _)| frames), Ok(5));
        assert_eq!(world.details().frames, 0);
    }
}
