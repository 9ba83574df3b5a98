//! Whatever happens to a node, it does not panic: callers who mean harm, memory that does not grow,
//! cycles that run out, bits that flip in stored frames, and upgrades in between.
//!
//! `STORE_CASES` tells how many walks of 150 operations are taken.

use datanode_store::api::*;
use datanode_store::{Found, Store};
use proptest::prelude::*;

use crate::quota_walks::{Act, NAMES, Walk, Who, acts};
use crate::support::User::*;
use crate::support::*;

#[derive(Clone, Debug)]
enum Blow {
    Act(Act),
    /// Let the memory grow no further, or again.
    Refuse(bool),
    /// Have no cycles above the reserve, or enough again.
    Drain(bool),
    Flip(prop::sample::Index, prop::sample::Index),
    Scrub,
    Ask(Who, usize, Option<u32>, Vec<u8>),
}

fn blows() -> impl Strategy<Value = Blow> {
    let who = prop::sample::select(vec![Who::Alice, Who::Bob, Who::Carol]);
    let cursor = prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        30 => acts().prop_map(Blow::Act),
        2 => any::<bool>().prop_map(Blow::Refuse),
        1 => any::<bool>().prop_map(Blow::Drain),
        2 => (any::<prop::sample::Index>(), any::<prop::sample::Index>())
            .prop_map(|(frame, byte)| Blow::Flip(frame, byte)),
        1 => Just(Blow::Scrub),
        3 => (who, 0..NAMES.len(), prop::option::of(0..5u32), cursor)
            .prop_map(|(w, n, v, c)| Blow::Ask(w, n, v, c)),
    ]
}

/// Ask everything that a query tells.
fn ask(walk: &Walk, who: Who, name: usize, version: Option<u32>, cursor: &[u8]) {
    let (context, model) = (walk.context(who), NAMES[name].to_string());
    let store: &Store<_> = &walk.world.store;
    let lease = walk.lease(name);
    let _ = store.models(&context, None);
    let _ = store.tensor_list(&context, &model, version, cursor);
    let _ = store.lease_frames(&context, lease, cursor);
    let digests: Vec<_> = walk.frames.iter().map(|frame| Hash(hash(frame))).collect();
    let _ = store.missing_frames(&context, lease, &digests);
    let _ = store.witness(&context, &WitnessRef { model: model.clone(), version });
    for found in store.model(&context, &model).iter().flat_map(|found| &found.versions) {
        let (model, manifest) = (model.clone(), found.manifest);
        let chunks = vec![0, found.chunks.saturating_sub(1), found.chunks];
        let found = store.find_frames(&context, &FrameRef { model, manifest, chunks });
        for found in found.into_iter().flat_map(|found| found.answers) {
            if let Found::Frame(frame) = found {
                store.read_frame(frame, 0, &mut vec![0; frame.length]);
            }
        }
        for part in [ManifestPart::Head, ManifestPart::ChunkPage(0), ManifestPart::TensorPage(9)] {
            let model = NAMES[name].to_string();
            let _ = store.get_manifest(&context, &PartRef { model, manifest, part });
        }
    }
}

fn strike(walk: &mut Walk, blow: Blow) {
    match blow {
        Blow::Act(act) => walk.act(act),
        Blow::Refuse(true) => walk.world.memory.refuse_growth(),
        Blow::Refuse(false) => walk.world.memory.allow_growth(),
        Blow::Drain(drained) => {
            walk.world.cycles = walk.world.reserve * if drained { 1 } else { 10 };
        }
        Blow::Flip(frame, byte) => {
            let frames = [walk.frames.clone(), walk.public.all_frames()].concat();
            let frame = frame.get(&frames);
            if let Some(at) = walk.world.memory.find(frame) {
                walk.world.memory.flip(at + byte.index(frame.len()) as u64);
            }
        }
        Blow::Scrub => {
            let _ = walk.world.store.scrub(&walk.world.context(Operator), &[], u64::MAX);
        }
        Blow::Ask(who, name, version, cursor) => ask(walk, who, name, version, &cursor),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("STORE_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(32),
        max_shrink_iters: 2_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_makes_a_node_panic(script in prop::collection::vec(blows(), 150)) {
        let mut walk = Walk::new();
        for blow in script {
            strike(&mut walk, blow);
        }
        walk.world.memory.allow_growth();
        walk.world.reopen();
        let details = walk.world.details();
        prop_assert!(details.frame_bytes <= details.stable_bytes);
    }
}
