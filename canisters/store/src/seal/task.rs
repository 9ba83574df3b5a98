//! How far a seal has come, as a row of the catalog.

use crate::Digest;
use crate::api::Seal;
use crate::contents::Sealing;
use crate::limits::MAX_MISSING_NAMED;
use crate::row::{Reader, Writer};

/// What a seal does next. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
#[repr(u8)]
pub enum Phase {
    /// Check the head, the placement record and that all pages are held.
    Head = 0,
    /// Check the tensor pages.
    Tensors = 1,
    /// Check the chunk pages and the frames of their records.
    Chunks = 2,
    /// Refer to head, placement record and pages.
    Parts = 3,
    /// Refer to the frames of the chunks, and index their contents.
    Frames = 4,
    /// Make the version.
    Finish = 5,
}

/// A seal in progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    pub id: u64,
    pub manifest: Digest,
    pub placement: Digest,
    pub expected_version: Option<u32>,
    pub phase: Phase,
    /// Page and record that come next.
    pub page: u32,
    pub record: u32,
    /// File that the next chunk or tensor belongs to, and what was counted of it.
    pub file: u32,
    pub file_bytes: u64,
    pub tensors: u32,
    pub chunks: u32,
    pub frame_bytes: u64,
    pub raw_bytes: u64,
    /// Sealer, model and seal that the references are made for.
    pub sealer: u32,
    pub model: u32,
    pub seal: u32,
    /// Bytes of all frames referred to, each once, and of those that the lease holds.
    pub charged_bytes: u64,
    pub leased_bytes: u64,
    /// At most the bytes that the version needs beyond those of its lease, and the accounts that
    /// they are charged to while references to them are made; none before.
    pub reserved_bytes: u64,
    pub accounts: Vec<u32>,
    pub missing_total: u32,
    pub missing: Vec<Digest>,
}

impl Task {
    pub fn new(id: u64, seal: &Seal) -> Self {
        Self {
            id,
            manifest: seal.manifest.0,
            placement: seal.placement.0,
            expected_version: seal.expected_version,
            phase: Phase::Head,
            page: 0,
            record: 0,
            file: 0,
            file_bytes: 0,
            tensors: 0,
            chunks: 0,
            frame_bytes: 0,
            raw_bytes: 0,
            sealer: 0,
            model: 0,
            seal: 0,
            charged_bytes: 0,
            leased_bytes: 0,
            reserved_bytes: 0,
            accounts: Vec::new(),
            missing_total: 0,
            missing: Vec::new(),
        }
    }

    /// Tell whether this is the seal that the caller means.
    pub fn is_of(&self, seal: &Seal) -> bool {
        self.manifest == seal.manifest.0
            && self.placement == seal.placement.0
            && self.expected_version == seal.expected_version
    }

    /// Return what the references are made for.
    pub fn sealing(&self) -> Sealing {
        Sealing { sealer: self.sealer, model: self.model, seal: self.seal }
    }

    /// Tell whether references may have been made.
    pub fn refers(&self) -> bool {
        self.phase > Phase::Parts
    }

    pub fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        (self.page, self.record, self.file, self.file_bytes) = (0, 0, 0, 0);
    }

    /// Note a frame that is missing. One that several chunks share is named once.
    pub fn miss(&mut self, digest: &Digest) {
        self.missing_total += 1;
        if self.missing.len() < MAX_MISSING_NAMED && !self.missing.contains(digest) {
            self.missing.push(*digest);
        }
    }

    pub fn write(&self) -> Vec<u8> {
        let row = Writer::default().u64(self.id).digest(&self.manifest).digest(&self.placement);
        let row = row.option(self.expected_version.map(u64::from)).u8(self.phase as u8);
        let row = row.u32(self.page).u32(self.record).u32(self.file).u64(self.file_bytes);
        let row = row.u32(self.tensors).u32(self.chunks).u64(self.frame_bytes).u64(self.raw_bytes);
        let row = row.u32(self.sealer).u32(self.model).u32(self.seal);
        let row = row.u64(self.charged_bytes).u64(self.leased_bytes);
        let row = row.u64(self.reserved_bytes).numbers(&self.accounts);
        let row = row.u32(self.missing_total).u32(self.missing.len() as u32);
        row.raw(self.missing.as_flattened()).finish()
    }

    pub fn read(row: &[u8]) -> Self {
        let mut row = Reader::new(row);
        let mut task = Self {
            id: row.u64(),
            manifest: row.digest(),
            placement: row.digest(),
            expected_version: row.option().map(|version| version as u32),
            phase: match row.u8() {
                0 => Phase::Head,
                1 => Phase::Tensors,
                2 => Phase::Chunks,
                3 => Phase::Parts,
                4 => Phase::Frames,
                _ => Phase::Finish,
            },
            page: row.u32(),
            record: row.u32(),
            file: row.u32(),
            file_bytes: row.u64(),
            tensors: row.u32(),
            chunks: row.u32(),
            frame_bytes: row.u64(),
            raw_bytes: row.u64(),
            sealer: row.u32(),
            model: row.u32(),
            seal: row.u32(),
            charged_bytes: row.u64(),
            leased_bytes: row.u64(),
            reserved_bytes: row.u64(),
            accounts: row.numbers(),
            missing_total: row.u32(),
            missing: Vec::new(),
        };
        task.missing = (0..row.u32()).map(|_| row.digest()).collect();
        row.end();
        task
    }
}
