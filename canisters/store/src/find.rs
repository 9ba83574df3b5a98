//! Finding the frames of contents that the caller has sealed before.

use ic_stable_structures::Memory;

use crate::access::{Need, Readable};
use crate::api::{Hash, Held};
use crate::inner::Inner;
use crate::limits::{MAX_DIGESTS_A_CALL, MAX_SEALS_A_CONTENT};
use crate::{Context, Digest, Error, Outcome};

impl<M: Memory + Clone> Inner<M> {
    /// Return, for each content, the frame of it in a version that the caller sealed and may still
    /// read; none where there is no such frame, or where it is known to be damaged.
    ///
    /// # Errors
    /// The caller may not upload, there are too many contents, or one stands there twice.
    pub fn find_contents(
        &self,
        context: &Context,
        contents: &[Hash],
    ) -> Outcome<Vec<Option<Held>>> {
        Error::bound(MAX_DIGESTS_A_CALL as u64, contents.len() as u64)?;
        if !self.admits(context, Need::Uploader) {
            return Err(Error::Unauthorized);
        }
        distinct(contents)?;
        let Some(sealer) = self.sealer(context.caller) else {
            return Ok(vec![None; contents.len()]);
        };
        let known = self.readable_by(context);
        let found = contents.iter().map(|Hash(content)| self.find_content(sealer, content, &known));
        Ok(found.collect())
    }

    fn find_content(&self, sealer: u32, content: &Digest, known: &Readable) -> Option<Held> {
        let mut frames = self.contents.frames(sealer, content).take(MAX_SEALS_A_CONTENT);
        let (.., frame) = frames.find(|(model, seal, frame)| {
            self.reads_model(*model, known)
                && self.is_sealed(*seal, known)
                && self.frames.get(&frame.frame).is_some_and(|entry| !entry.damaged)
        })?;
        Some(Held {
            content: Hash(*content),
            frame: Hash(frame.frame),
            bytes: frame.bytes,
            raw_bytes: frame.raw_bytes,
            codec: frame.codec,
            element: frame.element,
        })
    }
}

/// Return the first eight bytes of a digest as a number.
fn prefix(digest: &Digest) -> u64 {
    digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Check that no digest stands there twice.
pub fn distinct(digests: &[Hash]) -> Outcome<()> {
    let mut sorted: Vec<&Hash> = digests.iter().collect();
    sorted.sort_unstable_by_key(|Hash(digest)| prefix(digest));
    let same = |pair: &[&Hash]| pair[0] == pair[1];
    let is_twice = |group: &[&Hash]| {
        // Digests that share a prefix are few, unless somebody sought them.
        let mut group = group.to_vec();
        group.sort_unstable();
        group.windows(2).any(same)
    };
    let mut groups = sorted.chunk_by(|a, b| prefix(&a.0) == prefix(&b.0));
    if groups.all(|group| group.len() == 1 || !is_twice(group)) {
        return Ok(());
    }
    Err(Error::BadRequest("the call names a digest twice".into()))
}
