//! Sealing: a manifest whose frames are all held becomes a version.
//!
//! A seal first checks everything and then refers to it, in steps of bounded work. How far it is
//! lies in the catalog under the lease, so that any step may be repeated or come from another
//! machine. Whatever it checks it also pins under the lease, so that garbage may be collected
//! meanwhile.

mod check;
mod commit;
mod task;

use ic_stable_structures::Memory;

use crate::access::Readable;
use crate::api::{Hash, Seal, SealStep};
use crate::catalog::{Row, Tag};
use crate::cursor::{self, Work};
use crate::inner::Inner;
use crate::leases::LeaseRow;
use crate::limits::{MAX_MODELS, MAX_VERSIONS, STEP_UNITS};
use crate::name::check_name;
use crate::purge::Doomed;
use crate::quota::Charge;
use crate::regions::Purpose;
use crate::row::Writer;
use crate::{Context, Digest, Error, Outcome};

use task::{Phase, Task};

/// What a step works with.
struct Step<'a> {
    context: &'a Context,
    lease: u64,
    known: Readable,
    /// Work that may still be done.
    units: u32,
    /// Frames, and their bytes, that the step pinned under the lease.
    pinned: (u32, u64),
    charge: Charge,
}

impl Step<'_> {
    fn spend(&mut self, units: u32) {
        self.units = self.units.saturating_sub(units);
    }

    /// Count what was pinned.
    fn count(&self, lease: &mut LeaseRow) {
        lease.frames = lease.frames.saturating_add(self.pinned.0);
        lease.frame_bytes = lease.frame_bytes.saturating_add(self.pinned.1);
    }
}

fn seal_key(lease: u64) -> Vec<u8> {
    Writer::tagged(Tag::Seal).u64(lease).finish()
}

impl<M: Memory + Clone> Inner<M> {
    /// Do a step of sealing a model; an empty cursor starts, or goes on where the last step ended.
    ///
    /// # Errors
    /// The lease is not the caller's, frames are missing, the manifest or the placement is wrong,
    /// or the new version would be another than the expected one. A refused seal is forgotten; the
    /// lease and its frames stay.
    pub fn seal_model(
        &mut self,
        context: &Context,
        lease: u64,
        seal: Seal,
        cursor: &[u8],
    ) -> Outcome<SealStep> {
        check_name(&seal.model)?;
        let id = cursor::parse_task(Work::Seal, cursor)?;
        if let Some(version) = self.sealed_before(context, &seal) {
            self.end_sealed(context, lease, &seal.model)?;
            return Ok(SealStep::Done(version));
        }
        let mut lease = self.lease_of(context, lease)?;
        if lease.model != seal.model {
            return Err(Error::BadRequest("the lease is on another model".into()));
        }
        self.reserve_tables(Purpose::Fill)?;
        let charge = self.charge(context, &mut lease)?;
        let mut task = self.seal_task(&lease, &seal, id)?;
        let mut step = Step {
            context,
            lease: lease.id,
            known: self.readable_by(context),
            units: STEP_UNITS,
            pinned: (0, 0),
            charge,
        };
        while task.phase != Phase::Finish && step.units > 0 {
            if let Err(error) = self.advance(&mut step, &mut task) {
                self.catalog.put(seal_key(lease.id), &task);
                self.abandon_seal(&lease);
                self.settle(&step.charge);
                step.count(&mut lease);
                self.renew(context, &mut lease);
                return Err(error);
            }
        }
        self.settle(&step.charge);
        step.count(&mut lease);
        self.catalog.put(seal_key(lease.id), &task);
        if task.phase == Phase::Finish {
            let done = self.finish(context, &lease, &task).map(SealStep::Done);
            if done.is_err() {
                self.renew(context, &mut lease);
            }
            done
        } else {
            self.renew(context, &mut lease);
            Ok(SealStep::Next(cursor::task(Work::Seal, task.id)))
        }
    }

    fn advance(&mut self, step: &mut Step<'_>, task: &mut Task) -> Outcome<()> {
        match task.phase {
            Phase::Head => self.check_head(step, task),
            Phase::Tensors => self.check_tensors(step, task),
            Phase::Chunks => self.check_chunks(step, task),
            Phase::Parts => self.refer_parts(step, task),
            Phase::Frames => self.refer_frames(step, task),
            Phase::Finish => Ok(()),
        }
    }

    /// Return the version that these digests were sealed as already.
    fn sealed_before(&self, context: &Context, seal: &Seal) -> Option<u32> {
        if !self.may_upload(context, &seal.model) {
            return None;
        }
        let model = self.model_row(&seal.model)?;
        self.version_of(model.id, &seal.manifest.0, &seal.placement.0)
    }

    fn end_sealed(&mut self, context: &Context, lease: u64, model: &str) -> Outcome<()> {
        if let Ok(lease) = self.lease_of(context, lease)
            && lease.model == model
        {
            self.reserve_tables(Purpose::Free)?;
            self.drop_lease(&lease);
        }
        Ok(())
    }

    /// Return the seal that runs under a lease, or start one.
    fn seal_task(&mut self, lease: &LeaseRow, seal: &Seal, id: Option<u64>) -> Outcome<Task> {
        let running: Option<Task> = self.catalog.get(&seal_key(lease.id));
        if let Some(task) = running {
            if task.is_of(seal) {
                return match id {
                    Some(id) if id != task.id => {
                        Err(Error::BadRequest("the cursor is that of another seal".into()))
                    }
                    _ => Ok(task),
                };
            }
            self.abandon_seal(lease);
        }
        let model = self.model_row(&lease.model);
        let versions = model.as_ref().map_or(0, |row| row.versions);
        if model.is_none() && self.header.models >= MAX_MODELS || versions >= MAX_VERSIONS {
            return Err(Error::Conflict("there are too many models or versions".into()));
        }
        self.check_expected(&lease.model, seal.expected_version)?;
        Ok(Task::new(self.header.number(), seal))
    }

    /// Forget the seal that runs under a lease; the references it has made are removed later.
    pub(crate) fn abandon_seal(&mut self, lease: &LeaseRow) {
        let key = seal_key(lease.id);
        let Some(task) = self.catalog.get::<Task>(&key) else { return };
        self.catalog.remove(&key);
        self.leave(&task.accounts, task.reserved_bytes, 0);
        if task.refers() {
            let doomed = Doomed::new(task.model, lease.model.clone(), lease.holder);
            self.doom(task.seal, &doomed);
        }
    }

    /// Count the seals in progress.
    pub(crate) fn seals(&self) -> usize {
        self.catalog.keys(&Tag::Seal.key()).count()
    }

    /// List the seals in progress that may have made references.
    pub(crate) fn referring_seals(&self) -> impl Iterator<Item = u32> {
        let tasks = self.catalog.walk(&Tag::Seal.key(), None).map(|(_, task): (_, Task)| task);
        tasks.filter(Task::refers).map(|task| task.seal)
    }

    fn check_expected(&self, model: &str, expected: Option<u32>) -> Outcome<()> {
        let next = self.next_version(model);
        if expected.is_none_or(|version| version == next) {
            return Ok(());
        }
        Err(Error::Conflict(format!("the new version would be {next}")))
    }
}

fn incomplete(missing: &[Digest], missing_total: u32) -> Error {
    Error::Incomplete { missing: missing.iter().copied().map(Hash).collect(), missing_total }
}

impl Row for Task {
    fn encode(&self) -> Vec<u8> {
        self.write()
    }

    fn decode(row: &[u8]) -> Self {
        Self::read(row)
    }
}
