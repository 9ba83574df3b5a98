//! Whatever quota holders and their friends do, the node stores no more because of them than their
//! quotas allow.
//!
//! The controller gives Alice a quota for all models and Bob one on a model, and nothing else to
//! anyone but them; it has public models of its own, and deletes them. Alice, Bob and Carol conspire:
//! they grant each other everything, transfer, take over, seal what others stored, delete, end and
//! begin again. At every step all bytes on the node that are not the controller's, and all that
//! stay when the controller has deleted everything of its own, fit in the two quotas.

use candid::Principal;
use datanode_store::Context;
use datanode_store::api::*;
use datanode_store::limits::{GRACE_NS, LEASE_NS};
use proptest::prelude::*;

use crate::support::User::*;
use crate::support::manifest::*;
use crate::support::*;

pub const NAMES: [&str; 3] = ["a", "b", "c"];
const ALICES_BYTES: u64 = 5_000;
const BOBS_BYTES: u64 = 2_500;
const FRAMES: u64 = 12;
/// Frames with smaller numbers are the controller's, in its public models.
const PUBLIC: u64 = 4;

#[derive(Clone, Copy, Debug)]
pub enum Who {
    Alice,
    Bob,
    Carol,
}

#[derive(Clone, Debug)]
pub enum Act {
    Begin(Who, usize, bool),
    End(Who, usize),
    Put(Who, usize, Vec<u64>),
    Pin(Who, usize, Vec<u64>),
    Seal(Who, usize, Vec<u64>),
    Delete(Who, usize, Option<u32>),
    Grant(Who, Who, usize, Option<u64>),
    Revoke(Who, Who, usize),
    Transfer(Who, usize, Who),
    /// The controller gives Alice or Bob the same grant again, for a while or for ever.
    Again(bool, bool),
    /// The controller takes it back.
    Withdraw(bool),
    Publish(bool),
    EndLease(usize),
    Collect(bool),
    Step(bool),
    Wait(u64),
    Reopen,
}

pub fn acts() -> impl Strategy<Value = Act> {
    let who = || prop::sample::select(vec![Who::Alice, Who::Bob, Who::Carol]);
    let name = || 0..NAMES.len();
    let frames = || prop::collection::vec(0..FRAMES, 1..5);
    prop_oneof![
        5 => (who(), name(), any::<bool>()).prop_map(|(w, n, t)| Act::Begin(w, n, t)),
        2 => (who(), name()).prop_map(|(w, n)| Act::End(w, n)),
        5 => (who(), name(), frames()).prop_map(|(w, n, f)| Act::Put(w, n, f)),
        3 => (who(), name(), frames()).prop_map(|(w, n, f)| Act::Pin(w, n, f)),
        6 => (who(), name(), frames()).prop_map(|(w, n, f)| Act::Seal(w, n, f)),
        2 => (who(), name(), prop::option::of(1..4u32)).prop_map(|(w, n, v)| Act::Delete(w, n, v)),
        3 => (who(), who(), name(), prop::option::of(0..9_000u64))
            .prop_map(|(w, t, n, q)| Act::Grant(w, t, n, q)),
        1 => (who(), who(), name()).prop_map(|(w, t, n)| Act::Revoke(w, t, n)),
        2 => (who(), name(), who()).prop_map(|(w, n, t)| Act::Transfer(w, n, t)),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(a, e)| Act::Again(a, e)),
        1 => any::<bool>().prop_map(Act::Withdraw),
        1 => any::<bool>().prop_map(Act::Publish),
        1 => (0..9usize).prop_map(Act::EndLease),
        2 => any::<bool>().prop_map(Act::Collect),
        1 => any::<bool>().prop_map(Act::Step),
        2 => prop::sample::select(vec![1, LEASE_NS, GRACE_NS]).prop_map(Act::Wait),
        1 => Just(Act::Reopen),
    ]
}

/// A node, and what is known to all who use it.
pub struct Walk {
    pub world: World,
    pub frames: Vec<Vec<u8>>,
    pub public: Checkpoint,
}

impl Walk {
    pub fn new() -> Self {
        let frames: Vec<_> = (0..FRAMES)
            .map(|seed| raw_frame(&some_bytes(seed, 200 + 40 * seed as usize)))
            .collect();
        let public = Checkpoint::new(&frames[..PUBLIC as usize]);
        let mut walk = Self { world: World::new(), frames, public };
        walk.act(Act::Again(true, false));
        walk.act(Act::Again(false, false));
        walk.act(Act::Publish(true));
        assert_eq!(walk.world.details().models, 1);
        walk
    }

    fn principal(who: Who) -> Principal {
        match who {
            Who::Alice => Alice.principal(),
            Who::Bob => Bob.principal(),
            Who::Carol => Principal::self_authenticating([77; 32]),
        }
    }

    pub fn context(&self, who: Who) -> Context {
        Context { caller: Self::principal(who), ..self.world.context(Stranger) }
    }

    /// Return the lease on a name, whoever holds it, as controllers see it.
    pub fn lease(&self, name: usize) -> u64 {
        let leases = self.world.store.leases(&self.world.context(Operator), None).unwrap().leases;
        leases.iter().find(|lease| lease.model == NAMES[name]).map_or(1, |lease| lease.id)
    }

    fn put(&mut self, who: Who, name: usize, frames: &[Vec<u8>]) {
        let (context, lease) = (self.context(who), self.lease(name));
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let _ = self.world.store.put_frames(&context, lease, &frames);
    }

    fn of_controller(alice: bool) -> (User, Option<&'static str>, u64) {
        if alice { (Alice, None, ALICES_BYTES) } else { (Bob, Some("b"), BOBS_BYTES) }
    }

    pub fn act(&mut self, act: Act) {
        let pick = |walk: &Self, frames: &[u64]| -> Vec<Vec<u8>> {
            frames.iter().map(|frame| walk.frames[*frame as usize].clone()).collect()
        };
        match act {
            Act::Begin(who, name, takeover) => {
                let model = NAMES[name].into();
                let upload = Upload { model, frames: 1, frame_bytes: 1, takeover };
                let _ = self.world.store.begin_upload(&self.context(who), upload);
            }
            Act::End(who, name) => {
                let _ = self.world.store.end_upload(&self.context(who), self.lease(name));
            }
            Act::Put(who, name, frames) => {
                let frames = pick(self, &frames);
                self.put(who, name, &frames);
            }
            Act::Pin(who, name, frames) => {
                let digests: Vec<_> =
                    pick(self, &frames).iter().map(|frame| Hash(hash(frame))).collect();
                let (context, lease) = (self.context(who), self.lease(name));
                let _ = self.world.store.pin_frames(&context, lease, &digests);
            }
            Act::Seal(who, name, frames) => {
                let checkpoint = Checkpoint::new(&pick(self, &frames));
                self.put(who, name, &checkpoint.parts());
                let (context, lease) = (self.context(who), self.lease(name));
                let seal = checkpoint.seal(NAMES[name]);
                let _ = self.world.store.seal_model(&context, lease, seal, &[]);
            }
            Act::Delete(who, name, version) => {
                let context = self.context(who);
                let _ = self.world.store.delete_model(&context, NAMES[name], version, &[]);
            }
            Act::Grant(who, to, name, quota_bytes) => {
                let (to, model) = (Self::principal(to), Some(NAMES[name].into()));
                let role = Role::Uploader;
                let grant = Grant { to, role, model, expires_ns: None, quota_bytes };
                let _ = self.world.store.grant(&self.context(who), grant);
            }
            Act::Revoke(who, to, name) => {
                let (to, model) = (Self::principal(to), Some(NAMES[name].into()));
                let revoke = Revoke { to, role: Role::Uploader, model };
                let _ = self.world.store.revoke(&self.context(who), revoke);
            }
            Act::Transfer(who, name, to) => {
                let transfer = Transfer { model: NAMES[name].into(), to: Self::principal(to) };
                let _ = self.world.store.transfer_model(&self.context(who), transfer);
            }
            Act::Again(alice, ends) => {
                let (user, model, bytes) = Self::of_controller(alice);
                let expires = ends.then_some(self.world.now_ns + 2 * LEASE_NS);
                let role = Role::Uploader;
                let _ = self.world.grant_with(Operator, user, role, model, expires, Some(bytes));
            }
            Act::Withdraw(alice) => {
                let (user, model, _) = Self::of_controller(alice);
                let (to, model) = (user.principal(), model.map(Into::into));
                let revoke = Revoke { to, role: Role::Uploader, model };
                let _ = self.world.store.revoke(&self.world.context(Operator), revoke);
            }
            Act::Publish(true) => {
                let context = self.world.context(Operator);
                if let Ok(lease) = self.world.begin(Operator, "public") {
                    let _ = self.world.put(Operator, lease.id, &self.public.all_frames());
                    let seal = self.public.seal("public");
                    let _ = self.world.store.seal_model(&context, lease.id, seal, &[]);
                }
                let (model, visibility) = ("public".into(), Visibility::Public);
                let change = SetVisibility { model, visibility };
                let _ = self.world.store.set_visibility(&context, change);
            }
            Act::Publish(false) => {
                let _ = self.world.delete(Operator, "public", None);
            }
            Act::EndLease(which) => {
                let context = self.world.context(Operator);
                let leases = self.world.store.leases(&context, None).unwrap().leases;
                if let Some(lease) = leases.get(which) {
                    let _ = self.world.store.end_lease(&context, lease.id);
                }
            }
            Act::Collect(force) => {
                let _ = self.world.collect(force);
            }
            Act::Step(force) => {
                let context = self.world.context(Operator);
                let _ = self.world.store.collect_garbage(&context, Force { force }, &[]);
            }
            Act::Wait(ns) => self.world.advance(ns),
            Act::Reopen => self.world.reopen(),
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let quotas = ALICES_BYTES + BOBS_BYTES;
        let own: u64 = self.public.all_frames().iter().map(|frame| frame.len() as u64).sum();
        prop_assert!(self.world.details().frame_bytes <= quotas + own);
        let mut left = self.world.fork();
        let _ = left.delete(Operator, "public", None);
        left.collect(true).unwrap();
        prop_assert!(left.details().frame_bytes <= quotas, "{}", left.details().frame_bytes);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("STORE_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(64),
        max_shrink_iters: 2_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_conspiracy_stores_more_than_the_quotas(script in prop::collection::vec(acts(), 1..150)) {
        let mut walk = Walk::new();
        for act in script {
            walk.act(act);
            walk.check()?;
        }
    }
}
