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

use datanode_codec::digest::keyed_hash;
use ic_certification::{
    AsHashTree, HashTree, RbTree, fork, fork_hash, labeled, labeled_hash, leaf, leaf_hash,
    merge_hash_trees,
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

type Leaves = RbTree<Vec<u8>, Vec<u8>>;

/// The tree; it lives on the heap and is built anew at opening.
pub struct Tree {
    blinding_seed: Digest,
    models: RbTree<Vec<u8>, Leaves>,
}

impl Tree {
    /// Build the tree of all models.
    pub fn build<M: Memory>(blinding_seed: &Digest, catalog: &Catalog<M>) -> Self {
        let mut tree = Self { blinding_seed: *blinding_seed, models: RbTree::new() };
        for (name, model) in catalog.walk::<ModelRow>(b"m", None) {
            if model.latest == 0 {
                continue;
            }
            let mut leaves = tree.leaves(&name, model.latest);
            for (_, row) in catalog.walk::<VersionRow>(&versions_prefix(model.id), None) {
                leaves.insert(row.version.to_be_bytes().into(), row.leaf());
            }
            tree.models.insert(name, leaves);
        }
        tree
    }

    fn leaves(&self, name: &[u8], latest: u32) -> Leaves {
        let salt = keyed_hash(&self.blinding_seed, name);
        let mut leaves = Leaves::new();
        leaves.insert(LATEST.into(), latest.to_be_bytes().into());
        leaves.insert(SALT.into(), salt.into());
        leaves
    }

    /// Add a version, which becomes the latest.
    pub fn insert(&mut self, name: &str, row: &VersionRow, latest: u32) {
        let name = name.as_bytes();
        if self.models.get(name).is_none() {
            self.models.insert(name.into(), self.leaves(name, latest));
        }
        self.models.modify(name, |leaves| {
            leaves.insert(row.version.to_be_bytes().into(), row.leaf());
            leaves.insert(LATEST.into(), latest.to_be_bytes().into());
        });
    }

    /// Remove a version; `latest` is the highest that is left, 0 for none.
    pub fn remove(&mut self, name: &str, version: u32, latest: u32) {
        let name = name.as_bytes();
        if latest == 0 {
            self.models.delete(name);
            return;
        }
        self.models.modify(name, |leaves| {
            leaves.delete(&version.to_be_bytes());
            leaves.insert(LATEST.into(), latest.to_be_bytes().into());
        });
    }

    /// Return the root.
    pub fn root(&self) -> Digest {
        let interface = labeled_hash(INTERFACE, &leaf_hash(&INTERFACE_VERSION.to_be_bytes()));
        let models = labeled_hash(MODEL, &self.models.root_hash());
        labeled_hash(ROOT, &fork_hash(&interface, &models))
    }

    /// Return a tree with the same root that shows one version and which is the latest.
    pub fn witness(&self, name: &str, version: u32) -> HashTree {
        let models = self.models.nested_witness(name.as_bytes(), |leaves| {
            merge_hash_trees(leaves.witness(&version.to_be_bytes()), leaves.witness(LATEST))
        });
        let interface = labeled(INTERFACE, leaf(INTERFACE_VERSION.to_be_bytes()));
        labeled(ROOT, fork(interface, labeled(MODEL, models)))
    }
}
