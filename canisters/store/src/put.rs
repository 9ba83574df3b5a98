//! Putting, pinning and asking for frames.

use datanode_codec::digest;
use datanode_codec::frame::parse;
use ic_stable_structures::Memory;
use serde_bytes::ByteBuf;

use crate::access::Readable;
use crate::api::{Hash, Held, HeldPage, PutResult};
use crate::arriving::{Arriving, Buffer, Incoming, fault_of};
use crate::cursor;
use crate::extents::round;
use crate::find::distinct;
use crate::frames::{Entry, Healed};
use crate::inner::Inner;
use crate::leases::LeaseRow;
use crate::limits::{HELD_A_PAGE, LOOKS_A_PAGE, MAX_DIGESTS_A_CALL, MAX_MESSAGE_FRAMES};
use crate::quota::Charge;
use crate::regions::Purpose;
use crate::{Context, Digest, Error, Outcome};

/// A message of frames under way.
struct Putting<'a> {
    context: &'a Context,
    lease: &'a mut LeaseRow,
    charge: Charge,
    known: Readable,
    /// The first error for which a frame was not stored.
    refusal: Option<Error>,
}

impl Putting<'_> {
    /// Store a frame that is larger than the buffer, and tell what became of it.
    ///
    /// It is written to its room while its digest is computed, whoever stores it already.
    fn put_large<M: Memory + Clone>(
        &mut self,
        store: &mut Inner<M>,
        buffer: &mut Buffer,
        frame: (&dyn Incoming, usize),
    ) -> PutResult {
        if let Some(fault) = fault_of(frame) {
            return PutResult::Bad(fault);
        }
        let bytes = frame.0.length(frame.1) as u64;
        let room = self.charge.check(bytes).and_then(|()| store.room(self.context, bytes));
        let room = room.ok().map(|room| store.frames.prepare(room, bytes));
        let (digest, frame) = Arriving::through(buffer, frame, room);
        self.put(store, digest, frame)
    }

    /// Store a frame, and tell what became of it.
    fn put<M: Memory + Clone>(
        &mut self,
        store: &mut Inner<M>,
        digest: Digest,
        mut frame: Arriving<'_>,
    ) -> PutResult {
        let Self { context, lease, charge, known, refusal } = self;
        let put = store.put_frame(context, lease, charge, known, (digest, &mut frame));
        put.unwrap_or_else(|error| {
            refusal.get_or_insert(error);
            PutResult::NoRoom
        })
    }
}

impl<M: Memory + Clone> Inner<M> {
    /// Store frames and hold them under a lease, each with its own result.
    ///
    /// # Errors
    /// The lease is not the caller's, there are too many frames, or there is room for none of them;
    /// then nothing is kept.
    pub fn put_frames(
        &mut self,
        context: &Context,
        lease: u64,
        frames: &dyn Incoming,
    ) -> Outcome<Vec<PutResult>> {
        Error::bound(MAX_MESSAGE_FRAMES as u64, frames.count() as u64)?;
        let mut lease = self.lease_of(context, lease)?;
        self.reserve_tables(Purpose::Fill)?;
        let charge = self.charge(context, &mut lease)?;
        let known = self.readable_by(context);
        let mut putting = Putting { context, lease: &mut lease, charge, known, refusal: None };
        let mut results = Vec::with_capacity(frames.count());
        let bytes = (0..frames.count()).map(|index| round(frames.length(index) as u64)).sum();
        self.frames.grow_ahead(bytes, &self.header);
        let mut buffer = self.buffer.take();
        while results.len() < frames.count() {
            let batch = buffer.fill(frames, results.len());
            // Together, because that is cheaper than one by one.
            for (frame, digest) in batch.iter().zip(digest::hash_each(&batch)) {
                results.push(match parse(frame) {
                    Err(fault) => PutResult::Bad(fault.to_string()),
                    Ok(_) => putting.put(self, digest, Arriving::Whole(frame)),
                });
            }
            if batch.is_empty() {
                let frame = (frames, results.len());
                results.push(putting.put_large(self, &mut buffer, frame));
            }
        }
        self.buffer.set(buffer);
        let Putting { charge, refusal, .. } = putting;
        if let Some(error) = refusal
            && results.iter().all(|result| *result == PutResult::NoRoom)
        {
            return Err(error);
        }
        self.settle(&charge);
        self.renew(context, &mut lease);
        Ok(results)
    }

    fn put_frame(
        &mut self,
        context: &Context,
        lease: &mut LeaseRow,
        charge: &mut Charge,
        known: &Readable,
        (digest, frame): (Digest, &mut Arriving<'_>),
    ) -> Outcome<PutResult> {
        let bytes = frame.length() as u64;
        // Whatever others hold: what follows is the same for their frames as for new ones.
        let rows: Vec<u64> = self.holds.rows(known.holder.tag, &digest).collect();
        let pinned = rows.contains(&lease.id);
        let elsewhere = rows.iter().any(|row| known.holder.has(*row));
        let readable = self.reads(&digest, known);
        if (pinned | elsewhere | readable)
            && let Some((user, entry)) = self.frames.find(&digest)
        {
            let held = Holding { user, entry, leased: pinned || entry.lease == lease.id };
            return self.put_again(context, lease, charge, known, held, (digest, frame));
        }
        let room = charge.check(bytes).and_then(|()| self.room(context, bytes));
        let copy = (&digest, known.user);
        let own = match room {
            Err(_) => self.frames.copy_of(&digest, known.user),
            Ok(room) => {
                let header = &mut self.header;
                self.frames.add(copy, frame, room, (lease.id, context.now_ns), header)
            }
        };
        let Some(entry) = own else {
            room?;
            count(lease, charge, bytes);
            return Ok(PutResult::Stored);
        };
        self.frames.restore(&digest, known.user, entry);
        let leased = entry.lease == lease.id;
        let held = Holding { user: known.user, entry, leased };
        if known.holder.has(entry.lease) {
            return self.put_again(context, lease, charge, known, held, (digest, frame));
        }
        // The user's own copy of an upload that has ended: as good as new.
        room?;
        self.put_again(context, lease, charge, known, held, (digest, frame))?;
        Ok(PutResult::Stored)
    }

    /// Hold a frame that is stored, and make its copies equal to the arriving bytes.
    fn put_again(
        &mut self,
        context: &Context,
        lease: &mut LeaseRow,
        charge: &mut Charge,
        known: &Readable,
        held: Holding,
        (digest, frame): (Digest, &mut Arriving<'_>),
    ) -> Outcome<PutResult> {
        let bytes = frame.length() as u64;
        if !held.leased {
            charge.check(bytes)?;
            count(lease, charge, bytes);
        }
        let lease_of_entry = self.hold(lease.id, &digest, held, known);
        let mut healed = false;
        for (user, old) in self.frames.copies(&digest) {
            let place = match self.frames.heal(old, frame) {
                Healed::Whole => old,
                Healed::Rewritten => {
                    healed = true;
                    old
                }
                Healed::Astray => {
                    healed = true;
                    let room = self.room(context, bytes)?;
                    self.frames.relocate(old, frame, room, &mut self.header)
                }
            };
            healed |= old.damaged;
            let lease = if user == held.user { lease_of_entry } else { old.lease };
            let new = Entry { touched_ns: context.now_ns, damaged: false, lease, ..place };
            self.frames.update((&digest, user), old, new, &mut self.header);
        }
        Ok(if healed { PutResult::Stored } else { PutResult::AlreadyStored })
    }

    /// Have a lease hold a frame; return the lease for the entry of its copy.
    ///
    /// The lease stands in the entry if the copy is the caller's and no other lease stands there.
    pub(crate) fn hold(
        &mut self,
        lease: u64,
        digest: &Digest,
        held: Holding,
        known: &Readable,
    ) -> u64 {
        let Holding { user, entry, leased } = held;
        if leased {
            return entry.lease;
        }
        let holder = &known.holder;
        if user == known.user && !holder.has(entry.lease) {
            return lease;
        }
        // Rows of leases that have ended must not pile up: every look-up passes them.
        let ended: Vec<u64> =
            self.holds.rows(holder.tag, digest).filter(|row| !holder.has(*row)).collect();
        ended.iter().for_each(|row| self.holds.unlease(holder.tag, digest, *row));
        self.holds.lease(holder.tag, digest, lease);
        entry.lease
    }

    /// Hold frames that the caller may read already; bit `i` of the answer is set where that is so.
    ///
    /// # Errors
    /// The lease is not the caller's, there are too many digests, one stands there twice, or the
    /// quota ends; pins made before its end stay.
    pub fn pin_frames(
        &mut self,
        context: &Context,
        lease: u64,
        digests: &[Hash],
    ) -> Outcome<ByteBuf> {
        Error::bound(MAX_DIGESTS_A_CALL as u64, digests.len() as u64)?;
        let mut lease = self.lease_of(context, lease)?;
        self.reserve_tables(Purpose::Fill)?;
        distinct(digests)?;
        let mut charge = self.charge(context, &mut lease)?;
        let known = self.readable_by(context);
        let mut pinned = Bits::new(digests.len());
        let mut refusal = Ok(());
        for (index, Hash(digest)) in digests.iter().enumerate() {
            let Some(held) = self.held(lease.id, digest, &known) else { continue };
            let Holding { user, entry, leased } = held;
            if !leased {
                refusal = charge.check(entry.length.into());
                if refusal.is_err() {
                    break;
                }
                count(&mut lease, &mut charge, entry.length.into());
            }
            let lease_of_entry = self.hold(lease.id, digest, held, &known);
            let new = Entry { touched_ns: context.now_ns, lease: lease_of_entry, ..entry };
            self.frames.update((digest, user), entry, new, &mut self.header);
            pinned.set(index);
        }
        self.settle(&charge);
        self.renew(context, &mut lease);
        refusal.map(|()| pinned.finish())
    }

    /// Tell which frames are not held for the caller, or are damaged: bit `i` is set for those.
    ///
    /// # Errors
    /// The lease is not the caller's, there are too many digests, or one stands there twice.
    pub fn missing_frames(
        &self,
        context: &Context,
        lease: u64,
        digests: &[Hash],
    ) -> Outcome<ByteBuf> {
        Error::bound(MAX_DIGESTS_A_CALL as u64, digests.len() as u64)?;
        let lease = self.lease_of(context, lease)?;
        distinct(digests)?;
        let known = self.readable_by(context);
        let mut missing = Bits::new(digests.len());
        for (index, Hash(digest)) in digests.iter().enumerate() {
            if self.held(lease.id, digest, &known).is_none() {
                missing.set(index);
            }
        }
        Ok(missing.finish())
    }

    /// List the frames of a lease by digest, but for damaged ones.
    ///
    /// A page ends when it is full, or with a part of all digests: it may be empty although others
    /// follow. Where parts end depends on the count of all frames, and tells of no frame.
    ///
    /// # Errors
    /// The lease is not the caller's, or the cursor is not from here.
    pub fn lease_frames(&self, context: &Context, lease: u64, cursor: &[u8]) -> Outcome<HeldPage> {
        let lease = self.lease_of(context, lease)?;
        let after = cursor::parse_digest(cursor)?;
        let end = part_end(after.as_ref().map_or(0, prefix), self.header.frames);
        let tag = self.header.holder_tag(context.caller);
        let mut rows = self.holds.walk_lease(tag, lease.id, after).peekable();
        let mut frames = Vec::new();
        for (digest, _, entry) in self.frames.walk(after) {
            if u64::from(prefix(&digest)) >= end {
                break;
            }
            while rows.next_if(|row| *row < digest).is_some() {}
            let listed = frames.last().is_some_and(|held: &Held| held.frame.0 == digest);
            if !listed && (entry.lease == lease.id || rows.peek() == Some(&digest)) {
                frames.extend(self.describe(&digest, entry));
            }
            if frames.len() == HELD_A_PAGE {
                return Ok(HeldPage { frames, next: Some(ByteBuf::from(digest.to_vec())) });
            }
        }
        let next = u32::try_from(end).ok().map(|end| {
            let mut cursor = [0; 32];
            cursor[..4].copy_from_slice(&end.to_be_bytes());
            ByteBuf::from(cursor.to_vec())
        });
        Ok(HeldPage { frames, next })
    }

    /// Return a frame as it travels in a list; none if it is damaged.
    fn describe(&self, digest: &Digest, entry: Entry) -> Option<Held> {
        let header = self.frames.header(entry).filter(|_| !entry.damaged)?;
        Some(Held {
            content: Hash(header.content),
            frame: Hash(*digest),
            bytes: entry.length,
            raw_bytes: header.raw_len,
            codec: header.codec.id(),
            element: header.element.id(),
        })
    }

    /// Return a frame that is held for the caller and whole.
    ///
    /// A frame that others hold costs as much as one that is not stored: what comes before the
    /// answer is done for both.
    pub(crate) fn held(&self, lease: u64, digest: &Digest, known: &Readable) -> Option<Holding> {
        let own = self.frames.copy_of(digest, known.user);
        let first = own.is_some_and(|entry| entry.lease == lease);
        let holder = &known.holder;
        let rows: Vec<u64> = self.holds.rows(holder.tag, digest).collect();
        let leased = first || rows.contains(&lease);
        let held = leased
            || own.is_some_and(|entry| holder.has(entry.lease))
            || rows.iter().any(|row| holder.has(*row))
            || self.reads(digest, known);
        if !held {
            return None;
        }
        let whole = own.filter(|entry| !entry.damaged).map(|entry| (known.user, entry));
        let (user, entry) = whole.or_else(|| self.frames.find(digest))?;
        (!entry.damaged).then_some(Holding { user, entry, leased })
    }
}

/// A frame that is held for the caller.
#[derive(Clone, Copy)]
pub struct Holding {
    /// Whose copy it is.
    pub user: u32,
    /// Where the copy is.
    pub entry: Entry,
    /// Whether it is held under the lease of the call.
    pub leased: bool,
}

/// Return where the part of all digests that a first word lies in ends; parts are so many that each
/// has about `LOOKS_A_PAGE` of the frames at most.
fn part_end(word: u32, frames: u64) -> u64 {
    let parts = (frames / LOOKS_A_PAGE + 1).next_power_of_two();
    let length = (1 << 32) / parts;
    (u64::from(word) / length + 1) * length
}

/// Return the first word of a digest.
fn prefix(digest: &Digest) -> u32 {
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// Count a frame that a lease holds from now on.
fn count(lease: &mut LeaseRow, charge: &mut Charge, bytes: u64) {
    lease.frames += 1;
    lease.frame_bytes += bytes;
    charge.take(bytes);
}

/// A bitmap: bit `i` is bit `i % 8`, from the lowest, of byte `i / 8`.
struct Bits(Vec<u8>);

impl Bits {
    fn new(count: usize) -> Self {
        Self(vec![0; count.div_ceil(8)])
    }

    fn set(&mut self, index: usize) {
        self.0[index / 8] |= 1 << (index % 8);
    }

    fn finish(self) -> ByteBuf {
        ByteBuf::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_tile_all_digests_and_are_as_many_as_the_frames_need() {
        for (frames, parts) in [(0, 1), (LOOKS_A_PAGE - 1, 1), (LOOKS_A_PAGE, 2), (1 << 20, 8)] {
            let mut ends = vec![part_end(0, frames)];
            while let Ok(end) = u32::try_from(*ends.last().unwrap()) {
                ends.push(part_end(end, frames));
            }
            assert_eq!((ends.len(), ends.last()), (parts, Some(&(1 << 32))));
            assert_eq!(part_end(u32::MAX, frames), 1 << 32);
        }
    }
}
