//! Reading frames and parts of manifests of sealed models.

use datanode_codec::frame::{self, HEADER_BYTES};
use datanode_codec::limits::MAX_CHUNKS_A_PAGE;
use datanode_codec::manifest::{self, CHUNK_RECORD_BYTES, Head};
use ic_stable_structures::Memory;
use serde_bytes::ByteBuf;

use crate::api::{FrameRef, ManifestPart, PartRef, Tensor, TensorPage};
use crate::cursor;
use crate::frames::{Entry, Stored};
use crate::inner::Inner;
use crate::limits::{MAX_CHUNKS_A_READ, MAX_QUERY_READ_BYTES, MAX_REPLICATED_READ_BYTES};
use crate::models::VersionRow;
use crate::name::check_name;
use crate::{Context, Digest, Error, Outcome};

/// The answer to one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Its frame.
    Frame(Stored),
    /// The reply is full: ask again.
    DidNotFit,
    /// The node has lost it.
    Missing,
}

/// Answers to all chunks of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFrames {
    /// An answer to each.
    pub answers: Vec<Found>,
    /// Length of the manifest's head, bytes, which was read for them.
    pub head_bytes: usize,
}

impl<M: Memory + Clone> Inner<M> {
    /// Find the frames of some chunks, as many as fit a reply, the first in any case.
    ///
    /// [`read_frame`](Self::read_frame) gives their bytes as they are stored: the reader checks them
    /// against the manifest.
    ///
    /// # Errors
    /// The caller may not read the model, it has no such manifest, or that no such chunk.
    pub fn find_frames(&self, context: &Context, wanted: &FrameRef) -> Outcome<FoundFrames> {
        check_name(&wanted.model)?;
        Error::bound(MAX_CHUNKS_A_READ as u64, wanted.chunks.len() as u64)?;
        let version = self.readable_version(context, &wanted.model, &wanted.manifest.0)?;
        if wanted.chunks.iter().any(|chunk| *chunk >= version.chunks) {
            let text = format!("the manifest has {} chunks", version.chunks);
            return Err(Error::BadRequest(text));
        }
        let head = self.stored_part(&version.manifest).unwrap_or_default();
        let head_bytes = head.len();
        let Ok(head) = manifest::parse_head(&head) else {
            return Ok(FoundFrames {
                answers: vec![Found::Missing; wanted.chunks.len()],
                head_bytes,
            });
        };
        let most =
            if context.replicated { MAX_REPLICATED_READ_BYTES } else { MAX_QUERY_READ_BYTES };
        let (mut left, mut page) = (None, None);
        let answers = wanted.chunks.iter().map(|&chunk| {
            let index = chunk as usize / MAX_CHUNKS_A_PAGE;
            if page.is_none_or(|(last, _)| last != index) {
                page = Some((index, self.page_entry(&head, index)));
            }
            let entry = page.and_then(|(_, entry)| entry);
            let digest = entry.and_then(|entry| self.chunk_frame(entry, chunk));
            let Some(entry) = digest.and_then(|digest| self.frames.get(&digest)) else {
                return Found::Missing;
            };
            let length = entry.length as usize;
            if length > left.unwrap_or(length) {
                return Found::DidNotFit;
            }
            left = Some(left.unwrap_or(most).saturating_sub(length));
            Found::Frame(self.frames.stored(entry))
        });
        Ok(FoundFrames { answers: answers.collect(), head_bytes })
    }

    /// Copy a part of a frame that was found; it must lie inside.
    pub fn read_frame(&self, frame: Stored, offset: usize, into: &mut [u8]) {
        self.frames.read_stored(frame, offset, into);
    }

    /// Lend a page of the heap for what a message passes on: the same one in every message, because
    /// a message pays for each page that it touches.
    pub fn lend_page<R>(&self, work: impl FnOnce(&mut [u8]) -> R) -> R {
        let mut buffer = self.buffer.take();
        let result = work(buffer.page());
        self.buffer.set(buffer);
        result
    }

    /// Return the frame of a part of a manifest.
    ///
    /// # Errors
    /// The caller may not read the model, it has no such manifest, or that no such page.
    pub fn get_manifest(&self, context: &Context, wanted: &PartRef) -> Outcome<ByteBuf> {
        check_name(&wanted.model)?;
        let version = self.readable_version(context, &wanted.model, &wanted.manifest.0)?;
        let page = |pages: fn(Head) -> Vec<Digest>, index: u32| {
            let pages = self.stored_head(&version.manifest).map(pages);
            pages.and_then(|pages| pages.get(index as usize).copied())
        };
        let digest = match wanted.part {
            ManifestPart::Head => Some(version.manifest),
            ManifestPart::Placement => Some(version.placement),
            ManifestPart::ChunkPage(index) => page(|head| head.chunk_pages, index),
            ManifestPart::TensorPage(index) => page(|head| head.tensor_pages, index),
        };
        let entry = digest.and_then(|digest| self.frames.get(&digest));
        let entry = entry.ok_or_else(|| Error::NotFound("the manifest has no such page".into()))?;
        Ok(ByteBuf::from(self.frames.read(entry)))
    }

    /// List the tensors of a version, the latest by default, a page at a time.
    ///
    /// # Errors
    /// The caller may not read the model, it has no such version, or the page is damaged.
    pub fn tensor_list(
        &self,
        context: &Context,
        name: &str,
        version: Option<u32>,
        cursor: &[u8],
    ) -> Outcome<TensorPage> {
        check_name(name)?;
        let model = self.readable(context, name)?;
        let version = self.version_row(name, &model, version)?;
        let index = cursor::parse_page(cursor)?;
        let damaged = || Error::Conflict("the manifest is damaged on this node".into());
        let head = self.stored_head(&version.manifest).ok_or_else(damaged)?;
        let Some(digest) = head.tensor_pages.get(index as usize) else {
            return Ok(TensorPage { tensors: Vec::new(), next: None });
        };
        let page = self.stored_part(digest).ok_or_else(damaged)?;
        let page = manifest::tensor_page(&page).map_err(|_| damaged())?;
        let tensors = page.into_iter().map(|tensor| Tensor {
            name: tensor.name,
            dtype: tensor.dtype,
            shape: tensor.shape,
        });
        let next = index + 1;
        let more = (next as usize) < head.tensor_pages.len();
        let next = more.then(|| ByteBuf::from(next.to_be_bytes().to_vec()));
        Ok(TensorPage { tensors: tensors.collect(), next })
    }

    fn readable_version(
        &self,
        context: &Context,
        name: &str,
        digest: &Digest,
    ) -> Outcome<VersionRow> {
        let model = self.readable(context, name)?;
        let latest = self.version_row(name, &model, None)?;
        if latest.manifest == *digest {
            return Ok(latest);
        }
        self.version_with(model.id, digest).ok_or_else(|| Error::NotFound(name.into()))
    }

    /// Return the payload of a stored part; none if its frame is damaged beyond reading.
    fn stored_part(&self, digest: &Digest) -> Option<Vec<u8>> {
        let mut frame = self.frames.read(self.frames.get(digest)?);
        let payload = frame::parse(&frame).ok()?.1.len();
        frame.drain(..frame.len() - payload);
        Some(frame)
    }

    fn stored_head(&self, digest: &Digest) -> Option<Head> {
        manifest::parse_head(&self.stored_part(digest)?).ok()
    }

    fn page_entry(&self, head: &Head, index: usize) -> Option<Entry> {
        self.frames.get(head.chunk_pages.get(index)?)
    }

    /// Look up the frame of a chunk in its page, reading only its record.
    fn chunk_frame(&self, page: Entry, chunk: u32) -> Option<Digest> {
        let record = chunk as usize % MAX_CHUNKS_A_PAGE;
        let offset = HEADER_BYTES + record * CHUNK_RECORD_BYTES;
        if offset + CHUNK_RECORD_BYTES > page.length as usize {
            return None;
        }
        let record = self.frames.read_part(page, offset as u64, CHUNK_RECORD_BYTES);
        manifest::chunk_page(&record).ok()?.get(0).map(|record| record.frame)
    }
}
