//! Witnesses tell nothing of the names of models that the caller may not read.
//!
//! Two nodes go through the same history, but for the names of private models. Whoever probes them
//! with models of their own, or with public ones, sees trees of the same shape, hashes replaced by
//! the order in which they appear. What is in a hash is blinded by a salt that nobody knows, so no
//! strategy of probing recovers a name or excludes one.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::User::*;
use crate::support::manifest::*;
use crate::support::*;
use ciborium::Value;
use datanode_store::Digest;
use datanode_store::api::*;
use ic_certification::{fork_hash, labeled_hash, leaf_hash};
use proptest::prelude::*;

const PRIVATE: usize = 6;
const PROBES: usize = 22;
/// Per case 2 nodes, each probed 1 + 2 + ... + 22 times, and as often for the public models.
const CASES: u32 = 20;

fn checkpoint(seed: u64) -> Checkpoint {
    Checkpoint::new(&[raw_frame(&some_bytes(seed, 40))])
}

/// Write the shape of a tree, with each hash as the order in which it appeared first.
fn shape(value: &Value, seen: &mut BTreeMap<Vec<u8>, usize>, out: &mut String) {
    let node = value.as_array().unwrap();
    let kind: u8 = node[0].as_integer().unwrap().try_into().unwrap();
    out.push_str(&format!("({kind}"));
    for part in &node[1..] {
        match part.as_bytes() {
            Some(bytes) if kind == 4 => {
                let next = seen.len();
                let order = *seen.entry(bytes.clone()).or_insert(next);
                out.push_str(&format!(" #{order}"));
            }
            Some(bytes) => out.push_str(&format!(" {bytes:02x?}")),
            None => shape(part, seen, out),
        }
    }
    out.push(')');
}

struct Probing {
    world: World,
    seen: BTreeMap<Vec<u8>, usize>,
    shapes: Vec<String>,
}

impl Probing {
    fn probe(&mut self, user: User, name: &str) {
        let wanted = WitnessRef { model: name.into(), version: None };
        let answer = self.world.store.witness(&self.world.context(user), &wanted).unwrap();
        let tree = ciborium::from_reader(answer.witness.as_slice()).unwrap();
        let mut out = String::new();
        shape(&tree, &mut self.seen, &mut out);
        self.shapes.push(out);
    }
}

/// Let Alice grow a set of probes among the operator's private models and look at each of them after
/// every step, and a stranger at the public ones.
fn probed(private: &[String], probes: &[String], hidden: &[usize]) -> Vec<String> {
    let mut world = World::new();
    world.grant(Operator, Alice, Role::Uploader, None).unwrap();
    for (index, name) in private.iter().enumerate().take(PRIVATE / 2) {
        world.sealed(Operator, name, &checkpoint(100 + index as u64));
    }
    let mut probing = Probing { world, seen: BTreeMap::new(), shapes: Vec::new() };
    let mut late = private[PRIVATE / 2..].iter();
    for (step, name) in probes.iter().enumerate() {
        probing.world.sealed(Alice, name, &checkpoint(1));
        if hidden.contains(&step) {
            if let Some(name) = late.next() {
                probing.world.sealed(Operator, name, &checkpoint(7));
            }
            probing.world.delete(Operator, &private[0], None).unwrap();
            probing.world.sealed(Operator, &private[0], &checkpoint(8));
        }
        for name in &probes[..=step] {
            probing.probe(Alice, name);
        }
        probing.world.publish(name);
        for name in &probes[..=step] {
            probing.probe(Stranger, name);
        }
    }
    probing.shapes
}

fn names(count: usize) -> impl Strategy<Value = Vec<String>> {
    prop::collection::btree_set("[a-e]{1,6}", count).prop_map(|names| names.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn witnesses_have_the_same_shape_whatever_private_models_are_called(
        all in names(2 * PRIVATE + PROBES).prop_shuffle(),
        hidden in prop::collection::vec(0..PROBES, 1..4),
    ) {
        let (one, rest) = all.split_at(PRIVATE);
        let (other, probes) = rest.split_at(PRIVATE);
        let shapes = probed(one, probes, &hidden);
        prop_assert_eq!(shapes.len(), PROBES * (PROBES + 1));
        prop_assert!(shapes.len() * CASES as usize >= 10_000);
        prop_assert_eq!(shapes, probed(other, probes, &hidden));
    }
}

/// Names next to each other, and private ones in every gap or in none: the old tree told them apart.
#[test]
fn neighbours_in_the_tree_are_not_neighbours_by_name() {
    let probes: Vec<_> = (0..PROBES).map(|index| format!("m{index:02}")).collect();
    let between: Vec<_> = (0..PRIVATE).map(|index| format!("m{index:02}x")).collect();
    let outside: Vec<_> = (0..PRIVATE).map(|index| format!("z{index:02}")).collect();
    assert_eq!(probed(&between, &probes, &[1, 5, 9]), probed(&outside, &probes, &[1, 5, 9]));
}

/// Return every hash in a witness for the beacon.
fn hashes(world: &World) -> BTreeSet<Vec<u8>> {
    let wanted = WitnessRef { model: "beacon".into(), version: None };
    let answer = world.store.witness(&world.context(Stranger), &wanted).unwrap();
    let tree: Value = ciborium::from_reader(answer.witness.as_slice()).unwrap();
    let mut seen = BTreeMap::new();
    shape(&tree, &mut seen, &mut String::new());
    seen.into_keys().collect()
}

/// Hash a model as one knows it that has seen it: by its salt, pruned, and its only version.
fn known(world: &World, name: &str) -> (Digest, Vec<u8>) {
    let wanted = WitnessRef { model: name.into(), version: None };
    let answer = world.store.witness(&world.context(Operator), &wanted).unwrap();
    let digests = [answer.manifest.0, answer.placement.0].concat();
    let version = labeled_hash(&1u32.to_be_bytes(), &leaf_hash(&digests));
    let latest = labeled_hash(b"latest", &leaf_hash(&1u32.to_be_bytes()));
    let shown = answer.witness.to_vec();
    let salt = |hash: &Vec<u8>| {
        let salt = <Digest>::try_from(hash.as_slice()).unwrap();
        labeled_hash(name.as_bytes(), &fork_hash(&version, &fork_hash(&latest, &salt)))
    };
    let tree: Value = ciborium::from_reader(shown.as_slice()).unwrap();
    let mut seen = BTreeMap::new();
    shape(&tree, &mut seen, &mut String::new());
    let beacon = hashes(world);
    let hash = seen.keys().find(|hash| beacon.contains(salt(hash).as_slice()));
    let hash = hash.expect("the beacon's witness has the model's hash");
    (salt(hash), hash.clone())
}

#[test]
fn who_could_read_a_model_once_does_not_recognize_it_later() {
    let mut world = World::new();
    for name in ["beacon", "secret"] {
        world.sealed(Operator, name, &checkpoint(3));
        world.publish(name);
    }
    let (seen, salt) = known(&world, "secret");
    let hide = SetVisibility { model: "secret".into(), visibility: Visibility::Private };
    world.store.set_visibility(&world.context(Operator), hide).unwrap();
    world.reopen();
    assert!(!hashes(&world).contains(seen.as_slice()), "made private");
    assert_ne!(known(&world, "secret").1, salt);
    let (seen, salt) = known(&world, "secret");
    world.delete(Operator, "secret", None).unwrap();
    world.sealed(Operator, "secret", &checkpoint(3));
    assert!(!hashes(&world).contains(seen.as_slice()), "made anew");
    let again = hashes(&world);
    assert!(!again.contains(&salt));
}
