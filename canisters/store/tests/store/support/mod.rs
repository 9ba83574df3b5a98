//! A node under test: users, a clock, a balance and a memory that can refuse and forget.
#![allow(dead_code, missing_docs)] // each test binary uses some of it

pub mod manifest;
pub mod memory;

use candid::Principal;
use datanode_codec::digest;
use datanode_store::api::*;
use datanode_store::{Context, Digest, Error, Found, Store};
use serde_bytes::ByteBuf;

use manifest::Checkpoint;
use memory::TestMemory;

pub const SECOND_NS: u64 = 1_000_000_000;
pub const DAY_NS: u64 = 86_400 * SECOND_NS;
pub const SEED: Digest = [42; 32];

pub type Answer<T> = Result<T, Error>;

/// Who calls. The operator controls the canister.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum User {
    Operator,
    Alice,
    Bob,
    Stranger,
}

use User::*;

impl User {
    pub const ALL: [Self; 4] = [Operator, Alice, Bob, Stranger];

    pub fn principal(self) -> Principal {
        if self == Stranger {
            return Principal::anonymous();
        }
        Principal::self_authenticating([self as u8; 32])
    }
}

/// A node.
pub struct World {
    pub memory: TestMemory,
    pub store: Store<TestMemory>,
    pub now_ns: u64,
    pub cycles: u128,
    pub reserve: u128,
}

impl World {
    pub fn new() -> Self {
        let memory = TestMemory::default();
        let store = Store::create(memory.clone(), SEED).unwrap();
        let (cycles, reserve) = (10_000_000_000_000, 1_000_000_000_000);
        Self { memory, store, now_ns: 1_700_000_000 * SECOND_NS, cycles, reserve }
    }

    pub fn context(&self, user: User) -> Context {
        Context {
            now_ns: self.now_ns,
            caller: user.principal(),
            controller: user == Operator,
            node: node(),
            balance_cycles: self.cycles,
            liquid_cycles: self.cycles.saturating_sub(self.reserve),
            heap_bytes: 4 << 20,
            replicated: true,
        }
    }

    /// Forget the heap, as an upgrade does.
    pub fn reopen(&mut self) {
        let before = self.store.root();
        self.store = Store::open(self.memory.clone()).unwrap();
        assert_eq!(self.store.root(), before, "the tree is the same after an upgrade");
    }

    /// Return a node of its own that goes on from here.
    pub fn fork(&self) -> Self {
        let memory = self.memory.snapshot();
        let store = Store::open(memory.clone()).unwrap();
        Self { memory, store, ..*self }
    }

    pub fn advance(&mut self, ns: u64) {
        self.now_ns += ns;
    }

    pub fn begin(&mut self, user: User, model: &str) -> Answer<Lease> {
        self.begin_with(user, model, false)
    }

    pub fn begin_with(&mut self, user: User, model: &str, takeover: bool) -> Answer<Lease> {
        let upload = Upload { model: model.into(), frames: 1, frame_bytes: 0, takeover };
        self.store.begin_upload(&self.context(user), upload)
    }

    /// Announce frames under a name.
    pub fn announce(&mut self, user: User, model: &str, frames: u32, bytes: u64) -> Answer<Lease> {
        let upload = Upload { model: model.into(), frames, frame_bytes: bytes, takeover: false };
        self.store.begin_upload(&self.context(user), upload)
    }

    pub fn lease(&mut self, user: User, model: &str) -> u64 {
        self.begin(user, model).unwrap().id
    }

    pub fn put(&mut self, user: User, lease: u64, frames: &[Vec<u8>]) -> Answer<Vec<PutResult>> {
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        self.store.put_frames(&self.context(user), lease, &frames)
    }

    pub fn pin(&mut self, user: User, lease: u64, digests: &[Digest]) -> Answer<Vec<bool>> {
        let digests: Vec<Hash> = digests.iter().copied().map(Hash).collect();
        let bits = self.store.pin_frames(&self.context(user), lease, &digests)?;
        Ok(flags(&bits, digests.len()))
    }

    pub fn missing(&self, user: User, lease: u64, digests: &[Digest]) -> Answer<Vec<bool>> {
        let digests: Vec<Hash> = digests.iter().copied().map(Hash).collect();
        let bits = self.store.missing_frames(&self.context(user), lease, &digests)?;
        Ok(flags(&bits, digests.len()))
    }

    /// Seal in as many steps as it takes; each from a store that was just opened.
    pub fn seal(&mut self, user: User, lease: u64, seal: &Seal) -> Answer<u32> {
        let mut cursor = ByteBuf::new();
        loop {
            let context = self.context(user);
            match self.store.seal_model(&context, lease, seal.clone(), &cursor)? {
                SealStep::Done(version) => return Ok(version),
                SealStep::Next(next) => cursor = next,
            }
            self.reopen();
        }
    }

    /// Upload and seal a checkpoint as the next version of a model.
    pub fn sealed(&mut self, user: User, model: &str, checkpoint: &Checkpoint) -> u32 {
        let lease = self.lease(user, model);
        for frames in checkpoint.all_frames().chunks(200) {
            let results = self.put(user, lease, frames).unwrap();
            let kept = [PutResult::Stored, PutResult::AlreadyStored];
            assert!(results.iter().all(|result| kept.contains(result)), "{results:?}");
        }
        self.seal(user, lease, &checkpoint.seal(model)).unwrap()
    }

    pub fn delete(&mut self, user: User, model: &str, version: Option<u32>) -> Answer<()> {
        let mut cursor = ByteBuf::new();
        loop {
            let context = self.context(user);
            match self.store.delete_model(&context, model, version, &cursor)?.next {
                None => return Ok(()),
                Some(next) => cursor = next,
            }
            self.reopen();
        }
    }

    /// Collect garbage to the end; return how many frames were freed, and their bytes.
    pub fn collect(&mut self, force: bool) -> Answer<(u32, u64)> {
        let mut cursor = ByteBuf::new();
        let (mut frames, mut bytes) = (0, 0);
        loop {
            let context = self.context(Operator);
            let step = self.store.collect_garbage(&context, Force { force }, &cursor)?;
            frames += step.freed_frames;
            bytes += step.freed_bytes;
            match step.next {
                None => return Ok((frames, bytes)),
                Some(next) => cursor = next,
            }
            self.reopen();
        }
    }

    pub fn grant(&mut self, by: User, to: User, role: Role, model: Option<&str>) -> Answer<()> {
        self.grant_with(by, to, role, model, None, None)
    }

    pub fn grant_with(
        &mut self,
        by: User,
        to: User,
        role: Role,
        model: Option<&str>,
        expires_ns: Option<u64>,
        quota_bytes: Option<u64>,
    ) -> Answer<()> {
        let model = model.map(Into::into);
        let grant = Grant { to: to.principal(), role, model, expires_ns, quota_bytes };
        self.store.grant(&self.context(by), grant)
    }

    pub fn publish(&mut self, model: &str) {
        let change = SetVisibility { model: model.into(), visibility: Visibility::Public };
        self.store.set_visibility(&self.context(Operator), change).unwrap();
    }

    pub fn details(&self) -> StatusDetails {
        self.store.status(&self.context(Operator)).details.unwrap()
    }

    pub fn frames(
        &self,
        user: User,
        model: &str,
        manifest: Digest,
        chunks: &[u32],
    ) -> Answer<Vec<FrameAnswer>> {
        let manifest = Hash(manifest);
        let wanted = FrameRef { model: model.into(), manifest, chunks: chunks.to_vec() };
        let found = self.store.find_frames(&self.context(user), &wanted)?;
        Ok(found.answers.into_iter().map(|found| self.read(found)).collect())
    }

    fn read(&self, found: Found) -> FrameAnswer {
        match found {
            Found::DidNotFit => FrameAnswer::DidNotFit,
            Found::Missing => FrameAnswer::Missing,
            Found::Frame(frame) => {
                let mut bytes = vec![0; frame.length];
                self.store.read_frame(frame, 0, &mut bytes);
                FrameAnswer::Frame(bytes.into())
            }
        }
    }

    /// Flip a bit of a stored frame, behind the node's back.
    pub fn corrupt(&mut self, frame: &[u8]) {
        let at = self.memory.find(frame).expect("the frame is stored");
        self.memory.flip(at + frame.len() as u64 - 1);
    }
}

/// The canister under test.
pub fn node() -> Principal {
    Principal::from_slice(&[0, 0, 0, 0, 0, 16, 0, 7, 1, 1])
}

pub fn flags(bits: &[u8], count: usize) -> Vec<bool> {
    assert_eq!(bits.len(), count.div_ceil(8));
    (0..count).map(|index| bits[index / 8] >> (index % 8) & 1 == 1).collect()
}

pub fn hash(frame: &[u8]) -> Digest {
    digest::hash(frame)
}
