//! Collecting garbage: frames that no version refers to and no lease holds.
//!
//! Three phases, each with its place stored: references of what was deleted are removed, then rows
//! of leases that have ended, then frames without either that nobody has put or pinned for 14 days.

use std::collections::BTreeSet;

use ic_stable_structures::Memory;

use crate::api::{Force, GarbagePage};
use crate::catalog::Row;
use crate::cursor::{self, Work};
use crate::held::{Key, split_lease};
use crate::limits::{GRACE_NS, STEP_UNITS};
use crate::regions::Purpose;
use crate::row::{Reader, Writer};
use crate::store::Store;
use crate::{Context, Digest, Error, Outcome};

const TASK: &[u8] = b"t";

/// Rows of leases that are looked at for one unit of work.
const LOOKS_A_UNIT: u32 = 8;

/// A collection in progress.
struct Task {
    id: u64,
    phase: u8,
    leased: Option<Key>,
    frame: Option<Digest>,
}

/// Phases of a collection; the numbers are stored. What is neither of these sweeps the frames.
const PURGE: u8 = 0;
const LEASED: u8 = 1;
const END: u8 = 3;

impl Row for Task {
    fn encode(&self) -> Vec<u8> {
        let row = Writer::default().u64(self.id).u8(self.phase);
        let row = row.short(self.leased.as_ref().map_or(&[], Key::as_slice));
        row.short(self.frame.as_ref().map_or(&[], Digest::as_slice)).finish()
    }

    fn decode(row: &[u8]) -> Self {
        let mut row = Reader::new(row);
        let (id, phase) = (row.u64(), row.u8());
        let leased = Key::try_from(row.short()).ok();
        let frame = Digest::try_from(row.short()).ok();
        row.end();
        Self { id, phase, leased, frame }
    }
}

impl<M: Memory + Clone> Store<M> {
    /// Do a step of collecting garbage; controllers only. An empty cursor starts, or goes on with a
    /// collection that was interrupted.
    ///
    /// # Errors
    /// The caller is no controller, or a seal runs.
    pub fn collect_garbage(
        &mut self,
        context: &Context,
        force: Force,
        cursor: &[u8],
    ) -> Outcome<GarbagePage> {
        Self::controller_only(context)?;
        let id = cursor::parse_task(Work::Garbage, cursor)?;
        let running: Option<Task> = self.catalog.get(&TASK.to_vec());
        if id.is_some() && running.is_none() {
            // The last step again: its answer was lost.
            return Ok(GarbagePage { next: None, freed_frames: 0, freed_bytes: 0 });
        }
        self.reserve_tables(Purpose::Free)?;
        self.end_old_leases(context)?;
        let mut task = running.unwrap_or_else(|| Task {
            id: self.header.number(),
            phase: PURGE,
            leased: None,
            frame: None,
        });
        let mut units = STEP_UNITS;
        let (mut freed_frames, mut freed_bytes) = (0, 0);
        while task.phase != END && units > 0 {
            let ended = match task.phase {
                PURGE => self.purge(&mut units),
                LEASED => self.purge_leased(&mut task, &mut units),
                _ => {
                    let (frames, bytes, ended) =
                        self.sweep(context, force.force, &mut task, &mut units);
                    freed_frames += frames;
                    freed_bytes += bytes;
                    ended
                }
            };
            if ended {
                task.phase += 1;
            }
        }
        let next = (task.phase != END).then(|| cursor::task(Work::Garbage, task.id));
        if next.is_some() {
            self.catalog.put(TASK.to_vec(), &task);
        } else {
            self.catalog.remove(&TASK.to_vec());
        }
        self.save();
        Ok(GarbagePage { next, freed_frames, freed_bytes })
    }

    pub(crate) fn collects(&self) -> bool {
        self.catalog.contains(&TASK.to_vec())
    }

    /// End leases that nobody has used for 14 days, and seals whose lease has expired; refuse while
    /// a seal runs.
    fn end_old_leases(&mut self, context: &Context) -> Outcome<()> {
        let sealing = self.sealing_leases();
        let leases: Vec<_> = self.lease_rows().collect();
        let live = |id: u64| {
            leases.iter().any(|lease| lease.id == id && context.now_ns < lease.expires_ns())
        };
        if sealing.iter().any(|id| live(*id)) {
            return Err(Error::Conflict("a seal runs: collect garbage when it has ended".into()));
        }
        for lease in leases {
            if context.now_ns >= lease.used_ns.saturating_add(GRACE_NS) {
                self.end_lease(&lease);
            } else if sealing.contains(&lease.id) {
                self.abandon_seal(&lease);
            }
        }
        Ok(())
    }

    /// Remove rows of leases that have ended.
    fn purge_leased(&mut self, task: &mut Task, units: &mut u32) -> bool {
        let mut looks = units.saturating_mul(LOOKS_A_UNIT);
        let mut known = None;
        let mut removed = Vec::new();
        let mut ended = true;
        for key in self.holds.walk_leased(task.leased) {
            if looks < LOOKS_A_UNIT {
                ended = false;
                break;
            }
            looks -= 1;
            task.leased = Some(key);
            let id = split_lease(&key).0;
            let live = match known {
                Some((lease, live)) if lease == id => live,
                _ => self.lease_row(id).is_some(),
            };
            known = Some((id, live));
            if !live {
                looks = looks.saturating_sub(LOOKS_A_UNIT - 1);
                removed.push(key);
            }
        }
        for key in &removed {
            self.holds.unlease(key);
        }
        *units = if ended { looks / LOOKS_A_UNIT } else { 0 };
        ended
    }

    /// Free frames that nothing holds; tell how many, their bytes, and whether that was all.
    fn sweep(
        &mut self,
        context: &Context,
        force: bool,
        task: &mut Task,
        units: &mut u32,
    ) -> (u32, u64, bool) {
        let leases: BTreeSet<u64> = self.lease_rows().map(|lease| lease.id).collect();
        let mut garbage = Vec::new();
        let mut ended = true;
        for (digest, entry) in self.frames.walk(task.frame) {
            if *units == 0 {
                ended = false;
                break;
            }
            *units -= 1;
            task.frame = Some(digest);
            let kept = entry.touched_ns.saturating_add(GRACE_NS) > context.now_ns;
            let held = leases.contains(&entry.lease);
            if (kept && !force) || held || self.holds.is_referred(&digest) {
                continue;
            }
            *units = units.saturating_sub(leases.len() as u32 / 2);
            if !leases.iter().any(|lease| self.holds.has_row(*lease, &digest)) {
                *units = units.saturating_sub(4);
                garbage.push((digest, entry));
            }
        }
        let mut bytes = 0;
        for (digest, entry) in &garbage {
            self.frames.remove(digest, *entry, &mut self.header);
            bytes += u64::from(entry.length);
        }
        (garbage.len() as u32, bytes, ended)
    }
}
