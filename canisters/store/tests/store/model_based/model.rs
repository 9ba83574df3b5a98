//! What a store is, in sets and maps.

use std::collections::{BTreeMap, BTreeSet};

use datanode_store::limits::GRACE_NS;
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
    /// Who sealed a version, and the chunks of it; deleted versions stay.
    pub sealed: BTreeMap<u32, (User, BTreeSet<u64>)>,
}

/// A user's copy of a frame.
pub struct CopyModel {
    pub lease: u64,
    pub damaged: bool,
}

#[derive(Default)]
pub struct Model {
    pub leases: BTreeMap<usize, LeaseModel>,
    pub models: BTreeMap<usize, ModelModel>,
    pub next_version: BTreeMap<usize, u32>,
    pub grants: BTreeMap<(User, bool, Option<usize>), Option<u64>>,
    pub touched: BTreeMap<Digest, u64>,
    pub copies: BTreeMap<Digest, BTreeMap<User, CopyModel>>,
    /// Who began an upload, in order: copies are looked at in this order.
    pub uploaders: Vec<User>,
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

    pub fn leased(&self, user: User, digest: &Digest) -> bool {
        let mut own = self.leases.values().filter(|lease| lease.holder == Some(user));
        own.any(|lease| lease.frames.contains(digest))
    }

    pub fn held(&self, now: u64, user: User, digest: &Digest) -> bool {
        let held = self.leased(user, digest) || self.readable(now, user, digest);
        self.touched.contains_key(digest) && held
    }

    pub fn is_live(&self, lease: u64) -> bool {
        self.leases.values().any(|row| row.id == lease)
    }

    /// Whether all copies of a frame are damaged.
    pub fn is_damaged(&self, digest: &Digest) -> bool {
        self.copies.get(digest).is_some_and(|copies| copies.values().all(|copy| copy.damaged))
    }

    pub fn damaged(&self) -> BTreeSet<Digest> {
        self.copies.keys().filter(|digest| self.is_damaged(digest)).copied().collect()
    }

    /// Whose copy is found for a frame.
    pub fn chosen(&self, digest: &Digest) -> Option<User> {
        let copies = self.copies.get(digest)?;
        let stored = || self.uploaders.iter().filter(|user| copies.contains_key(user));
        stored().find(|user| !copies[user].damaged).or(stored().next()).copied()
    }

    /// Have a lease hold a copy: it stands with the copy if that is the user's and free.
    pub fn hold(&mut self, user: User, lease: u64, digest: &Digest, copy: User) {
        let old = self.copies[digest][&copy].lease;
        if copy == user && !self.is_live(old) {
            self.copies.get_mut(digest).unwrap().get_mut(&copy).unwrap().lease = lease;
        }
    }

    /// Drop the copies that a collection drops; return how many.
    pub fn collect(&mut self, now: u64, force: bool) -> usize {
        let digests: Vec<Digest> = self.copies.keys().copied().collect();
        digests.iter().map(|digest| self.collect_copies(now, force, digest)).sum()
    }

    fn collect_copies(&mut self, now: u64, force: bool, digest: &Digest) -> usize {
        let young = now < self.touched[digest] + GRACE_NS;
        let live: BTreeSet<u64> = self.leases.values().map(|lease| lease.id).collect();
        let leased = self.leases.values().any(|lease| lease.frames.contains(digest));
        let held = leased || self.referred(digest);
        let order = self.uploaders.clone();
        let copies = self.copies.get_mut(digest).unwrap();
        let before = copies.len();
        let needed =
            (young && !force) || held || copies.values().any(|copy| live.contains(&copy.lease));
        let best = order
            .iter()
            .filter(|user| copies.contains_key(user))
            .min_by_key(|user| (copies[user].damaged, !live.contains(&copies[user].lease)))
            .copied();
        copies.retain(|user, copy| live.contains(&copy.lease) || (needed && Some(*user) == best));
        let dropped = before - copies.len();
        if copies.is_empty() {
            self.copies.remove(digest);
            self.touched.remove(digest);
        }
        dropped
    }

    pub fn uploads(&self, now: u64, user: User) -> bool {
        user == Operator
            || self.models.values().any(|model| model.owner == user)
            || (0..NAMES.len()).map(Some).chain([None]).any(|s| self.granted(now, user, true, s))
    }

    /// What `find_contents` finds a chunk for: the user sealed it in a version that it may read.
    pub fn found(&self, now: u64, user: User, chunk: u64) -> bool {
        self.models.iter().any(|(name, model)| {
            let mut alive = model.sealed.iter().filter(|(v, _)| model.versions.contains_key(v));
            let mut sealed = alive.by_ref().map(|(_, sealed)| sealed);
            self.may_read(now, user, *name)
                && sealed.any(|(by, chunks)| *by == user && chunks.contains(&chunk))
        })
    }

    /// How many versions at most refer to a frame.
    pub fn most_references(&self) -> usize {
        let versions = || self.models.values().flat_map(|model| model.versions.values());
        let count = |digest| versions().filter(|(_, frames)| frames.contains(digest)).count();
        self.touched.keys().map(count).max().unwrap_or(0)
    }

    pub fn referred(&self, digest: &Digest) -> bool {
        let mut versions = self.models.values().flat_map(|model| model.versions.values());
        versions.any(|(_, frames)| frames.contains(digest))
    }
}
