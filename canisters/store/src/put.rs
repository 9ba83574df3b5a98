//! Putting, pinning and asking for frames.

use datanode_codec::digest;
use datanode_codec::frame::parse;
use ic_stable_structures::Memory;
use serde_bytes::ByteBuf;

use crate::access::Readable;
use crate::api::{Hash, Held, HeldPage, PutResult};
use crate::cursor;
use crate::extents::round;
use crate::frames::Entry;
use crate::leases::LeaseRow;
use crate::limits::{HELD_A_PAGE, LOOKS_A_PAGE, MAX_DIGESTS_A_CALL, MAX_MESSAGE_FRAMES};
use crate::quota::Quota;
use crate::regions::Purpose;
use crate::store::Store;
use crate::{Context, Digest, Error, Outcome};

impl<M: Memory + Clone> Store<M> {
    /// Store frames and hold them under a lease, each with its own result.
    ///
    /// # Errors
    /// The lease is not the caller's, there are too many frames, or there is room for none of them;
    /// then nothing is kept.
    pub fn put_frames(
        &mut self,
        context: &Context,
        lease: u64,
        frames: &[&[u8]],
    ) -> Outcome<Vec<PutResult>> {
        Error::bound(MAX_MESSAGE_FRAMES as u64, frames.len() as u64)?;
        let mut lease = self.lease_of(context, lease)?;
        self.reserve_tables(Purpose::Fill)?;
        let mut quota = self.quota(context, &lease);
        let mut known = Readable::default();
        let mut refusal = None;
        let mut results = Vec::with_capacity(frames.len());
        let bytes = frames.iter().map(|frame| round(frame.len() as u64)).sum();
        self.frames.grow_ahead(bytes, &self.header);
        // Together, because that is cheaper than one by one.
        for (frame, digest) in frames.iter().zip(digest::hash_each(frames)) {
            let result = match parse(frame) {
                Err(error) => PutResult::Bad(error.to_string()),
                Ok(_) => self
                    .put_frame(context, &mut lease, &mut quota, &mut known, (digest, frame))
                    .unwrap_or_else(|error| {
                        refusal.get_or_insert(error);
                        PutResult::NoRoom
                    }),
            };
            results.push(result);
        }
        if let Some(error) = refusal
            && results.iter().all(|result| *result == PutResult::NoRoom)
        {
            return Err(error);
        }
        self.renew(context, &mut lease);
        self.save();
        Ok(results)
    }

    fn put_frame(
        &mut self,
        context: &Context,
        lease: &mut LeaseRow,
        quota: &mut Quota,
        known: &mut Readable,
        (digest, frame): (Digest, &[u8]),
    ) -> Outcome<PutResult> {
        let bytes = frame.len() as u64;
        let now_ns = context.now_ns;
        // Most frames are new, within the quota and have room; what is not looks in the index first.
        let room = quota.check(bytes).and_then(|()| self.room(context, bytes));
        let entry = match room {
            Err(_) => self.frames.get(&digest),
            Ok(room) => {
                let header = &mut self.header;
                self.frames.add(&digest, frame, room, (lease.id, now_ns), header)
            }
        };
        let Some(old) = entry else {
            room?;
            count(lease, quota, bytes);
            return Ok(PutResult::Stored);
        };
        let leased = self.under_lease(lease.id, &digest, old);
        let held = leased || self.reads(context, &digest, known);
        // The answer is the same whatever others have stored.
        if !leased {
            quota.check(bytes)?;
        }
        if !held {
            room?;
        }
        let healed = self.frames.heal(old, frame) || old.damaged;
        let lease_of_entry = if leased { old.lease } else { self.hold(lease.id, &digest, old) };
        let new = Entry { touched_ns: now_ns, damaged: false, lease: lease_of_entry, ..old };
        self.frames.update(&digest, old, new, &mut self.header);
        if !leased {
            count(lease, quota, bytes);
        }
        Ok(if held && !healed { PutResult::AlreadyStored } else { PutResult::Stored })
    }

    /// Have a lease hold a frame that it does not hold; return the lease for its entry.
    fn hold(&mut self, lease: u64, digest: &Digest, entry: Entry) -> u64 {
        if self.lease_row(entry.lease).is_none() {
            return lease;
        }
        self.holds.lease(lease, digest);
        entry.lease
    }

    /// Tell whether a lease, if it has not ended, holds a frame.
    pub(crate) fn under_lease(&self, lease: u64, digest: &Digest, entry: Entry) -> bool {
        entry.lease == lease || self.holds.has_row(lease, digest)
    }

    /// Hold frames that the caller may read already; bit `i` of the answer is set where that is so.
    ///
    /// # Errors
    /// The lease is not the caller's, there are too many digests, or the quota ends; pins made
    /// before its end stay.
    pub fn pin_frames(
        &mut self,
        context: &Context,
        lease: u64,
        digests: &[Hash],
    ) -> Outcome<ByteBuf> {
        Error::bound(MAX_DIGESTS_A_CALL as u64, digests.len() as u64)?;
        let mut lease = self.lease_of(context, lease)?;
        self.reserve_tables(Purpose::Fill)?;
        let mut quota = self.quota(context, &lease);
        let mut known = Readable::default();
        let mut pinned = Bits::new(digests.len());
        let mut refusal = Ok(());
        for (index, Hash(digest)) in digests.iter().enumerate() {
            let Some(old) = self.frames.get(digest).filter(|entry| !entry.damaged) else {
                continue;
            };
            let mut new = Entry { touched_ns: context.now_ns, ..old };
            if !self.under_lease(lease.id, digest, old) {
                if !self.reads(context, digest, &mut known) {
                    continue;
                }
                refusal = quota.check(old.length.into());
                if refusal.is_err() {
                    break;
                }
                new.lease = self.hold(lease.id, digest, old);
                count(&mut lease, &mut quota, old.length.into());
            }
            self.frames.update(digest, old, new, &mut self.header);
            pinned.set(index);
        }
        self.renew(context, &mut lease);
        self.save();
        refusal.map(|()| pinned.finish())
    }

    /// Tell which frames are not held for the caller, or are damaged: bit `i` is set for those.
    ///
    /// # Errors
    /// The lease is not the caller's, or there are too many digests.
    pub fn missing_frames(
        &self,
        context: &Context,
        lease: u64,
        digests: &[Hash],
    ) -> Outcome<ByteBuf> {
        Error::bound(MAX_DIGESTS_A_CALL as u64, digests.len() as u64)?;
        let lease = self.lease_of(context, lease)?;
        let mut known = Readable::default();
        let mut missing = Bits::new(digests.len());
        for (index, Hash(digest)) in digests.iter().enumerate() {
            if self.held(context, lease.id, digest, &mut known).is_none() {
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
        let mut rows = self.holds.walk_lease(lease.id, after).peekable();
        let mut frames = Vec::new();
        for (digest, entry) in self.frames.walk(after) {
            if u64::from(prefix(&digest)) >= end {
                break;
            }
            while rows.next_if(|row| *row < digest).is_some() {}
            if entry.lease == lease.id || rows.peek() == Some(&digest) {
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
    pub(crate) fn held(
        &self,
        context: &Context,
        lease: u64,
        digest: &Digest,
        known: &mut Readable,
    ) -> Option<Entry> {
        let entry = self.frames.get(digest).filter(|entry| !entry.damaged)?;
        let held = self.under_lease(lease, digest, entry) || self.reads(context, digest, known);
        held.then_some(entry)
    }
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
fn count(lease: &mut LeaseRow, quota: &mut Quota, bytes: u64) {
    lease.frames += 1;
    lease.frame_bytes += bytes;
    quota.take(bytes);
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
