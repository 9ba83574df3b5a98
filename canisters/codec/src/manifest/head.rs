//! The head of a manifest: deterministic CBOR, at most 1 MiB.
//!
//! A map with these keys, in this order (that of their encodings):
//!
//! ```text
//! "v"            1
//! "base"         absent, or [manifest digest]
//! "files"        [[path, bytes, SHA-256, first chunk, chunk count], ...], rising by path
//! "chunks"       [frame digest of each chunk page, ...]
//! "tensors"      [frame digest of each tensor page, ...]
//! "metadata"     {text: text}
//! "chunk_count"  count of all chunks
//! "tensor_count" count of all tensors
//! ```
//!
//! The chunks of the files follow each other and tile 0 to the chunk count; a file of n bytes has
//! between ceil(n / MAX_CHUNK_BYTES) and n chunks. A path has 1 to 512 characters of
//! `[A-Za-z0-9._/-]`, no empty part, no `.` and no `..`.

use alloc::string::String;
use alloc::vec::Vec;

use crate::cbor::Reader;
use crate::limits::{
    MAX_CHUNK_BYTES, MAX_CHUNKS_A_PAGE, MAX_MANIFEST_HEAD_BYTES, MAX_NAME_BYTES, MAX_TENSORS,
    MAX_TENSORS_A_PAGE,
};
use crate::{Digest, FormatError};

const WHAT: &str = "manifest head";
const VERSION: u64 = 1;
const DIGEST_ITEM_BYTES: usize = 34;
const LEAST_FILE_BYTES: usize = 39;
const KEYS_WITHOUT_BASE: usize = 7;

/// One file: what it is and which chunks it is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Path within the model.
    pub path: String,
    /// Length, bytes.
    pub bytes: u64,
    /// SHA-256 of the whole file.
    pub sha256: [u8; 32],
    /// First chunk, counted over the whole manifest.
    pub first_chunk: u32,
    /// How many chunks; 0 for an empty file.
    pub chunk_count: u32,
}

/// Pairs of text that say more about a version, kept in their checked encoding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    count: usize,
    pairs: Vec<u8>,
}

impl Metadata {
    /// Return how many pairs there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Return whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Return the pairs, rising by the encoding of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut reader = Reader::new(&self.pairs, WHAT);
        (0..self.count).map_while(move |_| pair(&mut reader).ok())
    }
}

/// What a version of a model consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The files, rising by path.
    pub files: Vec<FileEntry>,
    /// Frame digests of the chunk pages.
    pub chunk_pages: Vec<Digest>,
    /// Frame digests of the tensor pages.
    pub tensor_pages: Vec<Digest>,
    /// How many chunks all pages list.
    pub chunk_count: u32,
    /// How many tensors all pages list.
    pub tensor_count: u32,
    /// More about the version.
    pub metadata: Metadata,
    /// The manifest that this one's deltas refer to.
    pub base: Option<Digest>,
}

/// Parse a manifest head.
///
/// # Errors
/// Bytes that are not deterministic CBOR of this shape, or counts that do not agree.
pub fn parse_head(head: &[u8]) -> Result<Head, FormatError> {
    if head.len() > MAX_MANIFEST_HEAD_BYTES {
        return Err(FormatError::Range {
            what: "length of a manifest head",
            found: head.len() as u64,
            allowed: MAX_MANIFEST_HEAD_BYTES as u64,
        });
    }
    let mut reader = Reader::new(head, WHAT);
    let keys = reader.map("map")?;
    let has_base = keys == KEYS_WITHOUT_BASE + 1;
    if keys != KEYS_WITHOUT_BASE && !has_base {
        let (found, allowed) = (keys as u64, KEYS_WITHOUT_BASE as u64);
        return Err(FormatError::Range { what: "count of keys", found, allowed });
    }
    key(&mut reader, "v")?;
    let version = reader.u64("version")?;
    if version != VERSION {
        return Err(FormatError::Version { what: WHAT, found: version });
    }
    let base = if has_base { Some(parse_base(&mut reader)?) } else { None };
    let files = parse_files(&mut reader)?;
    let chunk_pages = parse_digests(&mut reader, "chunks")?;
    let tensor_pages = parse_digests(&mut reader, "tensors")?;
    let metadata = parse_metadata(&mut reader)?;
    key(&mut reader, "chunk_count")?;
    let chunk_count = reader.u32("chunk count")?;
    key(&mut reader, "tensor_count")?;
    let tensor_count = reader.u32("tensor count")?;
    reader.end()?;
    let head = Head { files, chunk_pages, tensor_pages, chunk_count, tensor_count, metadata, base };
    check_counts(&head)?;
    Ok(head)
}

fn key(reader: &mut Reader<'_>, name: &'static str) -> Result<(), FormatError> {
    let at = reader.at();
    if reader.text(name, name.len())? != name {
        return Err(FormatError::Type { what: name, at });
    }
    Ok(())
}

fn parse_base(reader: &mut Reader<'_>) -> Result<Digest, FormatError> {
    key(reader, "base")?;
    reader.tuple("base", 1)?;
    reader.digest("digest of the base")
}

fn parse_digests(reader: &mut Reader<'_>, name: &'static str) -> Result<Vec<Digest>, FormatError> {
    key(reader, name)?;
    let count = reader.array(name, DIGEST_ITEM_BYTES)?;
    (0..count).map(|_| reader.digest("digest of a page")).collect()
}

fn parse_files(reader: &mut Reader<'_>) -> Result<Vec<FileEntry>, FormatError> {
    key(reader, "files")?;
    let count = reader.array("files", LEAST_FILE_BYTES)?;
    let mut files: Vec<FileEntry> = Vec::with_capacity(count);
    for _ in 0..count {
        reader.tuple("file entry", 5)?;
        let file = FileEntry {
            path: parse_path(reader)?,
            bytes: reader.u64("length of a file")?,
            sha256: reader.digest("SHA-256 of a file")?,
            first_chunk: reader.u32("first chunk of a file")?,
            chunk_count: reader.u32("chunk count of a file")?,
        };
        if files.last().is_some_and(|last| last.path >= file.path) {
            return Err(FormatError::Order { what: "files" });
        }
        files.push(file);
    }
    Ok(files)
}

fn parse_path(reader: &mut Reader<'_>) -> Result<String, FormatError> {
    let path = reader.text("path", MAX_NAME_BYTES)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte);
    if !path.bytes().all(is_plain) || path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(FormatError::Disagree { what: "a path is not one of a model's file" });
    }
    Ok(path.into())
}

fn parse_metadata(reader: &mut Reader<'_>) -> Result<Metadata, FormatError> {
    key(reader, "metadata")?;
    let count = reader.map("metadata")?;
    let start = reader.at();
    let mut last: &[u8] = &[];
    for _ in 0..count {
        let key_at = reader.at();
        reader.text("key of metadata", MAX_MANIFEST_HEAD_BYTES)?;
        let encoded = reader.between(key_at, reader.at());
        reader.text("value of metadata", MAX_MANIFEST_HEAD_BYTES)?;
        if last >= encoded {
            return Err(FormatError::Order { what: "keys of metadata" });
        }
        last = encoded;
    }
    Ok(Metadata { count, pairs: reader.between(start, reader.at()).into() })
}

fn pair<'a>(reader: &mut Reader<'a>) -> Result<(&'a str, &'a str), FormatError> {
    let key = reader.text("key of metadata", MAX_MANIFEST_HEAD_BYTES)?;
    Ok((key, reader.text("value of metadata", MAX_MANIFEST_HEAD_BYTES)?))
}

fn check_counts(head: &Head) -> Result<(), FormatError> {
    let disagree = |what| Err(FormatError::Disagree { what });
    let mut next = 0u32;
    for file in &head.files {
        if file.first_chunk != next {
            return disagree("the chunks of the files do not follow each other");
        }
        let chunks = u64::from(file.chunk_count);
        if chunks > file.bytes || file.bytes.div_ceil(MAX_CHUNK_BYTES as u64) > chunks {
            return disagree("a file's length does not fit its chunk count");
        }
        let Some(end) = next.checked_add(file.chunk_count) else {
            return disagree("the files have too many chunks");
        };
        next = end;
    }
    if next != head.chunk_count {
        return disagree("the files' chunks are not the chunk count");
    }
    if (head.chunk_count as usize).div_ceil(MAX_CHUNKS_A_PAGE) != head.chunk_pages.len() {
        return disagree("the chunk pages are not as many as the chunk count needs");
    }
    let tensors = head.tensor_count as usize;
    if tensors > MAX_TENSORS {
        let (found, allowed) = (tensors as u64, MAX_TENSORS as u64);
        return Err(FormatError::Range { what: "count of tensors", found, allowed });
    }
    if head.tensor_pages.len() > tensors
        || tensors.div_ceil(MAX_TENSORS_A_PAGE) > head.tensor_pages.len()
    {
        return disagree("the tensor pages are not as many as the tensor count needs");
    }
    Ok(())
}
