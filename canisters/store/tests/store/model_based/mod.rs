//! Whatever callers do, in any order, the store answers as a model of sets and maps does.

mod acts;
mod model;
mod pair;

use datanode_store::Error;
use datanode_store::api::*;
use datanode_store::limits::{LEASE_NS, REFERENCES_A_LOOK_UP};
use proptest::prelude::*;

use crate::support::User::{self, *};
use crate::support::*;
use acts::{Act, acts};
use model::NAMES;
use pair::Pair;

impl Pair {
    fn act(&mut self, act: Act) {
        let now = self.world.now_ns;
        match act {
            Act::Begin(user, name, takeover) => self.begin(user, name, takeover),
            Act::End(user, name) => {
                let context = self.world.context(user);
                let told = self.world.store.end_upload(&context, self.number(name));
                let held = self.model.leases.get(&name).is_some_and(|l| l.holder == Some(user));
                assert_eq!(told, if held { Ok(()) } else { Err(Error::LeaseLost) });
                if held {
                    self.model.leases.remove(&name);
                }
            }
            Act::Put(user, name, frames) => {
                let frames: Vec<_> =
                    frames.iter().map(|f| self.frames[*f as usize].clone()).collect();
                self.put(user, name, &frames);
            }
            Act::Pin(user, name, frames) => {
                self.scrub();
                self.pin(user, name, &frames);
            }
            Act::Seal(user, name, frames) => {
                self.scrub();
                self.seal(user, name, &frames);
            }
            Act::Delete(user, name, version) => self.delete(user, name, version),
            Act::Collect(force) => self.collect(force),
            Act::Grant(by, to, role, scope, expires) => {
                let expires = expires.then_some(now + LEASE_NS);
                let model = scope.map(|name| NAMES[name]);
                let told = self.world.grant_with(by, to, role, model, expires, None);
                assert_eq!(told, self.may_grant(by, scope));
                if told.is_ok() {
                    let key = (to, role == Role::Uploader, scope);
                    self.model.grants.insert(key, expires);
                }
            }
            Act::Revoke(by, to, role, scope) => {
                let model = scope.map(|name| NAMES[name].to_string());
                let revoke = Revoke { to: to.principal(), role, model };
                let told = self.world.store.revoke(&self.world.context(by), revoke);
                assert_eq!(told, self.may_grant(by, scope));
                if told.is_ok() {
                    self.model.grants.remove(&(to, role == Role::Uploader, scope));
                }
            }
            Act::Show(user, name, public) => {
                let visibility = if public { Visibility::Public } else { Visibility::Private };
                let change = SetVisibility { model: NAMES[name].into(), visibility };
                let told = self.world.store.set_visibility(&self.world.context(user), change);
                assert_eq!(told, self.model.owned(now, user, name));
                if told.is_ok() {
                    self.model.models.get_mut(&name).unwrap().public = public;
                }
            }
            Act::Transfer(user, name, to) => {
                let transfer = Transfer { model: NAMES[name].into(), to: to.principal() };
                let told = self.world.store.transfer_model(&self.world.context(user), transfer);
                assert_eq!(told, self.model.owned(now, user, name));
                if told.is_ok() {
                    self.model.models.get_mut(&name).unwrap().owner = to;
                }
            }
            Act::Corrupt(frame) => {
                let frame = &self.frames[frame as usize];
                let digest = hash(frame);
                while self.world.memory.find(frame).is_some() {
                    self.world.corrupt(frame);
                }
                if let Some(copies) = self.model.copies.get_mut(&digest) {
                    copies.values_mut().for_each(|copy| copy.damaged = true);
                }
                self.scrub();
            }
            Act::Scrub => self.scrub(),
            Act::Find => self.find(),
            Act::Wait(ns) => self.world.advance(ns),
            Act::Reopen => self.world.reopen(),
        }
    }

    fn check(&self) {
        let details = self.world.details();
        let copies = self.model.copies.values().map(|copies| copies.len()).sum::<usize>();
        assert_eq!(details.frames as usize, copies);
        assert_eq!(details.models as usize, self.model.models.len());
        assert_eq!(details.leases as usize, self.model.leases.len());
        assert_eq!(details.task, None);
        let now = self.world.now_ns;
        for user in User::ALL {
            let context = self.world.context(user);
            let told = self.world.store.models(&context, None).unwrap().models;
            let told: Vec<_> = told.into_iter().map(|model| model.name).collect();
            let readable = self.model.models.keys().filter(|n| self.model.may_read(now, user, **n));
            assert_eq!(told, readable.map(|name| NAMES[*name].to_string()).collect::<Vec<_>>());
        }
        for (name, model) in &self.model.models {
            let context = self.world.context(Operator);
            let told = self.world.store.model(&context, NAMES[*name]).unwrap();
            assert_eq!(told.owner, model.owner.principal());
            let versions: Vec<_> =
                told.versions.iter().map(|v| (v.version, v.manifest.0)).collect();
            let expected = model.versions.iter().map(|(version, (head, _))| (*version, *head));
            assert_eq!(versions, expected.collect::<Vec<_>>());
            for version in told.versions {
                let chunks: Vec<u32> = (0..version.chunks).collect();
                let frames = self.world.frames(Operator, NAMES[*name], version.manifest.0, &chunks);
                for frame in frames.unwrap() {
                    let FrameAnswer::Frame(frame) = frame else { panic!("{frame:?}") };
                    let whole = self.model.touched.contains_key(&hash(&frame));
                    assert!(whole || !self.model.damaged().is_empty());
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("STORE_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(96),
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_store_answers_as_its_model(script in prop::collection::vec(acts(), 1..80)) {
        let mut pair = Pair::new();
        pair.act(Act::Grant(Operator, Alice, Role::Uploader, None, false));
        for act in script {
            pair.act(act);
            pair.check();
            if pair.model.most_references() > REFERENCES_A_LOOK_UP {
                break; // of more, a look-up may miss those that the caller may read
            }
        }
        pair.act(Act::Reopen);
        pair.check();
    }
}
