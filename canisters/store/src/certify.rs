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
//! Numbers are big-endian. The models hang in a trie (see `trie`) by places that depend on the
//! blinding seed, the model's id and its visibility, and not on names: where a model stands tells
//! nothing of its name, nor which names lie between two others. So a witness proves which models
//! there are, never which there are not.
//!
//! Place and salt are new for each model of a name and change with its visibility: whoever could
//! once read a model does not recognize it, or its successor, by what they saw then.
//!
//! The labels below a name are sorted and split in halves down to single ones. The same models give
//! the same root, in whatever order they came.

use std::collections::BTreeMap;

use datanode_codec::digest::keyed_hash;
use ic_certification::{
    HashTree, empty, fork, fork_hash, labeled, labeled_hash, leaf, leaf_hash, pruned,
};
use ic_stable_structures::Memory;

use crate::api::Visibility;
use crate::catalog::{Catalog, Tag};
use crate::models::{ModelRow, VersionRow, versions_prefix};
use crate::trie::Trie;
use crate::{Digest, INTERFACE_VERSION};

const ROOT: &[u8] = b"dn";
const INTERFACE: &[u8] = b"interface";
const MODEL: &[u8] = b"model";
const LATEST: &[u8] = b"latest";
const SALT: &[u8] = b"salt";

/// The tree; it lives on the heap and is built anew at opening.
pub struct Tree {
    blinding_seed: Digest,
    models: BTreeMap<u32, Branch>,
    trie: Trie,
    /// Whether the tree has changed since its root was taken.
    is_stale: bool,
}

/// What is below the name of a model, and where in the trie it hangs.
struct Branch {
    place: Digest,
    leaves: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A labelled node: its hash, and the node itself where a witness shows it.
type Node = (Digest, Option<HashTree>);

impl Branch {
    /// Return the hash of the model, name included.
    fn hash(&self, name: &[u8]) -> Digest {
        let hashes = self.leaves.iter().map(|(label, data)| labeled_hash(label, &leaf_hash(data)));
        labeled_hash(name, &join(&hashes.collect::<Vec<_>>()))
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
        let models = BTreeMap::new();
        let mut tree =
            Self { blinding_seed: *blinding_seed, models, trie: Trie::default(), is_stale: true };
        for (name, model) in catalog.walk::<ModelRow>(&Tag::Model.key(), None) {
            if model.latest > 0 {
                let versions = catalog.walk::<VersionRow>(&versions_prefix(model.id), None);
                let versions: Vec<_> = versions.map(|(_, row)| row).collect();
                tree.set(&name, &model, &versions);
            }
        }
        tree
    }

    /// Have a model with these versions; its row says which is the latest.
    pub fn set(&mut self, name: &[u8], model: &ModelRow, versions: &[VersionRow]) {
        let leaves = versions.iter().map(|row| (row.version.to_be_bytes().to_vec(), row.leaf()));
        let mut branch = Branch { place: self.secret(b"place", model), leaves: leaves.collect() };
        branch.leaves.insert(SALT.into(), self.secret(b"salt", model).into());
        self.place(name, model, branch);
    }

    /// Add the latest version of a model.
    pub fn insert(&mut self, name: &str, model: &ModelRow, row: &VersionRow) {
        let Some(mut branch) = self.models.remove(&model.id) else {
            return self.set(name.as_bytes(), model, std::slice::from_ref(row));
        };
        branch.leaves.insert(row.version.to_be_bytes().into(), row.leaf());
        self.place(name.as_bytes(), model, branch);
    }

    /// Remove versions of a model, or with its last one the model.
    pub fn remove(&mut self, name: &str, model: &ModelRow, versions: impl Iterator<Item = u32>) {
        let Some(mut branch) = self.models.remove(&model.id) else { return };
        if model.latest == 0 {
            self.trie.remove(&branch.place);
            self.is_stale = true;
            return;
        }
        versions.for_each(|version| {
            branch.leaves.remove(version.to_be_bytes().as_slice());
        });
        self.place(name.as_bytes(), model, branch);
    }

    /// Move a model whose visibility has changed to its new place, with a new salt.
    pub fn blind(&mut self, name: &str, model: &ModelRow) {
        let Some(mut branch) = self.models.remove(&model.id) else { return };
        self.trie.remove(&branch.place);
        branch.place = self.secret(b"place", model);
        branch.leaves.insert(SALT.into(), self.secret(b"salt", model).into());
        self.place(name.as_bytes(), model, branch);
    }

    fn place(&mut self, name: &[u8], model: &ModelRow, mut branch: Branch) {
        branch.leaves.insert(LATEST.into(), model.latest.to_be_bytes().into());
        self.trie.insert(branch.place, branch.hash(name));
        self.models.insert(model.id, branch);
        self.is_stale = true;
    }

    fn secret(&self, purpose: &[u8], model: &ModelRow) -> Digest {
        let public = u8::from(model.visibility == Visibility::Public);
        let id = model.id.to_be_bytes();
        keyed_hash(&self.blinding_seed, &[purpose, &[0], &id, &[public]].concat())
    }

    /// Return the root if the tree has changed since it was last taken; computing it walks all
    /// models.
    pub fn take_root(&mut self) -> Option<Digest> {
        std::mem::take(&mut self.is_stale).then(|| self.root())
    }

    /// Return the root.
    pub fn root(&self) -> Digest {
        let interface = labeled_hash(INTERFACE, &leaf_hash(&INTERFACE_VERSION.to_be_bytes()));
        let models = labeled_hash(MODEL, &self.trie.hash());
        labeled_hash(ROOT, &fork_hash(&interface, &models))
    }

    /// Return a tree with the same root that shows one version of a model and which is the latest.
    pub fn witness(&self, name: &str, model: u32, version: u32) -> HashTree {
        let shown = version.to_be_bytes();
        let models = match self.models.get(&model) {
            None => pruned(self.trie.hash()),
            Some(branch) => {
                let tree = labeled(name, branch.show(&[&shown, LATEST]));
                self.trie.witness(&branch.place, tree)
            }
        };
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
