//! Reading frames and parts of manifests of sealed models.

use datanode_codec::frame::{self, HEADER_BYTES};
use datanode_codec::limits::MAX_CHUNKS_A_PAGE;
use datanode_codec::manifest::{self, CHUNK_RECORD_BYTES, Head};
use ic_stable_structures::Memory;
use serde_bytes::ByteBuf;

use crate::api::{FrameAnswer, FrameRef, ManifestPart, PartRef, Tensor, TensorPage};
use crate::cursor;
use crate::inner::Inner;
use crate::limits::{MAX_CHUNKS_A_READ, MAX_QUERY_READ_BYTES, MAX_REPLICATED_READ_BYTES};
use crate::models::VersionRow;
use crate::name::check_name;
use crate::{Context, Digest, Error, Outcome};

impl<M: Memory + Clone> Inner<M> {
    /// Return the frames of some chunks, as many as fit a reply, the first in any case.
    ///
    /// The bytes are as they are stored: the reader checks them against the manifest.
    ///
    /// # Errors
    /// The caller may not read the model, it has no such manifest, or that no such chunk.
    pub fn get_frames(&self, context: &Context, wanted: &FrameRef) -> Outcome<Vec<FrameAnswer>> {
        check_name(&wanted.model)?;
        Error::bound(MAX_CHUNKS_A_READ as u64, wanted.chunks.len() as u64)?;
        let version = self.readable_version(context, &wanted.model, &wanted.manifest.0)?;
        if wanted.chunks.iter().any(|chunk| *chunk >= version.chunks) {
            let text = format!("the manifest has {} chunks", version.chunks);
            return Err(Error::BadRequest(text));
        }
        let Some(head) = self.stored_head(&version.manifest) else {
            return Ok(vec![FrameAnswer::Missing; wanted.chunks.len()]);
        };
        let most =
            if context.replicated { MAX_REPLICATED_READ_BYTES } else { MAX_QUERY_READ_BYTES };
        let mut left = None;
        let answers = wanted.chunks.iter().map(|&chunk| {
            let digest = self.chunk_frame(&head, chunk);
            let Some(entry) = digest.and_then(|digest| self.frames.get(&digest)) else {
                return FrameAnswer::Missing;
            };
            let length = entry.length as usize;
            if length > left.unwrap_or(length) {
                return FrameAnswer::DidNotFit;
            }
            left = Some(left.unwrap_or(most).saturating_sub(length));
            FrameAnswer::Frame(ByteBuf::from(self.frames.read(entry)))
        });
        Ok(answers.collect())
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

    /// Look up the frame of a chunk in its page, reading only its record.
    fn chunk_frame(&self, head: &Head, chunk: u32) -> Option<Digest> {
        let page = head.chunk_pages.get(chunk as usize / MAX_CHUNKS_A_PAGE)?;
        let record = chunk as usize % MAX_CHUNKS_A_PAGE;
        let offset = HEADER_BYTES + record * CHUNK_RECORD_BYTES;
        let entry = self.frames.get(page)?;
        if offset + CHUNK_RECORD_BYTES > entry.length as usize {
            return None;
        }
        let record = self.frames.read_part(entry, offset as u64, CHUNK_RECORD_BYTES);
        manifest::chunk_page(&record).ok()?.get(0).map(|record| record.frame)
    }
}
