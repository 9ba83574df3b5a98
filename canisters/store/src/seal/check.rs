//! The checks of a seal: every part and every chunk's frame is held, and all of them agree.

use std::collections::BTreeSet;

use datanode_codec::frame::{Codec, Element, parse};
use datanode_codec::limits::MAX_CHUNKS_A_PAGE;
use datanode_codec::manifest::{ChunkRecord, FileEntry, Head, TensorEntry};
use datanode_codec::{manifest, placement};
use ic_stable_structures::Memory;

use super::task::{Phase, Task};
use super::{Step, incomplete};
use crate::frames::Entry;
use crate::inner::Inner;
use crate::put::Holding;
use crate::{Digest, Error, Outcome};

/// Bytes that are hashed and parsed for one unit of work, at some 20 instructions a byte.
const UNIT_BYTES: usize = 5_000;

fn bad<T>(text: impl Into<String>) -> Outcome<T> {
    Err(Error::BadManifest(text.into()))
}

impl<M: Memory + Clone> Inner<M> {
    /// Return a frame that is held for the caller and whole, and pin it under the lease.
    fn pinned(&mut self, step: &mut Step<'_>, digest: &Digest) -> Outcome<Option<(u32, Entry)>> {
        let Some(held) = self.held(step.lease, digest, &step.known) else { return Ok(None) };
        let Holding { user, entry, leased } = held;
        if leased {
            return Ok(Some((user, entry)));
        }
        step.spend(1);
        let bytes = u64::from(entry.length);
        step.charge.check(bytes)?;
        step.charge.take(bytes);
        step.pinned = (step.pinned.0 + 1, step.pinned.1 + bytes);
        let lease = self.hold(step.lease, digest, held, &step.known);
        let pinned = Entry { lease, touched_ns: step.context.now_ns, ..entry };
        self.frames.update((digest, user), entry, pinned, &mut self.header);
        Ok(Some((user, pinned)))
    }

    /// Read a part of a manifest that is held for the caller; none if it is missing or damaged.
    fn held_part(&mut self, step: &mut Step<'_>, digest: &Digest) -> Outcome<Option<Vec<u8>>> {
        step.spend(1);
        let Some((user, entry)) = self.pinned(step, digest)? else { return Ok(None) };
        step.spend((entry.length as usize / UNIT_BYTES) as u32);
        let Some(mut frame) = self.frames.read_checked(digest, entry) else {
            let damaged = Entry { damaged: true, ..entry };
            self.frames.update((digest, user), entry, damaged, &mut self.header);
            return self.held_part(step, digest);
        };
        let (header, payload) = parse(&frame).map_err(Error::manifest)?;
        if (header.codec, header.element, header.row_len) != (Codec::Raw, Element::Bytes, 0) {
            return bad("a part of the manifest is not a raw frame of bytes without rows");
        }
        let start = frame.len() - payload.len();
        frame.drain(..start);
        Ok(Some(frame))
    }

    /// Read a part that the seal cannot do without.
    pub(super) fn part(&mut self, step: &mut Step<'_>, digest: &Digest) -> Outcome<Vec<u8>> {
        self.held_part(step, digest)?.ok_or_else(|| incomplete(&[*digest], 1))
    }

    pub(super) fn head(&mut self, step: &mut Step<'_>, task: &Task) -> Outcome<Head> {
        let head = self.part(step, &task.manifest)?;
        manifest::parse_head(&head).map_err(Error::manifest)
    }

    pub(super) fn check_head(&mut self, step: &mut Step<'_>, task: &mut Task) -> Outcome<()> {
        let placement = self.held_part(step, &task.placement)?;
        let head = self.held_part(step, &task.manifest)?;
        let (Some(placement), Some(head)) = (&placement, &head) else {
            let parts = [(&placement, &task.placement), (&head, &task.manifest)];
            let missing: Vec<_> =
                parts.iter().filter(|part| part.0.is_none()).map(|part| *part.1).collect();
            return Err(incomplete(&missing, missing.len() as u32));
        };
        let head = manifest::parse_head(head).map_err(Error::manifest)?;
        let placement = placement::parse(placement).map_err(Error::manifest)?;
        if placement.manifest != task.manifest {
            return bad("the placement record is of another manifest");
        }
        if placement.chunk_count != head.chunk_count {
            return bad("the placement record and the head do not count the same chunks");
        }
        match placement.nodes.as_slice() {
            [node] if node.principal() == step.context.node.as_slice() => {}
            _ => return bad("the placement record does not name this node as its only one"),
        }
        let mut pages = BTreeSet::new();
        for page in head.chunk_pages.iter().chain(&head.tensor_pages) {
            // Else a head of a megabyte could claim more chunks than any node can look at.
            if !pages.insert(page) {
                return bad("the head names a page twice");
            }
            step.spend(1);
            if self.pinned(step, page)?.is_none() {
                task.miss(page);
            }
        }
        if task.missing_total > 0 {
            return Err(incomplete(&task.missing, task.missing_total));
        }
        task.chunks = head.chunk_count;
        task.enter(Phase::Tensors);
        Ok(())
    }

    pub(super) fn check_tensors(&mut self, step: &mut Step<'_>, task: &mut Task) -> Outcome<()> {
        let head = self.head(step, task)?;
        while let Some(digest) = head.tensor_pages.get(task.page as usize) {
            if step.units == 0 {
                return Ok(());
            }
            let page = self.part(step, digest)?;
            let tensors = manifest::tensor_page(&page).map_err(Error::manifest)?;
            step.spend(tensors.len() as u32 / 8);
            for tensor in &tensors {
                check_tensor(&head.files, tensor)?;
                if tensor.file < task.file {
                    return bad("the tensor pages are out of order");
                }
                task.file = tensor.file;
            }
            task.tensors = task.tensors.saturating_add(tensors.len() as u32);
            task.page += 1;
        }
        if task.tensors != head.tensor_count {
            return bad("the tensor pages do not hold as many tensors as the head says");
        }
        task.enter(Phase::Chunks);
        Ok(())
    }

    pub(super) fn check_chunks(&mut self, step: &mut Step<'_>, task: &mut Task) -> Outcome<()> {
        let head = self.head(step, task)?;
        while let Some(digest) = head.chunk_pages.get(task.page as usize) {
            if step.units == 0 {
                return Ok(());
            }
            let page = self.part(step, digest)?;
            let records = manifest::chunk_page(&page).map_err(Error::manifest)?;
            let first = task.page as usize * MAX_CHUNKS_A_PAGE;
            if records.len() != MAX_CHUNKS_A_PAGE.min(head.chunk_count as usize - first) {
                return bad(format!("chunk page {} is not full", task.page));
            }
            for record in records.iter().skip(task.record as usize) {
                if step.units == 0 {
                    return Ok(());
                }
                let chunk = first as u32 + task.record;
                pass_files(&head.files, task, chunk)?;
                self.check_chunk(step, task, chunk, &record)?;
                task.record += 1;
            }
            (task.page, task.record) = (task.page + 1, 0);
        }
        pass_files(&head.files, task, head.chunk_count)?;
        if task.missing_total > 0 {
            return Err(incomplete(&task.missing, task.missing_total));
        }
        task.enter(Phase::Parts);
        Ok(())
    }

    fn check_chunk(
        &mut self,
        step: &mut Step<'_>,
        task: &mut Task,
        chunk: u32,
        record: &ChunkRecord,
    ) -> Outcome<()> {
        step.spend(1);
        task.file_bytes += u64::from(record.raw_len);
        task.raw_bytes += u64::from(record.raw_len);
        task.frame_bytes += u64::from(record.frame_len);
        self.check_frame(step, task, chunk, record)
    }

    /// Compare a record with the frame that it names; a copy found damaged gives way to another.
    fn check_frame(
        &mut self,
        step: &mut Step<'_>,
        task: &mut Task,
        chunk: u32,
        record: &ChunkRecord,
    ) -> Outcome<()> {
        let Some((user, entry)) = self.pinned(step, &record.frame)? else {
            task.miss(&record.frame);
            return Ok(());
        };
        let agrees = self.frames.header(entry).is_some_and(|header| {
            let told = (record.frame_len, record.raw_len, record.codec, record.element);
            let found = (entry.length, header.raw_len, header.codec, header.element);
            told == found && record.content == header.content
        });
        if agrees {
            return Ok(());
        }
        // Either the record is wrong or the stored header is: the digest tells which.
        step.spend((entry.length as usize / UNIT_BYTES) as u32);
        if self.frames.read_checked(&record.frame, entry).is_some() {
            return bad(format!("the record of chunk {chunk} and the header of its frame differ"));
        }
        let damaged = Entry { damaged: true, ..entry };
        self.frames.update((&record.frame, user), entry, damaged, &mut self.header);
        self.check_frame(step, task, chunk, record)
    }
}

fn check_tensor(files: &[FileEntry], tensor: &TensorEntry) -> Outcome<()> {
    let end = |first: u32, count: u32| u64::from(first) + u64::from(count);
    let inside = files.get(tensor.file as usize).is_some_and(|file| {
        tensor.offset <= file.bytes
            && tensor.first_chunk >= file.first_chunk
            && end(tensor.first_chunk, tensor.chunk_count)
                <= end(file.first_chunk, file.chunk_count)
    });
    if inside { Ok(()) } else { bad(format!("tensor {} is not within its file", tensor.name)) }
}

/// Close the files that end before a chunk: their chunks' bytes are theirs.
fn pass_files(files: &[FileEntry], task: &mut Task, chunk: u32) -> Outcome<()> {
    while let Some(file) = files.get(task.file as usize)
        && file.first_chunk + file.chunk_count <= chunk
    {
        if task.file_bytes != file.bytes {
            return bad(format!("the chunks of file {} are not as long as the file", file.path));
        }
        (task.file, task.file_bytes) = (task.file + 1, 0);
    }
    Ok(())
}
