//! Memory is accessed as often, and on as many pages, whether others store a frame or nobody does.
//!
//! `tests/hostile/test_equal_cost.py` compares instructions on the real module, over fewer frames.
//! Where a digest lies in the tables decides the cost of a single put, so that groups of frames are
//! compared, each against frames that nobody stores and in the same state of the tables.

use crate::support::User::*;
use crate::support::manifest::*;
use crate::support::*;
use datanode_store::api::*;

const GROUP: usize = 8_000;
const BATCH: usize = 100;
const TOLERANCE: f64 = 0.01;
const ASKED: usize = 200;
/// One; more than one look-up considers; so many that their references fill several nodes of a tree.
const MODELS: [u8; 3] = [1, 9, 40];
/// Frames whose references one seal wrote side by side: a look-up among them finds all on few pages.
const OTHERS: usize = 2_000;

fn group(first: u64) -> Vec<Vec<u8>> {
    (first..first + GROUP as u64).map(|seed| raw_frame(&seed.to_le_bytes())).collect()
}

#[test]
#[ignore = "a minute; make nightly"]
fn a_put_accesses_memory_as_often_whoever_stores_the_frame() {
    let mut world = World::new();
    world.grant(Operator, Alice, Role::Uploader, None).unwrap();
    world.grant(Operator, Bob, Role::Uploader, None).unwrap();
    let groups = [group(0), group(100_000), group(200_000), group(300_000)];
    world.sealed(Bob, "sealed", &Checkpoint::new(&groups[0]));
    let bobs = world.lease(Bob, "leased");
    for batch in groups[1].chunks(BATCH) {
        world.put(Bob, bobs, batch).unwrap();
    }
    let lease = world.lease(Alice, "own");
    let mut accesses = [0u64; 4];
    for at in (0..GROUP).step_by(BATCH) {
        for (sum, frames) in accesses.iter_mut().zip(&groups) {
            let before = world.memory.accesses();
            let results = world.put(Alice, lease, &frames[at..at + BATCH]).unwrap();
            *sum += world.memory.accesses() - before;
            assert!(results.iter().all(|result| *result == PutResult::Stored));
        }
    }
    let [sealed, leased, absent, other] = accesses.map(|sum| sum as f64);
    let absent = (absent + other) / 2.0;
    println!("sealed {:+.3}, leased {:+.3}", sealed / absent - 1.0, leased / absent - 1.0);
    println!("absent {absent}, one group of it {:+.4}", other / absent - 1.0);
    for held in [sealed, leased] {
        assert!((held / absent - 1.0).abs() <= TOLERANCE, "{accesses:?}");
    }
}

/// Ask for frames that others hold and for frames that nobody stores, in nodes where it is the other way
/// round; return how many pages were touched: absent, held.
fn pages_of_look_ups(models: u8) -> [usize; 2] {
    let groups = [group(0), group(100_000)].map(|group| group[..ASKED].to_vec());
    let others = group(200_000)[..OTHERS].to_vec();
    let mut pages = [0; 2];
    for (which, held) in groups.iter().enumerate() {
        let mut world = World::new();
        world.grant(Operator, Alice, Role::Uploader, None).unwrap();
        world.grant(Operator, Bob, Role::Uploader, None).unwrap();
        for number in 0..models {
            let mut frames = held.clone();
            frames.push(raw_frame(&[number]));
            world.sealed(Bob, &format!("secret/{number}"), &Checkpoint::new(&frames));
        }
        world.sealed(Bob, "secret/others", &Checkpoint::new(&others));
        let lease = world.lease(Alice, "own");
        for (asked, group) in groups.iter().enumerate() {
            for frame in group {
                world.memory.take_touched();
                assert_eq!(world.missing(Alice, lease, &[hash(frame)]).unwrap(), [true]);
                pages[usize::from(asked == which)] += world.memory.take_touched();
            }
        }
    }
    pages
}

#[test]
fn a_look_up_touches_as_many_pages_whoever_stores_the_frame() {
    for models in MODELS {
        let [absent, held] = pages_of_look_ups(models).map(|pages| pages as f64);
        println!("{models} models: held {held}, absent {absent}: {:+.4}", held / absent - 1.0);
        assert!((held / absent - 1.0).abs() <= TOLERANCE, "{held} {absent}");
    }
}
