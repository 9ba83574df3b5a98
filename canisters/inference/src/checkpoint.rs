//! A sealed model of the store, read as a reader needs it.

use std::cell::RefCell;

use datanode_codec::manifest::{self, Head, TensorEntry};
use datanode_codec::{Digest, FormatError, frame};
use datanode_decode::Decoder;
use datanode_storage::state::{Node, context, peek};
use datanode_store::api::{Hash, ManifestPart, PartRef};
use datanode_store::{Context, Error};

/// Largest file that is read whole, bytes: a `tokenizer.json` of 256,000 tokens has 35 MB.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// A version of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub model: String,
    pub version: u32,
    pub manifest: Digest,
    pub head: Head,
    /// Raw lengths of all chunks, bytes.
    pub chunk_lens: Vec<u32>,
    /// Digests of their frames.
    frames: Vec<Digest>,
}

/// The present message with the rights of the canister itself: what may be run was decided when it
/// was configured.
fn own_context() -> Context {
    Context { controller: true, ..context() }
}

fn from_store<T>(work: impl FnOnce(&Node, &Context) -> Result<T, Error>) -> Result<T, Error> {
    peek(|store| work(store, &own_context()))
}

fn damaged(error: FormatError) -> Error {
    Error::Conflict(format!("the manifest is damaged on this node: {error}"))
}

impl Checkpoint {
    /// Open a version, the latest by default.
    pub fn open(model: &str, version: Option<u32>) -> Result<Self, Error> {
        let found = from_store(|store, context| store.model(context, model))?;
        let number = version.unwrap_or(found.latest);
        let row = found.versions.into_iter().find(|row| row.version == number);
        let row = row.ok_or_else(|| Error::NotFound(format!("{model} has no version {number}")))?;
        let manifest = row.manifest.0;
        let head = manifest::parse_head(&part(model, manifest, ManifestPart::Head)?);
        let head = head.map_err(damaged)?;
        let count = head.chunk_count as usize;
        let (mut chunk_lens, mut frames) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for page in 0..head.chunk_pages.len() as u32 {
            let page = part(model, manifest, ManifestPart::ChunkPage(page))?;
            for record in manifest::chunk_page(&page).map_err(damaged)?.iter() {
                chunk_lens.push(record.raw_len);
                frames.push(record.frame);
            }
        }
        Ok(Self { model: model.into(), version: number, manifest, head, chunk_lens, frames })
    }

    /// Read all tensor entries.
    pub fn tensors(&self) -> Result<Vec<TensorEntry>, Error> {
        let mut tensors = Vec::with_capacity(self.head.tensor_count as usize);
        for page in 0..self.head.tensor_pages.len() as u32 {
            let page = part(&self.model, self.manifest, ManifestPart::TensorPage(page))?;
            tensors.extend(manifest::tensor_page(&page).map_err(damaged)?);
        }
        Ok(tensors)
    }

    /// Read a whole file; none if the model has no such file.
    pub fn file(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(file) = self.head.files.iter().find(|file| file.path == path) else {
            return Ok(None);
        };
        if file.bytes > MAX_FILE_BYTES {
            return Err(Error::TooLarge { limit: MAX_FILE_BYTES, got: file.bytes });
        }
        let mut bytes = Vec::with_capacity(file.bytes as usize);
        for chunk in file.first_chunk..file.first_chunk + file.chunk_count {
            self.chunk(chunk, |raw| {
                bytes.extend_from_slice(raw);
                Ok(())
            })?;
        }
        Ok(Some(bytes))
    }

    /// Decode a chunk, and work on its raw bytes.
    pub fn chunk<T>(
        &self,
        chunk: u32,
        work: impl FnOnce(&[u8]) -> Result<T, Error>,
    ) -> Result<T, Error> {
        BUFFERS.with_borrow_mut(|(frame, decoder)| {
            let digest = self.frames.get(chunk as usize);
            let length = digest.and_then(|digest| peek(|store| store.frame_into(digest, frame)));
            let Some(length) = length else {
                let text = format!("chunk {chunk} is not on this node: audit and repair the model");
                return Err(Error::Conflict(text));
            };
            let (_, raw) = decoder.decode(&frame[..length]).map_err(|error| {
                Error::Conflict(format!("chunk {chunk} cannot be decoded: {error}"))
            })?;
            work(raw)
        })
    }
}

thread_local! {
    /// A frame and the decoder: memory that a message has touched costs it nothing again.
    static BUFFERS: RefCell<(Vec<u8>, Decoder)> = RefCell::new((Vec::new(), Decoder::new()));
}

/// Read the raw bytes of a part of a manifest.
fn part(model: &str, manifest: Digest, part: ManifestPart) -> Result<Vec<u8>, Error> {
    let wanted = PartRef { model: model.into(), manifest: Hash(manifest), part };
    let stored = from_store(|store, context| store.get_manifest(context, &wanted))?;
    let (_, payload) = frame::parse(&stored).map_err(damaged)?;
    Ok(payload.to_vec())
}
