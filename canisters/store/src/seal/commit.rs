//! The second half of a seal: references to every frame, then the version itself.

use datanode_codec::manifest;
use ic_stable_structures::Memory;

use super::task::{Phase, Task};
use super::{Step, seal_key};
use crate::api::Visibility;
use crate::leases::LeaseRow;
use crate::models::{ModelRow, VersionRow, model_key, version_key};
use crate::store::Store;
use crate::{Context, Error, Outcome};

impl<M: Memory + Clone> Store<M> {
    pub(super) fn refer_parts(&mut self, step: &mut Step<'_>, task: &mut Task) -> Outcome<()> {
        let head = self.head(step, task)?;
        let model = self.lease_row(step.lease).and_then(|lease| self.model_row(&lease.model));
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
            self.holds.refer(digest, task.model, task.seal);
        }
        task.enter(Phase::Frames);
        Ok(())
    }

    pub(super) fn refer_frames(&mut self, step: &mut Step<'_>, task: &mut Task) -> Outcome<()> {
        let head = self.head(step, task)?;
        while let Some(digest) = head.chunk_pages.get(task.page as usize) {
            if step.units == 0 {
                return Ok(());
            }
            let page = self.part(step, digest)?;
            let records = manifest::chunk_page(&page).map_err(Error::manifest)?;
            for record in records.iter().skip(task.record as usize) {
                if step.units == 0 {
                    return Ok(());
                }
                step.spend(1);
                self.holds.refer(&record.frame, task.model, task.seal);
                task.record += 1;
            }
            (task.page, task.record) = (task.page + 1, 0);
        }
        task.enter(Phase::Finish);
        Ok(())
    }

    /// Make the version, and with the first one the model; end the lease.
    pub(super) fn finish(
        &mut self,
        context: &Context,
        lease: &LeaseRow,
        task: &Task,
    ) -> Outcome<u32> {
        let name = &lease.model;
        if let Err(error) = self.check_expected(name, task.expected_version) {
            self.abandon_seal(lease);
            return Err(error);
        }
        let version = self.next_version(name);
        let alive = self.model_row(name);
        let fresh = alive.is_none();
        let mut model = alive.unwrap_or(ModelRow {
            id: task.model,
            owner: lease.holder,
            visibility: Visibility::Private,
            latest: 0,
            next_version: version,
        });
        (model.latest, model.next_version) = (version, version + 1);
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
        };
        self.catalog.put(version_key(model.id, version), &row);
        self.put_model(name, &model);
        self.header.models += u32::from(fresh);
        self.count_sealed(lease.holder, row.frame_bytes, 0);
        self.tree.insert(name, &row, version);
        self.catalog.remove(&seal_key(lease.id));
        self.remove_lease(lease);
        Ok(version)
    }

    /// Return the number of the next version of a name, of a deleted one too.
    pub(super) fn next_version(&self, name: &str) -> u32 {
        let row: Option<ModelRow> = self.catalog.get(&model_key(name));
        row.map_or(1, |row| row.next_version)
    }
}
