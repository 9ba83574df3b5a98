//! The hash tree whose root the subnet certifies.
//!
//! ```text
//! dn
//! +- interface                  u32
//! +- model
//!    +- <name>
//!       +- <version, u32>       manifest digest 32 | placement digest 32
//!       +- latest               u32
//!       +- salt                 32 bytes
//! ```
//!
//! Numbers are big-endian. The salt is BLAKE3 of the name, keyed with the node's blinding seed: a
//! witness for one model shows the others only as hashes, and nobody can guess what is behind a
//! hash that depends on a secret.
//!
//! The labels of a level are sorted and split in halves down to single ones, so that the same models
//! give the same root, whatever their history. (A red-black tree depends on the order of insertion:
//! its root would change with an upgrade.)

use std::collections::BTreeMap;

use datanode_codec::digest::keyed_hash;
use ic_certification::{
    HashTree, empty, fork, fork_hash, labeled, labeled_hash, leaf, leaf_hash, pruned,
};
use ic_stable_structures::Memory;

use crate::catalog::Catalog;
use crate::models::{ModelRow, VersionRow, versions_prefix};
use crate::{Digest, INTERFACE_VERSION};

const ROOT: &[u8] = b"dn";
const INTERFACE: &[u8] = b"interface";
const MODEL: &[u8] = b"model";
const LATEST: &[u8] = b"latest";
const SALT: &[u8] = b"salt";

/// The tree; it lives on the heap and is built anew at opening.
pub struct Tree {
    blinding_seed: Digest,
    models: BTreeMap<Vec<u8>, Branch>,
}

/// What is below the name of a model, and the hash of it all, name included.
struct Branch {
    leaves: BTreeMap<Vec<u8>, Vec<u8>>,
    hash: Digest,
}

/// A labelled node: its hash, and the node itself where a witness shows it.
type Node = (Digest, Option<HashTree>);

impl Branch {
    fn seal(&mut self, name: &[u8]) {
        let hashes = self.leaves.iter().map(|(label, data)| labeled_hash(label, &leaf_hash(data)));
        self.hash = labeled_hash(name, &join(&hashes.collect::<Vec<_>>()));
    }

    fn show(&self, shown: &[&[u8]]) -> HashTree {
        let nodes = self.leaves.iter().map(|(label, data)| {
            let hash = labeled_hash(label, &leaf_hash(data));
            let is_shown = shown.contains(&label.as_slice());
            (hash, is_shown.then(|| labeled(label.clone(), leaf(data.clone()))))
        });
        show(&nodes.collect::<Vec<_>>())
    }
}

impl Tree {
    /// Build the tree of all models.
    pub fn build<M: Memory>(blinding_seed: &Digest, catalog: &Catalog<M>) -> Self {
        let mut tree = Self { blinding_seed: *blinding_seed, models: BTreeMap::new() };
        for (name, model) in catalog.walk::<ModelRow>(b"m", None) {
            if model.latest == 0 {
                continue;
            }
            let mut branch = tree.branch(&name);
            for (_, row) in catalog.walk::<VersionRow>(&versions_prefix(model.id), None) {
                branch.leaves.insert(row.version.to_be_bytes().into(), row.leaf());
            }
            branch.leaves.insert(LATEST.into(), model.latest.to_be_bytes().into());
            branch.seal(&name);
            tree.models.insert(name, branch);
        }
        tree
    }

    fn branch(&self, name: &[u8]) -> Branch {
        let salt = keyed_hash(&self.blinding_seed, name);
        Branch { leaves: BTreeMap::from([(SALT.into(), salt.into())]), hash: salt }
    }

    /// Add a version, which becomes the latest.
    pub fn insert(&mut self, name: &str, row: &VersionRow, latest: u32) {
        let name = name.as_bytes();
        let fresh = self.branch(name);
        let branch = self.models.entry(name.into()).or_insert(fresh);
        branch.leaves.insert(row.version.to_be_bytes().into(), row.leaf());
        branch.leaves.insert(LATEST.into(), latest.to_be_bytes().into());
        branch.seal(name);
    }

    /// Remove versions; `latest` is the highest that is left, 0 for none.
    pub fn remove(&mut self, name: &str, versions: impl Iterator<Item = u32>, latest: u32) {
        let name = name.as_bytes();
        if latest == 0 {
            self.models.remove(name);
        } else if let Some(branch) = self.models.get_mut(name) {
            versions.for_each(|version| {
                branch.leaves.remove(version.to_be_bytes().as_slice());
            });
            branch.leaves.insert(LATEST.into(), latest.to_be_bytes().into());
            branch.seal(name);
        }
    }

    /// Return the root.
    pub fn root(&self) -> Digest {
        let interface = labeled_hash(INTERFACE, &leaf_hash(&INTERFACE_VERSION.to_be_bytes()));
        let models: Vec<Digest> = self.models.values().map(|branch| branch.hash).collect();
        let models = labeled_hash(MODEL, &join(&models));
        labeled_hash(ROOT, &fork_hash(&interface, &models))
    }

    /// Return a tree with the same root that shows one version and which is the latest.
    pub fn witness(&self, name: &str, version: u32) -> HashTree {
        let shown = [version.to_be_bytes().as_slice(), LATEST].map(<[u8]>::to_vec);
        let models = self.models.iter().map(|(label, branch)| {
            let tree = (label == name.as_bytes())
                .then(|| labeled(label.clone(), branch.show(&shown.each_ref().map(Vec::as_slice))));
            (branch.hash, tree)
        });
        let models = show(&models.collect::<Vec<_>>());
        let interface = labeled(INTERFACE, leaf(INTERFACE_VERSION.to_be_bytes()));
        labeled(ROOT, fork(interface, labeled(MODEL, models)))
    }
}

/// Hash a level of the tree.
fn join(hashes: &[Digest]) -> Digest {
    match hashes {
        [] => empty().digest(),
        [one] => *one,
        _ => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            fork_hash(&join(left), &join(right))
        }
    }
}

/// Prune a level of the tree down to what is shown of it.
fn show(nodes: &[Node]) -> HashTree {
    if nodes.iter().all(|(_, shown)| shown.is_none()) {
        return pruned(join(&nodes.iter().map(|(hash, _)| *hash).collect::<Vec<_>>()));
    }
    match nodes {
        [(_, Some(shown))] => shown.clone(),
        _ => {
            let (left, right) = nodes.split_at(nodes.len() / 2);
            fork(show(left), show(right))
        }
    }
}
