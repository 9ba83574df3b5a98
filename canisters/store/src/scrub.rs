//! Scrubbing: hashing stored frames again, by consensus.

use datanode_codec::digest;
use ic_stable_structures::Memory;
use serde_bytes::ByteBuf;

use crate::api::{Hash, ScrubPage};
use crate::cursor;
use crate::frames::Entry;
use crate::limits::{MAX_CORRUPT_NAMED, MAX_SCRUB_BYTES, STEP_UNITS};
use crate::regions::Purpose;
use crate::store::Store;
use crate::{Context, Outcome};

impl<M: Memory + Clone> Store<M> {
    /// Hash stored frames in the order of their digests, up to so many bytes but at least one, and
    /// note which are damaged; controllers only, for it names frames of everybody.
    ///
    /// # Errors
    /// The caller is no controller, or the cursor is not from here.
    pub fn scrub(
        &mut self,
        context: &Context,
        cursor: &[u8],
        max_bytes: u64,
    ) -> Outcome<ScrubPage> {
        Self::controller_only(context)?;
        let after = cursor::parse_digest(cursor)?;
        self.reserve_tables(Purpose::Free)?;
        let max_bytes = max_bytes.min(MAX_SCRUB_BYTES);
        let (mut bytes, mut last, mut ended) = (0, None, true);
        let mut found: Vec<(_, Entry, bool)> = Vec::new();
        let mut corrupt = Vec::new();
        let mut checked = 0;
        for (digest, entry) in self.frames.walk(after) {
            let full = bytes + u64::from(entry.length) > max_bytes
                || checked >= STEP_UNITS
                || corrupt.len() >= MAX_CORRUPT_NAMED;
            if full && checked > 0 {
                ended = false;
                break;
            }
            bytes += u64::from(entry.length);
            checked += 1;
            last = Some(digest);
            let damaged = digest::hash(&self.frames.read(entry)) != digest;
            if damaged {
                corrupt.push(Hash(digest));
            }
            if damaged != entry.damaged {
                found.push((digest, entry, damaged));
            }
        }
        for (digest, old, damaged) in found {
            self.frames.update(&digest, old, Entry { damaged, ..old }, &mut self.header);
        }
        self.save();
        let next = last.filter(|_| !ended).map(|digest| ByteBuf::from(digest.to_vec()));
        Ok(ScrubPage { next, checked, corrupt })
    }
}
