//! The second half of a seal: references to every frame, then the version itself.

use datanode_codec::manifest::{self, ChunkRecord};
use ic_stable_structures::Memory;

use super::task::{Phase, Task};
use super::{Step, seal_key};
use crate::api::Visibility;
use crate::contents::Described;
use crate::inner::Inner;
use crate::leases::LeaseRow;
use crate::limits::GRACE_NS;
use crate::models::{ModelRow, VersionRow, tombstone_key};
use crate::{Context, Digest, Error, Outcome};

/// Work for a record of a chunk: a reference and a content, an insert each.
const UNITS_A_RECORD: u32 = 2;

impl<M: Memory + Clone> Inner<M> {
    pub(super) fn refer_parts(&mut self, step: &mut Step<'_>, task: &mut Task) -> Outcome<()> {
        let head = self.head(step, task)?;
        let lease = self.lease_row(step.lease).ok_or(Error::LeaseLost)?;
        self.reserve_version(step.context, &lease, task)?;
        let model = self.model_row(&lease.model);
        task.sealer = self.sealer_or_new(step.context.caller);
        task.model = match model {
            Some(model) => model.id,
            None => {
                self.header.next_model += 1;
                self.header.next_model - 1
            }
        };
        task.seal = self.header.next_seal;
        self.header.next_seal += 1;
        let parts = [task.manifest, task.placement];
        for digest in parts.iter().chain(&head.chunk_pages).chain(&head.tensor_pages) {
            step.spend(1);
            let bytes = self.frames.get(digest).map_or(0, |entry| entry.length);
            self.refer(task, digest, bytes);
        }
        task.enter(Phase::Frames);
        Ok(())
    }

    /// Refer to the frames of chunks and index their contents, sorted within the step: rows of one
    /// part of a table are written together.
    pub(super) fn refer_frames(&mut self, step: &mut Step<'_>, task: &mut Task) -> Outcome<()> {
        let mut records = Vec::new();
        let ended = self.take_records(step, task, &mut records)?;
        records.sort_unstable_by_key(|record| record.frame);
        records.dedup_by_key(|record| record.frame);
        for record in &records {
            self.refer(task, &record.frame, record.frame_len);
        }
        records.sort_unstable_by_key(|record| record.content);
        for record in &records {
            self.contents.insert(&record.content, task.sealing(), &Described::of(record));
        }
        if ended {
            task.enter(Phase::Finish);
        }
        Ok(())
    }

    /// Read the records that come next, as many as the step has units for; tell whether there are
    /// no more.
    fn take_records(
        &mut self,
        step: &mut Step<'_>,
        task: &mut Task,
        records: &mut Vec<ChunkRecord>,
    ) -> Outcome<bool> {
        let head = self.head(step, task)?;
        while let Some(digest) = head.chunk_pages.get(task.page as usize) {
            if step.units == 0 {
                return Ok(false);
            }
            let page = self.part(step, digest)?;
            let page = manifest::chunk_page(&page).map_err(Error::manifest)?;
            for record in page.iter().skip(task.record as usize) {
                if step.units == 0 {
                    return Ok(false);
                }
                step.spend(UNITS_A_RECORD);
                records.push(record);
                task.record += 1;
            }
            (task.page, task.record) = (task.page + 1, 0);
        }
        Ok(true)
    }

    /// Refer to a frame, and count it the first time. Its lease holds it: it was pinned.
    fn refer(&mut self, task: &mut Task, digest: &Digest, bytes: u32) {
        if self.holds.refer(digest, task.sealing()) {
            task.charged_bytes += u64::from(bytes);
            task.leased_bytes += u64::from(bytes);
        }
    }

    /// Charge what a version needs beyond its lease, before anything is held by references to it.
    fn reserve_version(
        &mut self,
        context: &Context,
        lease: &LeaseRow,
        task: &mut Task,
    ) -> Outcome<()> {
        let mut charge = self.open_charge(context, lease.accounts.clone());
        charge.check(task.reserved_bytes)?;
        charge.take(task.reserved_bytes);
        self.settle(&charge);
        task.accounts.clone_from(&lease.accounts);
        Ok(())
    }

    /// Charge a version to what its lease is charged to, instead of what was reserved for it and of
    /// the frames that both hold.
    fn charge_version(&mut self, context: &Context, lease: &LeaseRow, task: &Task) -> Outcome<()> {
        let mut charge = self.open_charge(context, lease.accounts.clone());
        if task.accounts == lease.accounts {
            charge.give_back(task.reserved_bytes);
        }
        let more = task.charged_bytes.saturating_sub(task.leased_bytes);
        charge.check(more)?;
        charge.take(more);
        self.settle(&charge);
        if task.accounts != lease.accounts {
            self.leave(&task.accounts, task.reserved_bytes, 0);
        }
        let left = lease.frame_bytes.saturating_sub(task.leased_bytes);
        self.leave(&lease.accounts, left, context.now_ns.saturating_add(GRACE_NS));
        Ok(())
    }

    /// Make the version, and with the first one the model; end the lease.
    pub(super) fn finish(
        &mut self,
        context: &Context,
        lease: &LeaseRow,
        task: &Task,
    ) -> Outcome<u32> {
        let expected = self.check_expected(&lease.model, task.expected_version);
        if let Err(error) = expected.and_then(|()| self.charge_version(context, lease, task)) {
            self.abandon_seal(lease);
            return Err(error);
        }
        let name = &lease.model;
        let version = self.next_version(name);
        let alive = self.model_row(name);
        let fresh = alive.is_none();
        let mut model = match alive {
            Some(model) => model,
            None => ModelRow {
                id: task.model,
                owner: lease.holder,
                visibility: Visibility::Private,
                latest: 0,
                next_version: version,
                versions: 0,
                sponsor: self.sponsor(context, name),
            },
        };
        (model.latest, model.next_version) = (version, version + 1);
        model.versions += 1;
        let row = VersionRow {
            version,
            seal: task.seal,
            manifest: task.manifest,
            placement: task.placement,
            chunks: task.chunks,
            frame_bytes: task.frame_bytes,
            raw_bytes: task.raw_bytes,
            sealed_ns: context.now_ns,
            sealed_by: lease.holder,
            charged_bytes: task.charged_bytes,
            accounts: lease.accounts.clone(),
        };
        self.put_version(model.id, &row);
        self.put_model(name, &model);
        if fresh {
            self.header.models += 1;
            self.catalog.remove(&tombstone_key(name));
        }
        self.tree.insert(name, &model, &row);
        self.catalog.remove(&seal_key(lease.id));
        self.remove_lease(lease);
        Ok(version)
    }
}
