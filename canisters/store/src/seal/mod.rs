//! Sealing: a manifest whose frames are all held becomes a version.
//!
//! A seal first checks everything and then refers to it, in steps of bounded work. How far it is
//! lies in the catalog under the lease, so that any step may be repeated or come from another
//! machine. Garbage is not collected while a seal runs, so that what was checked stays.

mod check;
mod commit;
mod task;

use ic_stable_structures::Memory;

use crate::access::Readable;
use crate::api::{Hash, Seal, SealStep};
use crate::catalog::Row;
use crate::cursor::{self, Work};
use crate::leases::LeaseRow;
use crate::limits::{MAX_MODELS, MAX_VERSIONS, STEP_UNITS};
use crate::name::check_name;
use crate::purge::Doomed;
use crate::regions::Purpose;
use crate::store::Store;
use crate::{Context, Digest, Error, Outcome};

use task::{Phase, Task};

/// Prefix of the keys of all seals in progress; the lease id follows.
pub const SEALS: &[u8] = b"s";

/// What a step works with.
struct Step<'a> {
    context: &'a Context,
    lease: u64,
    known: Readable,
    /// Work that may still be done.
    units: u32,
}

impl Step<'_> {
    fn spend(&mut self, units: u32) {
        self.units = self.units.saturating_sub(units);
    }
}

fn seal_key(lease: u64) -> Vec<u8> {
    [SEALS, lease.to_be_bytes().as_slice()].concat()
}

impl<M: Memory + Clone> Store<M> {
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
        let mut task = self.seal_task(&lease, &seal, id)?;
        let mut step =
            Step { context, lease: lease.id, known: Readable::default(), units: STEP_UNITS };
        while task.phase != Phase::Finish && step.units > 0 {
            if let Err(error) = self.advance(&mut step, &mut task) {
                self.catalog.put(seal_key(lease.id), &task);
                self.abandon_seal(&lease);
                self.renew(context, &mut lease);
                self.save();
                return Err(error);
            }
        }
        let outcome = if task.phase == Phase::Finish {
            self.catalog.put(seal_key(lease.id), &task);
            self.finish(context, &lease, &task).map(SealStep::Done)
        } else {
            self.catalog.put(seal_key(lease.id), &task);
            self.renew(context, &mut lease);
            Ok(SealStep::Next(cursor::task(Work::Seal, task.id)))
        };
        self.save();
        outcome
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
        let same = |row: &crate::models::VersionRow| {
            row.manifest == seal.manifest.0 && row.placement == seal.placement.0
        };
        self.version_rows(model.id).find(same).map(|row| row.version)
    }

    fn end_sealed(&mut self, context: &Context, lease: u64, model: &str) -> Outcome<()> {
        if let Ok(lease) = self.lease_of(context, lease)
            && lease.model == model
        {
            self.reserve_tables(Purpose::Free)?;
            self.end_lease(&lease);
            self.save();
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
        let versions = model.as_ref().map_or(0, |row| self.version_rows(row.id).count());
        if model.is_none() && self.header.models >= MAX_MODELS || versions >= MAX_VERSIONS as usize
        {
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
        if task.refers() {
            let doomed = Doomed::new(task.model, lease.model.clone(), lease.holder);
            self.doom(task.seal, &doomed);
        }
    }

    /// List the leases under which a seal runs.
    pub(crate) fn sealing_leases(&self) -> Vec<u64> {
        let ids = self.catalog.keys(SEALS).filter_map(|key| <[u8; 8]>::try_from(key).ok());
        ids.map(u64::from_be_bytes).collect()
    }

    /// List the seals in progress that may have made references.
    pub(crate) fn referring_seals(&self) -> impl Iterator<Item = u32> {
        let tasks = self.catalog.walk(SEALS, None).map(|(_, task): (_, Task)| task);
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
