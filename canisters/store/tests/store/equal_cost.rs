//! A put accesses memory as often whether others store the frame or nobody does.
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
