//! Scrubbing: hashing stored frames again, by consensus, and restoring the references to them.
//!
//! First come all frames, in the order of their digests; each is named, so that a frame whose entry
//! in the index is lost is missed. Then come all sealed versions: a reference that a manifest calls
//! for and that is not there is made again, for without it garbage collection frees the frame. Every
//! part of a manifest is read by its digest, so a damaged one restores nothing.

use std::collections::BTreeSet;

use datanode_codec::digest;
use datanode_codec::frame::parse;
use datanode_codec::limits::MAX_CHUNKS_A_PAGE;
use datanode_codec::manifest::{self, Head};
use ic_stable_structures::Memory;
use serde_bytes::ByteBuf;

use crate::api::{Hash, ScrubPage};
use crate::contents::Sealing;
use crate::cursor::{self, Scrubbed, SealedRecord};
use crate::frames::Entry;
use crate::inner::Inner;
use crate::limits::{MAX_CORRUPT_NAMED, MAX_SCRUB_BYTES, STEP_UNITS};
use crate::models::VersionRow;
use crate::regions::Purpose;
use crate::{Context, Digest, Outcome};

/// Bytes that are hashed and parsed for one unit of work, at some 20 instructions a byte.
const UNIT_BYTES: usize = 5_000;

/// What a step may still do, and what it has found.
struct Step {
    units: u32,
    bytes: u64,
    page: ScrubPage,
}

impl Step {
    fn spend(&mut self, units: u32) {
        self.units = self.units.saturating_sub(units);
    }

    fn is_spent(&self) -> bool {
        self.units == 0 || self.page.restored.len() >= MAX_CORRUPT_NAMED
    }
}

impl<M: Memory + Clone> Inner<M> {
    /// Hash stored frames in the order of their digests, up to so many bytes but at least one, name
    /// them and flag the damaged ones; then restore missing references of sealed versions.
    /// Controllers only, for it names frames of everybody.
    ///
    /// # Errors
    /// The caller is no controller, or the cursor is not from here.
    pub fn scrub(
        &mut self,
        context: &Context,
        cursor: &[u8],
        max_bytes: u64,
    ) -> Outcome<ScrubPage> {
        Self::require_controller(context)?;
        let after = cursor::parse_scrub(cursor)?;
        self.reserve_tables(Purpose::Free)?;
        let bytes = max_bytes.min(MAX_SCRUB_BYTES);
        let mut step = Step { units: STEP_UNITS, bytes, page: ScrubPage::default() };
        let next = match after {
            Scrubbed::Frames(after) => match self.scrub_frames(after, &mut step) {
                Some(digest) => Some(digest.to_vec()),
                None => self.restore_references(SealedRecord::default(), &mut step),
            },
            Scrubbed::Records(record) => self.restore_references(record, &mut step),
        };
        Ok(ScrubPage { next: next.map(ByteBuf::from), ..step.page })
    }

    /// Hash frames behind a digest; return the last one if others follow.
    fn scrub_frames(&mut self, after: Option<Digest>, step: &mut Step) -> Option<Digest> {
        let mut found: Vec<(Digest, u32, Entry, bool)> = Vec::new();
        let mut suspects = BTreeSet::new();
        let mut last = None;
        let mut ended = true;
        for (digest, user, entry) in self.frames.walk(after) {
            let is_full = step.is_spent()
                || suspects.len() >= MAX_CORRUPT_NAMED
                || u64::from(entry.length) > step.bytes;
            // The copies of a frame are checked together.
            if is_full && last.is_some_and(|last| last != digest) {
                ended = false;
                break;
            }
            step.spend(1);
            step.bytes = step.bytes.saturating_sub(entry.length.into());
            if last != Some(digest) {
                step.page.checked.push(Hash(digest));
            }
            last = Some(digest);
            let damaged = digest::hash(&self.frames.read(entry)) != digest;
            if damaged {
                suspects.insert(digest);
            }
            if damaged != entry.damaged {
                found.push((digest, user, entry, damaged));
            }
        }
        for (digest, user, old, damaged) in found {
            let new = Entry { damaged, ..old };
            self.frames.update((&digest, user), old, new, &mut self.header);
        }
        // A frame of which a whole copy is left is none the worse.
        let is_corrupt = |digest: &Digest| self.frames.get(digest).is_some_and(|e| e.damaged);
        step.page.corrupt = suspects.into_iter().filter(is_corrupt).map(Hash).collect();
        last.filter(|_| !ended)
    }

    /// Restore the references of sealed versions from a record on; return the cursor of the next.
    fn restore_references(&mut self, mut at: SealedRecord, step: &mut Step) -> Option<Vec<u8>> {
        loop {
            let (model, row) = self.version_from(at.model, at.version)?;
            if (model, row.version) != (at.model, at.version) {
                at = SealedRecord { model, version: row.version, record: 0 };
            }
            if !self.restore_version(&mut at, &row, step) {
                return Some(at.cursor());
            }
            at.version += 1;
            at.record = 0;
        }
    }

    /// Restore the references of a version; tell whether that was all of it.
    fn restore_version(
        &mut self,
        at: &mut SealedRecord,
        row: &VersionRow,
        step: &mut Step,
    ) -> bool {
        let Some(sealer) = self.sealer(row.sealed_by) else { return true };
        let sealing = Sealing { sealer, model: at.model, seal: row.seal };
        let Some(head) = self.proven_head(&row.manifest, step) else { return true };
        if at.record == 0 {
            let parts = [row.manifest, row.placement];
            for digest in parts.iter().chain(&head.chunk_pages).chain(&head.tensor_pages) {
                self.restore_reference(digest, sealing, step);
            }
        }
        let page_records = MAX_CHUNKS_A_PAGE as u32;
        while let Some(digest) = head.chunk_pages.get((at.record / page_records) as usize) {
            let first = at.record - at.record % page_records;
            if step.is_spent() {
                return false;
            }
            let page = self.proven_part(digest, step).unwrap_or_default();
            if let Ok(records) = manifest::chunk_page(&page) {
                for record in records.iter().skip((at.record - first) as usize) {
                    if step.is_spent() {
                        return false;
                    }
                    self.restore_reference(&record.frame, sealing, step);
                    at.record += 1;
                }
            }
            at.record = first + page_records;
        }
        true
    }

    fn restore_reference(&mut self, digest: &Digest, sealing: Sealing, step: &mut Step) {
        step.spend(1);
        if self.holds.refer(digest, sealing) {
            step.page.restored.push(Hash(*digest));
        }
    }

    fn proven_head(&self, digest: &Digest, step: &mut Step) -> Option<Head> {
        manifest::parse_head(&self.proven_part(digest, step)?).ok()
    }

    /// Read the payload of a part whose bytes have their digest.
    fn proven_part(&self, digest: &Digest, step: &mut Step) -> Option<Vec<u8>> {
        step.spend(1);
        let entry = self.frames.get(digest)?;
        step.spend((entry.length as usize / UNIT_BYTES) as u32);
        let mut frame = self.frames.read_checked(digest, entry)?;
        let payload = parse(&frame).ok()?.1.len();
        frame.drain(..frame.len() - payload);
        Some(frame)
    }
}
