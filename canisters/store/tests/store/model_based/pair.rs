//! The store and its model, doing the same things and compared.

use std::collections::{BTreeMap, BTreeSet};

use datanode_store::api::*;
use datanode_store::limits::{GRACE_NS, LEASE_NS};
use datanode_store::{Digest, Error};

use super::model::{CopyModel, FRAMES, LeaseModel, Model, ModelModel, NAMES};
use crate::support::User::{self, *};
use crate::support::manifest::*;
use crate::support::*;

/// The store and its model, side by side.
pub struct Pair {
    pub world: World,
    pub model: Model,
    pub frames: Vec<Vec<u8>>,
}

impl Pair {
    pub fn new() -> Self {
        let frames = (0..FRAMES).map(|seed| raw_frame(&some_bytes(seed, 90 + 70 * seed as usize)));
        Self { world: World::new(), model: Model::default(), frames: frames.collect() }
    }

    pub fn lease(&self, user: User, name: usize) -> Answer<u64> {
        match self.model.leases.get(&name) {
            Some(lease) if lease.holder == Some(user) => {
                let may = self.model.may_upload(self.world.now_ns, user, name);
                if may { Ok(lease.id) } else { Err(Error::Unauthorized) }
            }
            _ => Err(Error::LeaseLost),
        }
    }

    /// Return a number to call with: the lease on the name, whoever holds it.
    pub fn number(&self, name: usize) -> u64 {
        self.model.leases.get(&name).map_or(1, |lease| lease.id)
    }

    pub fn begin(&mut self, user: User, name: usize, takeover: bool) {
        let now = self.world.now_ns;
        let told = self.world.begin_with(user, NAMES[name], takeover);
        let model = &mut self.model;
        if !model.may_upload(now, user, name) {
            assert_eq!(told, Err(Error::Unauthorized));
            return;
        }
        let owns = model.owns(user, name);
        let lease = model.leases.entry(name).or_default();
        let expired = now >= lease.used_ns + LEASE_NS;
        match lease.holder {
            Some(holder) if holder != user && !expired && !(takeover && owns) => {
                let (holder, expires_ns) =
                    (owns.then(|| holder.principal()), lease.used_ns + LEASE_NS);
                assert_eq!(told, Err(Error::LeaseHeld { holder, expires_ns }));
                return;
            }
            Some(holder) if holder == user => assert_eq!(told.as_ref().unwrap().id, lease.id),
            _ => {
                assert_ne!(told.as_ref().unwrap().id, lease.id);
                *lease = LeaseModel { holder: Some(user), ..LeaseModel::default() };
            }
        }
        let told = told.unwrap();
        (lease.id, lease.used_ns) = (told.id, now);
        if !model.uploaders.contains(&user) {
            model.uploaders.push(user);
        }
        assert_eq!(told.frames as usize, lease.frames.len());
    }

    pub fn put(&mut self, user: User, name: usize, frames: &[Vec<u8>]) {
        let now = self.world.now_ns;
        let told = self.world.put(user, self.number(name), frames);
        if let Err(error) = self.lease(user, name) {
            assert_eq!(told, Err(error));
            return;
        }
        let expected: Vec<_> =
            frames.iter().map(|frame| self.put_one(user, name, hash(frame))).collect();
        self.model.leases.get_mut(&name).unwrap().used_ns = now;
        assert_eq!(told, Ok(expected));
    }

    fn put_one(&mut self, user: User, name: usize, digest: Digest) -> PutResult {
        let now = self.world.now_ns;
        let model = &mut self.model;
        let id = model.leases[&name].id;
        let held = model.held(now, user, &digest);
        let leased = model.leases[&name].frames.contains(&digest);
        let readable = model.readable(now, user, &digest);
        let own = model.copies.get(&digest).and_then(|copies| copies.get(&user));
        let in_copy = own.map(|copy| copy.lease).unwrap_or(0);
        // By a row of any lease of the user.
        let mut others = model.leases.values().filter(|lease| lease.holder == Some(user));
        let by_row = others.any(|lease| lease.id != in_copy && lease.frames.contains(&digest));
        let copy = if by_row || readable { model.chosen(&digest) } else { own.map(|_| user) };
        let mut healed = false;
        if let Some(copy) = copy {
            if !leased {
                model.hold(user, id, &digest, copy);
            }
            for copy in model.copies.get_mut(&digest).unwrap().values_mut() {
                healed |= copy.damaged;
                copy.damaged = false;
            }
        } else {
            let copy = CopyModel { lease: id, damaged: false };
            model.copies.entry(digest).or_default().insert(user, copy);
        }
        model.touched.insert(digest, now);
        model.leases.get_mut(&name).unwrap().frames.insert(digest);
        if held && !healed { PutResult::AlreadyStored } else { PutResult::Stored }
    }

    /// Have the lease on a name hold a frame that is held for the user.
    fn pin_one(&mut self, user: User, name: usize, digest: &Digest) {
        let model = &mut self.model;
        let id = model.leases[&name].id;
        if model.leases.get_mut(&name).unwrap().frames.insert(*digest) {
            let own = model.copies[digest].get(&user).is_some_and(|copy| !copy.damaged);
            let copy = if own { Some(user) } else { model.chosen(digest) };
            model.hold(user, id, digest, copy.unwrap());
        }
        model.touched.insert(*digest, self.world.now_ns);
    }

    pub fn pin(&mut self, user: User, name: usize, frames: &BTreeSet<u64>) {
        let now = self.world.now_ns;
        let digests: Vec<_> =
            frames.iter().map(|frame| hash(&self.frames[*frame as usize])).collect();
        let number = self.number(name);
        let missing = self.world.missing(user, number, &digests);
        let told = self.world.pin(user, number, &digests);
        if let Err(error) = self.lease(user, name) {
            assert_eq!((missing, told), (Err(error.clone()), Err(error)));
            return;
        }
        // Damage is not noticed before a scrub, so it is scrubbed before every pin.
        let pinned: Vec<bool> = digests
            .iter()
            .map(|d| self.model.held(now, user, d) && !self.model.is_damaged(d))
            .collect();
        assert_eq!(missing, Ok(pinned.iter().map(|pinned| !pinned).collect()));
        assert_eq!(told, Ok(pinned.clone()));
        for (digest, _) in digests.iter().zip(pinned).filter(|(_, pinned)| *pinned) {
            self.pin_one(user, name, digest);
        }
        self.model.leases.get_mut(&name).unwrap().used_ns = now;
    }

    pub fn seal(&mut self, user: User, name: usize, frames: &BTreeSet<u64>) {
        let chunks: Vec<_> =
            frames.iter().map(|frame| self.frames[*frame as usize].clone()).collect();
        let checkpoint = Checkpoint::new(&chunks);
        self.put(user, name, &checkpoint.parts());
        let now = self.world.now_ns;
        let told = self.world.seal(user, self.number(name), &checkpoint.seal(NAMES[name]));
        let lease = self.lease(user, name);
        let all: BTreeSet<_> = checkpoint.all_frames().iter().map(|frame| hash(frame)).collect();
        if self.model.may_upload(now, user, name)
            && let Some(model) = self.model.models.get(&name)
            && let Some((version, _)) =
                model.versions.iter().find(|(_, (head, _))| *head == checkpoint.manifest())
        {
            assert_eq!(told, Ok(*version));
            if lease.is_ok() {
                self.model.leases.remove(&name);
            }
            return;
        }
        if let Err(error) = lease {
            assert_eq!(told, Err(error));
            return;
        }
        let held =
            |digest: &Digest| self.model.held(now, user, digest) && !self.model.is_damaged(digest);
        let missing: BTreeSet<_> = all.iter().filter(|digest| !held(digest)).copied().collect();
        // The seal pins what it has checked.
        for digest in all.difference(&missing) {
            if !self.model.leases[&name].frames.contains(digest) {
                self.pin_one(user, name, digest);
            }
        }
        if !missing.is_empty() {
            let Err(Error::Incomplete { missing: named, .. }) = told else { panic!("{told:?}") };
            assert_eq!(named.into_iter().map(|Hash(d)| d).collect::<BTreeSet<_>>(), missing);
            self.model.leases.get_mut(&name).unwrap().used_ns = now;
            return;
        }
        let next = self.model.next_version.entry(name).or_insert(1);
        assert_eq!(told, Ok(*next));
        let fresh = || ModelModel {
            owner: user,
            public: false,
            versions: BTreeMap::new(),
            sealed: BTreeMap::new(),
        };
        let model = self.model.models.entry(name).or_insert_with(fresh);
        model.versions.insert(*next, (checkpoint.manifest(), all));
        model.sealed.insert(*next, (user, frames.clone()));
        *next += 1;
        self.model.leases.remove(&name);
    }

    pub fn delete(&mut self, user: User, name: usize, version: Option<u32>) {
        let now = self.world.now_ns;
        let told = self.world.delete(user, NAMES[name], version);
        let owned = self.model.owned(now, user, name);
        if owned.is_err() {
            assert_eq!(told, owned);
            return;
        }
        let model = self.model.models.get_mut(&name).unwrap();
        match version {
            Some(version) if model.versions.remove(&version).is_none() => {
                assert_eq!(told, Err(Error::NotFound(NAMES[name].into())));
                return;
            }
            Some(_) => {}
            None => model.versions.clear(),
        }
        assert_eq!(told, Ok(()));
        if model.versions.is_empty() {
            self.model.models.remove(&name);
            self.model.grants.retain(|(_, _, scope), _| *scope != Some(name));
        }
    }

    pub fn collect(&mut self, force: bool) {
        let now = self.world.now_ns;
        let (freed, _) = self.world.collect(force).unwrap();
        let model = &mut self.model;
        model.leases.retain(|_, lease| now < lease.used_ns + GRACE_NS);
        assert_eq!(freed as usize, model.collect(now, force));
    }

    pub fn may_grant(&self, user: User, scope: Option<usize>) -> Answer<()> {
        match scope {
            _ if user == Operator => Ok(()),
            None => Err(Error::Unauthorized),
            Some(name) => self.model.owned(self.world.now_ns, user, name),
        }
    }

    /// Compare what each user finds of all chunks. Damage is known once it was scrubbed.
    pub fn find(&mut self) {
        self.scrub();
        let now = self.world.now_ns;
        let digest = |chunk: u64| hash(&self.frames[chunk as usize]);
        let content = |chunk: u64| datanode_codec::digest::hash(&self.frames[chunk as usize][64..]);
        let contents: Vec<_> = (0..FRAMES).map(|chunk| Hash(content(chunk))).collect();
        for user in User::ALL {
            let told = self.world.store.find_contents(&self.world.context(user), &contents);
            if !self.model.uploads(now, user) {
                assert_eq!(told, Err(Error::Unauthorized));
                continue;
            }
            let found: Vec<_> = told.unwrap().into_iter().map(|h| h.map(|h| h.frame.0)).collect();
            let expected = (0..FRAMES).map(|chunk| {
                let whole = !self.model.is_damaged(&digest(chunk));
                (whole && self.model.found(now, user, chunk)).then(|| digest(chunk))
            });
            assert_eq!(found, expected.collect::<Vec<_>>(), "{user:?}");
        }
    }

    pub fn scrub(&mut self) {
        let context = self.world.context(Operator);
        let told = self.world.store.scrub(&context, &[], u64::MAX).unwrap();
        let corrupt: BTreeSet<_> = told.corrupt.iter().map(|Hash(digest)| *digest).collect();
        assert_eq!(corrupt, self.model.damaged());
        assert_eq!(told.checked.len(), self.model.copies.len());
    }
}
