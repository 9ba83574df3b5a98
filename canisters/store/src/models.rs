//! Models and their versions as rows of the catalog.

use candid::Principal;

use crate::Digest;
use crate::api::{Hash, Version, Visibility};
use crate::catalog::Row;
use crate::row::{Reader, Writer};

/// A model. Its row outlives its deletion, so that versions of a name only ever rise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRow {
    pub id: u32,
    pub owner: Principal,
    pub visibility: Visibility,
    /// The highest version; 0 if the model is deleted.
    pub latest: u32,
    pub next_version: u32,
}

impl Row for ModelRow {
    fn encode(&self) -> Vec<u8> {
        let public = u8::from(self.visibility == Visibility::Public);
        let row = Writer::default().u32(self.id).principal(self.owner).u8(public);
        row.u32(self.latest).u32(self.next_version).finish()
    }

    fn decode(row: &[u8]) -> Self {
        let mut row = Reader::new(row);
        let model = Self {
            id: row.u32(),
            owner: row.principal(),
            visibility: if row.u8() == 1 { Visibility::Public } else { Visibility::Private },
            latest: row.u32(),
            next_version: row.u32(),
        };
        row.end();
        model
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
}

impl Row for VersionRow {
    fn encode(&self) -> Vec<u8> {
        let row = Writer::default().u32(self.version).u32(self.seal);
        let row = row.digest(&self.manifest).digest(&self.placement).u32(self.chunks);
        let row = row.u64(self.frame_bytes).u64(self.raw_bytes).u64(self.sealed_ns);
        row.principal(self.sealed_by).finish()
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

/// The name of a model, filed under its id.
pub struct NameRow(pub String);

impl Row for NameRow {
    fn encode(&self) -> Vec<u8> {
        self.0.clone().into_bytes()
    }

    fn decode(row: &[u8]) -> Self {
        Self(String::from_utf8(row.to_vec()).expect("a name of the catalog is not UTF-8"))
    }
}

pub fn model_key(name: &str) -> Vec<u8> {
    Writer::tagged(b'm').raw(name.as_bytes()).finish()
}

pub fn id_key(id: u32) -> Vec<u8> {
    Writer::tagged(b'i').u32(id).finish()
}

pub fn owner_key(owner: Principal, name: &str) -> Vec<u8> {
    Writer::tagged(b'o').principal(owner).raw(name.as_bytes()).finish()
}

pub fn versions_prefix(id: u32) -> Vec<u8> {
    Writer::tagged(b'v').u32(id).finish()
}

pub fn version_key(id: u32, version: u32) -> Vec<u8> {
    Writer::tagged(b'v').u32(id).u32(version).finish()
}
