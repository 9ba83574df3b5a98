//! What a store is, in sets and maps.

use std::collections::{BTreeMap, BTreeSet};

use datanode_store::{Digest, Error};

use crate::support::Answer;
use crate::support::User::{self, *};

pub const NAMES: [&str; 3] = ["a", "b/c", "d"];
pub const FRAMES: u64 = 8;

#[derive(Default)]
pub struct LeaseModel {
    pub id: u64,
    pub holder: Option<User>,
    pub used_ns: u64,
    pub frames: BTreeSet<Digest>,
}

pub struct ModelModel {
    pub owner: User,
    pub public: bool,
    pub versions: BTreeMap<u32, (Digest, BTreeSet<Digest>)>,
}

#[derive(Default)]
pub struct Model {
    pub leases: BTreeMap<usize, LeaseModel>,
    pub models: BTreeMap<usize, ModelModel>,
    pub next_version: BTreeMap<usize, u32>,
    pub grants: BTreeMap<(User, bool, Option<usize>), Option<u64>>,
    pub touched: BTreeMap<Digest, u64>,
    pub damaged: BTreeSet<Digest>,
}

impl Model {
    pub fn granted(&self, now: u64, user: User, uploader: bool, scope: Option<usize>) -> bool {
        let grant = self.grants.get(&(user, uploader, scope));
        grant.is_some_and(|expires| expires.is_none_or(|expires| now < expires))
    }

    pub fn owns(&self, user: User, name: usize) -> bool {
        user == Operator || self.models.get(&name).is_some_and(|model| model.owner == user)
    }

    pub fn may_upload(&self, now: u64, user: User, name: usize) -> bool {
        self.owns(user, name)
            || self.granted(now, user, true, Some(name))
            || (!self.models.contains_key(&name) && self.granted(now, user, true, None))
    }

    pub fn may_read(&self, now: u64, user: User, name: usize) -> bool {
        let Some(model) = self.models.get(&name) else { return false };
        model.public
            || self.owns(user, name)
            || self.granted(now, user, true, Some(name))
            || self.granted(now, user, false, Some(name))
            || self.granted(now, user, false, None)
    }

    /// What an owner's method answers: `Ok` for owners, else an error that tells no more than it may.
    pub fn owned(&self, now: u64, user: User, name: usize) -> Answer<()> {
        match (self.may_read(now, user, name), self.owns(user, name)) {
            (false, _) => Err(Error::NotFound(NAMES[name].into())),
            (true, false) => Err(Error::Unauthorized),
            (true, true) => Ok(()),
        }
    }

    pub fn readable(&self, now: u64, user: User, digest: &Digest) -> bool {
        self.models.iter().any(|(name, model)| {
            self.may_read(now, user, *name)
                && model.versions.values().any(|(_, frames)| frames.contains(digest))
        })
    }

    pub fn held(&self, now: u64, user: User, lease: &LeaseModel, digest: &Digest) -> bool {
        let known = self.touched.contains_key(digest);
        known && (lease.frames.contains(digest) || self.readable(now, user, digest))
    }

    pub fn referred(&self, digest: &Digest) -> bool {
        let mut versions = self.models.values().flat_map(|model| model.versions.values());
        versions.any(|(_, frames)| frames.contains(digest))
    }
}
