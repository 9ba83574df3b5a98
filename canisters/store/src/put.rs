//! Putting, pinning and asking for frames.

use datanode_codec::digest;
use datanode_codec::frame::parse;
use ic_stable_structures::Memory;
use serde_bytes::ByteBuf;

use crate::access::Readable;
use crate::api::{Hash, Held, HeldPage, PutResult};
use crate::cursor;
use crate::frames::Entry;
use crate::leases::LeaseRow;
use crate::limits::{HELD_A_PAGE, MAX_DIGESTS_A_CALL, MAX_MESSAGE_FRAMES};
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
        for frame in frames {
            let result = match parse(frame) {
                Err(error) => PutResult::Bad(error.to_string()),
                Ok(_) => self
                    .put_frame(context, &mut lease, &mut quota, &mut known, frame)
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
        frame: &[u8],
    ) -> Outcome<PutResult> {
        let digest = digest::hash(frame);
        let bytes = frame.len() as u64;
        let entry = self.frames.get(&digest);
        let leased = entry.is_some() && self.holds.under_lease(lease.id, &digest);
        let held = leased || (entry.is_some() && self.reads(context, &digest, known));
        if !leased {
            quota.check(bytes)?;
        }
        // Asked for in any case, so that the answer is the same whatever others have stored.
        let room = if held { None } else { Some(self.room(context, bytes)?) };
        let healed = match (entry, room) {
            (Some(old), _) => {
                let healed = self.frames.heal(old, frame) || old.damaged;
                let new = Entry { touched_ns: context.now_ns, damaged: false, ..old };
                self.frames.update(&digest, old, new, &mut self.header);
                healed
            }
            (None, Some(room)) => {
                let header = &mut self.header;
                self.frames.add(&digest, frame, room, context.now_ns, header);
                false
            }
            (None, None) => unreachable!("a frame that is held is there"),
        };
        if !leased {
            self.hold(lease, quota, &digest, bytes);
        }
        Ok(if held && !healed { PutResult::AlreadyStored } else { PutResult::Stored })
    }

    fn hold(&mut self, lease: &mut LeaseRow, quota: &mut Quota, digest: &Digest, bytes: u64) {
        self.holds.lease(lease.id, digest);
        lease.frames += 1;
        lease.frame_bytes += bytes;
        quota.take(bytes);
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
            let leased = self.holds.under_lease(lease.id, digest);
            if !leased {
                if !self.reads(context, digest, &mut known) {
                    continue;
                }
                refusal = quota.check(old.length.into());
                if refusal.is_err() {
                    break;
                }
                self.hold(&mut lease, &mut quota, digest, old.length.into());
            }
            let new = Entry { touched_ns: context.now_ns, ..old };
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
    /// # Errors
    /// The lease is not the caller's, or the cursor is not from here.
    pub fn lease_frames(&self, context: &Context, lease: u64, cursor: &[u8]) -> Outcome<HeldPage> {
        let lease = self.lease_of(context, lease)?;
        let after = cursor::parse_digest(cursor)?;
        let digests: Vec<_> = self.holds.walk_lease(lease.id, after).take(HELD_A_PAGE).collect();
        let full = digests.len() == HELD_A_PAGE;
        let next = digests.last().filter(|_| full).map(|last| ByteBuf::from(last.to_vec()));
        let frames = digests.iter().filter_map(|digest| {
            let entry = self.frames.get(digest).filter(|entry| !entry.damaged)?;
            let header = self.frames.header(entry)?;
            Some(Held {
                content: Hash(header.content),
                frame: Hash(*digest),
                bytes: entry.length,
                raw_bytes: header.raw_len,
                codec: header.codec.id(),
                element: header.element.id(),
            })
        });
        Ok(HeldPage { frames: frames.collect(), next })
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
        let held = self.holds.under_lease(lease, digest) || self.reads(context, digest, known);
        held.then_some(entry)
    }
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
