//! Models and their versions as rows of the catalog.

use std::hint::black_box;

use candid::Principal;

use crate::Digest;
use crate::api::{Hash, Version, Visibility};
use crate::catalog::{Row, Tag};
use crate::row::{Reader, Writer};

/// A model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRow {
    pub id: u32,
    pub owner: Principal,
    pub visibility: Visibility,
    /// The highest version.
    pub latest: u32,
    pub next_version: u32,
    /// How many versions there are.
    pub versions: u32,
    /// The account that answers for what its owner, and those whom the owner lets upload, put.
    pub sponsor: u32,
}

/// A row of a private model whose owner nobody is.
const NOTHING: [u8; 51] = {
    let mut row = [0; 51];
    row[4] = 29; // the longest principal, as users have it
    row
};

impl ModelRow {
    /// Read a row as if there were one: of a model that nobody may read.
    pub fn of_nothing() -> Self {
        Self::decode(&black_box(NOTHING))
    }
}

impl Row for ModelRow {
    fn encode(&self) -> Vec<u8> {
        let public = u8::from(self.visibility == Visibility::Public);
        let row = Writer::default().u32(self.id).principal(self.owner).u8(public);
        let row = row.u32(self.latest).u32(self.next_version).u32(self.versions);
        row.u32(self.sponsor).finish()
    }

    fn decode(row: &[u8]) -> Self {
        let mut row = Reader::new(row);
        let model = Self {
            id: row.u32(),
            owner: row.principal(),
            visibility: if row.u8() == 1 { Visibility::Public } else { Visibility::Private },
            latest: row.u32(),
            next_version: row.u32(),
            versions: row.u32(),
            sponsor: row.u32(),
        };
        row.end();
        model
    }
}

/// What is left of a deleted model, so that versions of its name only ever rise.
pub struct Tombstone {
    pub next_version: u32,
}

impl Row for Tombstone {
    fn encode(&self) -> Vec<u8> {
        Writer::default().u32(self.next_version).finish()
    }

    fn decode(row: &[u8]) -> Self {
        Self { next_version: Reader::new(row).u32() }
    }
}

/// The number of a version, filed under its digests.
pub struct VersionNumber(pub u32);

impl Row for VersionNumber {
    fn encode(&self) -> Vec<u8> {
        Writer::default().u32(self.0).finish()
    }

    fn decode(row: &[u8]) -> Self {
        Self(Reader::new(row).u32())
    }
}

/// A sealed version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRow {
    pub version: u32,
    pub seal: u32,
    pub manifest: Digest,
    pub placement: Digest,
    pub chunks: u32,
    pub frame_bytes: u64,
    pub raw_bytes: u64,
    pub sealed_ns: u64,
    pub sealed_by: Principal,
    /// Bytes of all its frames, each once, and the accounts that they are charged to.
    pub charged_bytes: u64,
    pub accounts: Vec<u32>,
}

impl Row for VersionRow {
    fn encode(&self) -> Vec<u8> {
        let row = Writer::default().u32(self.version).u32(self.seal);
        let row = row.digest(&self.manifest).digest(&self.placement).u32(self.chunks);
        let row = row.u64(self.frame_bytes).u64(self.raw_bytes).u64(self.sealed_ns);
        row.principal(self.sealed_by).u64(self.charged_bytes).numbers(&self.accounts).finish()
    }

    fn decode(row: &[u8]) -> Self {
        let mut row = Reader::new(row);
        let version = Self {
            version: row.u32(),
            seal: row.u32(),
            manifest: row.digest(),
            placement: row.digest(),
            chunks: row.u32(),
            frame_bytes: row.u64(),
            raw_bytes: row.u64(),
            sealed_ns: row.u64(),
            sealed_by: row.principal(),
            charged_bytes: row.u64(),
            accounts: row.numbers(),
        };
        row.end();
        version
    }
}

impl VersionRow {
    /// Return what certifies the version: both digests, one after the other.
    pub fn leaf(&self) -> Vec<u8> {
        [self.manifest, self.placement].concat()
    }

    /// Return the version as it travels.
    pub fn describe(&self) -> Version {
        Version {
            version: self.version,
            manifest: Hash(self.manifest),
            placement: Hash(self.placement),
            chunks: self.chunks,
            frame_bytes: self.frame_bytes,
            raw_bytes: self.raw_bytes,
            sealed_ns: self.sealed_ns,
            sealed_by: self.sealed_by,
        }
    }
}

pub fn model_key(name: &str) -> Vec<u8> {
    Writer::tagged(Tag::Model).raw(name.as_bytes()).finish()
}

pub fn tombstone_key(name: &str) -> Vec<u8> {
    Writer::tagged(Tag::Tombstone).raw(name.as_bytes()).finish()
}

pub fn public_key(name: &str) -> Vec<u8> {
    Writer::tagged(Tag::Public).raw(name.as_bytes()).finish()
}

pub fn manifest_prefix(id: u32, manifest: &Digest) -> Vec<u8> {
    Writer::tagged(Tag::Digests).u32(id).digest(manifest).finish()
}

pub fn digests_key(id: u32, manifest: &Digest, placement: &Digest) -> Vec<u8> {
    Writer::tagged(Tag::Digests).u32(id).digest(manifest).digest(placement).finish()
}

pub fn owner_key(owner: Principal, name: &str) -> Vec<u8> {
    Writer::tagged(Tag::Owner).principal(owner).raw(name.as_bytes()).finish()
}

pub fn owner_prefix(owner: Principal) -> Vec<u8> {
    Writer::tagged(Tag::Owner).principal(owner).finish()
}

pub fn versions_prefix(id: u32) -> Vec<u8> {
    Writer::tagged(Tag::Version).u32(id).finish()
}

pub fn version_key(id: u32, version: u32) -> Vec<u8> {
    Writer::tagged(Tag::Version).u32(id).u32(version).finish()
}
