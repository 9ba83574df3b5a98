//! Index of contents: which frame carries a content, among those that a principal has sealed.
//!
//! ```text
//! key   sealer 4 | content digest 32 | model id 4 | seal id 4     numbers big-endian
//! row   frame digest 32 | frame bytes 4 | raw bytes 4 | codec 1 | element type 1
//! ```
//!
//! A sealer is the number of a principal, so that the rows of one principal lie together. A row
//! repeats what the frame's header says: a look-up does not touch the frame.

use std::ops::Bound;

use candid::Principal;
use datanode_codec::manifest::ChunkRecord;
use ic_stable_structures::{Memory, StableBTreeMap};

use crate::Digest;
use crate::catalog::{Row, Tag};
use crate::inner::Inner;
use crate::key::Key;
use crate::regions::Region;
use crate::row::{Reader, Writer};

const KEY_BYTES: usize = 44;
const ROW_BYTES: usize = 42;

/// Key of a row.
pub type ContentKey = Key<KEY_BYTES>;

/// Who seals, and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealing {
    pub sealer: u32,
    pub model: u32,
    pub seal: u32,
}

/// What a frame's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Described {
    pub frame: Digest,
    pub bytes: u32,
    pub raw_bytes: u32,
    pub codec: u8,
    pub element: u8,
}

impl Described {
    /// Take the description out of a record that was compared with the header.
    pub fn of(record: &ChunkRecord) -> Self {
        Self {
            frame: record.frame,
            bytes: record.frame_len,
            raw_bytes: record.raw_len,
            codec: record.codec.id(),
            element: record.element.id(),
        }
    }

    fn encode(&self) -> [u8; ROW_BYTES] {
        let mut row = [0; ROW_BYTES];
        row[..32].copy_from_slice(&self.frame);
        row[32..36].copy_from_slice(&self.bytes.to_be_bytes());
        row[36..40].copy_from_slice(&self.raw_bytes.to_be_bytes());
        (row[40], row[41]) = (self.codec, self.element);
        row
    }

    fn decode(row: &[u8; ROW_BYTES]) -> Self {
        let mut frame = [0; 32];
        frame.copy_from_slice(&row[..32]);
        let u32_at = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|i| row[at + i]));
        let (bytes, raw_bytes) = (u32_at(32), u32_at(36));
        Self { frame, bytes, raw_bytes, codec: row[40], element: row[41] }
    }
}

/// The index.
pub struct Contents<M: Memory>(StableBTreeMap<ContentKey, [u8; ROW_BYTES], Region<M>>);

impl<M: Memory> Contents<M> {
    pub fn new(region: Region<M>) -> Self {
        Self(StableBTreeMap::init(region))
    }

    /// Enter a frame; another one of the same content in the same seal is replaced.
    pub fn insert(&mut self, content: &Digest, sealing: Sealing, frame: &Described) {
        let Sealing { sealer, model, seal } = sealing;
        self.0.insert(key(sealer, content, model, seal), frame.encode());
    }

    pub fn remove(&mut self, key: &ContentKey) {
        self.0.remove(key);
    }

    /// Walk the frames of a content that a principal sealed: model, seal, frame.
    pub fn frames(
        &self,
        sealer: u32,
        content: &Digest,
    ) -> impl Iterator<Item = (u32, u32, Described)> {
        let range = key(sealer, content, 0, 0)..=key(sealer, content, u32::MAX, u32::MAX);
        self.0.range(range).map(|row| {
            let (model, seal) = split(row.key());
            (model, seal, Described::decode(&row.value()))
        })
    }

    /// Walk all keys behind one.
    pub fn walk(&self, after: Option<ContentKey>) -> impl Iterator<Item = ContentKey> {
        self.0.keys_range((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))
    }
}

/// Return the model and the seal of a key.
pub fn split(key: &ContentKey) -> (u32, u32) {
    (key.u32_at(36), key.u32_at(40))
}

fn key(sealer: u32, content: &Digest, model: u32, seal: u32) -> ContentKey {
    Key::join([&sealer.to_be_bytes(), content, &model.to_be_bytes(), &seal.to_be_bytes()])
}

/// The number of a principal that has sealed.
struct Sealer(u32);

impl Row for Sealer {
    fn encode(&self) -> Vec<u8> {
        Writer::default().u32(self.0).finish()
    }

    fn decode(row: &[u8]) -> Self {
        Self(Reader::new(row).u32())
    }
}

fn sealer_key(principal: Principal) -> Vec<u8> {
    Writer::tagged(Tag::Sealer).principal(principal).finish()
}

impl<M: Memory + Clone> Inner<M> {
    /// Return the number of a principal that has sealed before.
    pub(crate) fn sealer(&self, principal: Principal) -> Option<u32> {
        self.catalog.get(&sealer_key(principal)).map(|Sealer(number)| number)
    }

    /// Return the number of a principal that is about to seal.
    pub(crate) fn sealer_or_new(&mut self, principal: Principal) -> u32 {
        self.sealer(principal).unwrap_or_else(|| {
            let number = self.header.next_sealer;
            self.header.next_sealer += 1;
            self.catalog.put(sealer_key(principal), &Sealer(number));
            number
        })
    }
}
