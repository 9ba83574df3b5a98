//! The hash tree: witnesses prove what they should, and survive upgrades and deletions.

use crate::support::User::*;
use crate::support::manifest::*;
use crate::support::*;
use ciborium::Value;
use datanode_store::api::*;
use ic_certification::{HashTree, LookupResult, empty, fork, labeled, leaf as leaf_of, pruned};

fn checkpoint(seed: u64) -> Checkpoint {
    Checkpoint::new(&[raw_frame(&some_bytes(seed, 100))])
}

fn witness(world: &World, model: &str, version: Option<u32>) -> (Witness, HashTree) {
    let wanted = WitnessRef { model: model.into(), version };
    let witness = world.store.witness(&world.context(Operator), &wanted).unwrap();
    let tree = parse(&ciborium::from_reader(witness.witness.as_slice()).unwrap());
    assert_eq!(tree.digest(), world.store.root());
    (witness, tree)
}

/// Read a hash tree by the letter of the interface specification.
pub fn parse(value: &Value) -> HashTree {
    let node = value.as_array().unwrap();
    let bytes = |index: usize| node[index].as_bytes().unwrap().clone();
    match (node[0].as_integer().unwrap().try_into().unwrap(), node.len()) {
        (0u8, 1) => empty(),
        (1, 3) => fork(parse(&node[1]), parse(&node[2])),
        (2, 3) => labeled(bytes(1), parse(&node[2])),
        (3, 2) => leaf_of(bytes(1)),
        (4, 2) => pruned(<[u8; 32]>::try_from(bytes(1)).unwrap()),
        other => panic!("{other:?}"),
    }
}

fn leaf(tree: &HashTree, path: &[&[u8]]) -> Option<Vec<u8>> {
    match tree.lookup_path(path) {
        LookupResult::Found(leaf) => Some(leaf.to_vec()),
        _ => None,
    }
}

#[test]
fn a_witness_shows_interface_latest_and_the_version_and_nothing_else() {
    let mut world = World::new();
    for seed in 0..3 {
        world.sealed(Operator, "llama", &checkpoint(seed));
    }
    for name in ["a", "m", "z"] {
        world.sealed(Operator, name, &checkpoint(9));
    }
    for version in 1..=3u32 {
        let sealed = checkpoint(u64::from(version) - 1);
        let (told, tree) = witness(&world, "llama", Some(version));
        assert_eq!((told.version, told.certificate), (version, None));
        assert_eq!(told.manifest.0, sealed.manifest());
        let number = version.to_be_bytes();
        let digests = [sealed.manifest(), hash(&sealed.placement)].concat();
        assert_eq!(leaf(&tree, &[b"dn", b"model", b"llama", &number]), Some(digests));
        let latest = leaf(&tree, &[b"dn", b"model", b"llama", b"latest"]);
        assert_eq!(latest, Some(vec![0, 0, 0, 3]));
        assert_eq!(leaf(&tree, &[b"dn", b"interface"]), Some(vec![0, 0, 0, 2]));
        assert_eq!(tree.list_paths().len(), 3);
    }
    assert_eq!(witness(&world, "llama", None).0.version, 3);
    let unknown = WitnessRef { model: "llama".into(), version: Some(4) };
    assert!(world.store.witness(&world.context(Operator), &unknown).is_err());
}

#[test]
fn the_root_follows_every_change_and_is_the_same_after_an_upgrade() {
    let mut world = World::new();
    let mut roots = vec![world.store.root()];
    let changed = |world: &mut World, roots: &mut Vec<_>| {
        let root = world.store.root();
        assert!(!roots.contains(&root));
        roots.push(root);
        witness(world, "llama", None);
    };
    for seed in 0..3 {
        world.sealed(Operator, "llama", &checkpoint(seed));
        changed(&mut world, &mut roots);
    }
    for name in ["a", "m", "z", "b"] {
        world.sealed(Operator, name, &checkpoint(9));
        changed(&mut world, &mut roots);
    }
    world.delete(Operator, "m", None).unwrap();
    changed(&mut world, &mut roots);
    world.delete(Operator, "llama", Some(3)).unwrap();
    changed(&mut world, &mut roots);
    world.reopen();
    let latest = leaf(&witness(&world, "llama", None).1, &[b"dn", b"model", b"llama", b"latest"]);
    assert_eq!(latest, Some(vec![0, 0, 0, 2]));
}

#[test]
fn every_change_of_the_tree_gives_a_new_root_to_certify() {
    let mut world = World::new();
    world.sealed(Operator, "llama", &checkpoint(0));
    assert_eq!(world.store.take_root(), Some(world.store.root()));
    assert_eq!(world.store.take_root(), None);
    for visibility in [Visibility::Public, Visibility::Private] {
        let before = world.store.root();
        let change = SetVisibility { model: "llama".into(), visibility };
        world.store.set_visibility(&world.context(Operator), change).unwrap();
        assert_ne!(world.store.root(), before);
        assert_eq!(world.store.take_root(), Some(world.store.root()));
        assert_eq!(world.store.take_root(), None);
    }
}
