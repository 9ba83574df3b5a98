//! Collecting garbage: frames that no version refers to and no lease holds.
//!
//! Four phases, each with its place stored: references of what was deleted are removed, then rows of
//! leases that have ended, then frames without either that were last put or pinned 14 days ago.
//! Then accounts are discharged of what they left behind.

use std::collections::BTreeSet;

use candid::Principal;
use ic_stable_structures::Memory;

use crate::api::{Force, GarbagePage};
use crate::catalog::{Row, Tag};
use crate::cursor::{self, Work};
use crate::frames::Entry;
use crate::held::{LeasedKey, split_lease};
use crate::inner::Inner;
use crate::key::Key;
use crate::limits::{GRACE_NS, STEP_UNITS};
use crate::regions::Purpose;
use crate::remainders::Release;
use crate::row::{Reader, Writer};
use crate::{Context, Digest, Outcome};

/// Rows of leases that are looked at for one unit of work.
const LOOKS_A_UNIT: u32 = 8;

/// A collection in progress.
struct Task {
    id: u64,
    phase: u8,
    /// Only seals with lower numbers are waited for: others may be doomed all the time.
    seals_end: u32,
    leased: Option<LeasedKey>,
    frame: Option<Digest>,
    /// When it began, and which collection it is.
    begun_ns: u64,
    number: u32,
    /// Whether all steps were forced.
    forced: bool,
}

/// The leases that have not ended, and the tags of their holders.
struct Leases {
    ids: BTreeSet<u64>,
    tags: Vec<u64>,
}

/// Phases of a collection; the numbers are stored. What is none of these sweeps the frames.
const PURGE: u8 = 0;
const LEASED: u8 = 1;
const RELEASE: u8 = 3;
const END: u8 = 4;

impl Row for Task {
    fn encode(&self) -> Vec<u8> {
        let row = Writer::default().u64(self.id).u8(self.phase).u32(self.seals_end);
        let row = row.short(self.leased.as_ref().map_or(&[], |key| &key.0));
        let row = row.short(self.frame.as_ref().map_or(&[], Digest::as_slice));
        row.u64(self.begun_ns).u32(self.number).u8(self.forced.into()).finish()
    }

    fn decode(row: &[u8]) -> Self {
        let mut row = Reader::new(row);
        let (id, phase, seals_end) = (row.u64(), row.u8(), row.u32());
        let leased = row.short().try_into().ok().map(Key);
        let frame = Digest::try_from(row.short()).ok();
        let (begun_ns, number, forced) = (row.u64(), row.u32(), row.u8() == 1);
        row.end();
        Self { id, phase, seals_end, leased, frame, begun_ns, number, forced }
    }
}

impl Task {
    fn releases(&self) -> Release {
        let until_ns = (!self.forced).then_some(self.begun_ns);
        Release { collection: self.number, until_ns }
    }
}

impl<M: Memory + Clone> Inner<M> {
    /// Do a step of collecting garbage; controllers only. An empty cursor starts, or goes on with a
    /// collection that was interrupted.
    ///
    /// # Errors
    /// The caller is not a controller.
    pub fn collect_garbage(
        &mut self,
        context: &Context,
        force: Force,
        cursor: &[u8],
    ) -> Outcome<GarbagePage> {
        Self::require_controller(context)?;
        let id = cursor::parse_task(Work::Garbage, cursor)?;
        let running: Option<Task> = self.catalog.get(&Tag::Task.key());
        if id.is_some() && running.is_none() {
            // The last step again: its answer was lost.
            return Ok(GarbagePage { next: None, freed_frames: 0, freed_bytes: 0 });
        }
        self.reserve_tables(Purpose::Free)?;
        self.end_old_leases(context);
        let mut task = running.unwrap_or_else(|| self.begin_collection(context));
        task.forced &= force.force;
        let mut units = STEP_UNITS;
        let (mut freed_frames, mut freed_bytes) = (0, 0);
        while task.phase != END && units > 0 {
            let ended = match task.phase {
                PURGE => self.purge(task.seals_end, &mut units),
                LEASED => self.purge_leased(&mut task, &mut units),
                RELEASE => self.release(task.releases(), &mut units),
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
            self.catalog.put(Tag::Task.key(), &task);
        } else {
            self.catalog.remove(&Tag::Task.key());
        }
        Ok(GarbagePage { next, freed_frames, freed_bytes })
    }

    /// What ended leases and deleted versions leave behind from now on is not of this collection.
    fn begin_collection(&mut self, context: &Context) -> Task {
        self.header.collections += 1;
        Task {
            id: self.header.number(),
            phase: PURGE,
            seals_end: self.header.next_seal,
            leased: None,
            frame: None,
            begun_ns: context.now_ns,
            number: self.header.collections,
            forced: true,
        }
    }

    /// Tell whether a collection is in progress.
    pub(crate) fn collects(&self) -> bool {
        self.catalog.contains(&Tag::Task.key())
    }

    /// End leases that were not used for 14 days.
    fn end_old_leases(&mut self, context: &Context) {
        let leases: Vec<_> = self.lease_rows().collect();
        for lease in leases {
            if context.now_ns >= lease.used_ns.saturating_add(GRACE_NS) {
                self.drop_lease(&lease);
            }
        }
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
            let id = split_lease(&key).2;
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
        for (holder, digest, lease) in removed.iter().map(split_lease) {
            self.holds.unlease(holder, &digest, lease);
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
        let holders: BTreeSet<Principal> = self.lease_rows().map(|lease| lease.holder).collect();
        let tags: Vec<u64> = holders.iter().map(|it| self.header.holder_tag(*it)).collect();
        let leases = Leases { ids: leases, tags };
        let mut groups: Vec<(Digest, Vec<(u32, Entry)>)> = Vec::new();
        let mut ended = true;
        for (digest, user, entry) in self.frames.walk(task.frame) {
            let follows = groups.last().is_none_or(|(last, _)| *last != digest);
            if follows && *units == 0 {
                ended = false;
                break;
            }
            *units = units.saturating_sub(1);
            if follows {
                groups.push((digest, Vec::new()));
            }
            groups.last_mut().expect("there is a group").1.push((user, entry));
        }
        task.frame = groups.last().map(|(digest, _)| *digest).or(task.frame);
        let (mut frames, mut bytes) = (0, 0);
        for (digest, copies) in groups {
            for (user, entry) in self.superfluous(context, force, &leases, &digest, copies) {
                self.frames.remove((&digest, user), entry, &mut self.header);
                *units = units.saturating_sub(4);
                frames += 1;
                bytes += u64::from(entry.length);
            }
        }
        (frames, bytes, ended)
    }

    /// Return the copies of a frame that are not needed: those under a live lease stay, and else the
    /// best one, if the frame is referred to, held or young.
    fn superfluous(
        &mut self,
        context: &Context,
        force: bool,
        leases: &Leases,
        digest: &Digest,
        mut copies: Vec<(u32, Entry)>,
    ) -> Vec<(u32, Entry)> {
        let is_live = |entry: &Entry| leases.ids.contains(&entry.lease);
        if copies.iter().all(|(_, entry)| is_live(entry)) {
            return Vec::new();
        }
        let touched_ns = copies.iter().map(|(_, entry)| entry.touched_ns).max().unwrap_or(0);
        let young = touched_ns.saturating_add(GRACE_NS) > context.now_ns;
        let needed = (young && !force)
            || copies.iter().any(|(_, entry)| is_live(entry))
            || self.holds.is_referred(digest)
            || leases
                .tags
                .iter()
                .flat_map(|tag| self.holds.rows(*tag, digest))
                .any(|lease| leases.ids.contains(&lease));
        copies.sort_by_key(|(_, entry)| (entry.damaged, !is_live(entry)));
        let (user, best) = copies[0];
        if needed && best.touched_ns < touched_ns {
            let kept = Entry { touched_ns, ..best };
            self.frames.update((digest, user), best, kept, &mut self.header);
        }
        let spare = copies.into_iter().skip(usize::from(needed));
        spare.filter(|(_, entry)| !is_live(entry)).collect()
    }
}
