//! A page of tensor entries: a deterministic CBOR array of at most 4,096 entries and 1 MiB.
//!
//! ```text
//! [ [name, dtype, [dimension, ...], file index, offset in the file, first chunk, chunk count], ... ]
//! ```
//!
//! Entries rise by (file index, offset, name); a name is unique within its file. A name has 1 to
//! 512 bytes, a dtype 1 to 16, a shape at most 8 dimensions.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use crate::FormatError;
use crate::cbor::Reader;
use crate::limits::{MAX_NAME_BYTES, MAX_RANK, MAX_TENSOR_PAGE_BYTES, MAX_TENSORS_A_PAGE};

const WHAT: &str = "tensor page";
const LEAST_ENTRY_BYTES: usize = 8;
const MAX_DTYPE_BYTES: usize = 16;

/// One tensor: its shape and where it lies in its file and among the chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorEntry {
    /// Name, unique within the file.
    pub name: String,
    /// Element type in safetensors' words.
    pub dtype: String,
    /// Dimensions, outermost first.
    pub shape: Vec<u64>,
    /// Index into the head's files.
    pub file: u32,
    /// Where the tensor starts in its file, bytes.
    pub offset: u64,
    /// First chunk, counted over the whole manifest.
    pub first_chunk: u32,
    /// How many chunks; 0 for a tensor without elements.
    pub chunk_count: u32,
}

/// Parse a tensor page.
///
/// # Errors
/// Bytes that are not deterministic CBOR of this shape, or entries out of order.
pub fn tensor_page(page: &[u8]) -> Result<Vec<TensorEntry>, FormatError> {
    if page.len() > MAX_TENSOR_PAGE_BYTES {
        return Err(FormatError::Range {
            what: "length of a tensor page",
            found: page.len() as u64,
            allowed: MAX_TENSOR_PAGE_BYTES as u64,
        });
    }
    let mut reader = Reader::new(page, WHAT);
    let count = reader.array("array of tensors", LEAST_ENTRY_BYTES)?;
    if count == 0 || count > MAX_TENSORS_A_PAGE {
        return Err(FormatError::Range {
            what: "count of tensors",
            found: count as u64,
            allowed: MAX_TENSORS_A_PAGE as u64,
        });
    }
    let mut entries: Vec<TensorEntry> = Vec::with_capacity(count);
    for _ in 0..count {
        let entry = parse_entry(&mut reader)?;
        if entries.last().is_some_and(|last| place(last) >= place(&entry)) {
            return Err(FormatError::Order { what: "tensors" });
        }
        entries.push(entry);
    }
    reader.end()?;
    let mut names = BTreeSet::new();
    if !entries.iter().all(|entry| names.insert((entry.file, entry.name.as_str()))) {
        return Err(FormatError::Order { what: "names of tensors" });
    }
    Ok(entries)
}

fn place(entry: &TensorEntry) -> (u32, u64, &str) {
    (entry.file, entry.offset, entry.name.as_str())
}

fn parse_entry(reader: &mut Reader<'_>) -> Result<TensorEntry, FormatError> {
    reader.tuple("tensor entry", 7)?;
    let name: String = reader.text("name of a tensor", MAX_NAME_BYTES)?.into();
    let dtype: String = reader.text("dtype of a tensor", MAX_DTYPE_BYTES)?.into();
    if name.is_empty() || dtype.is_empty() {
        return Err(FormatError::Disagree { what: "a tensor has no name or no dtype" });
    }
    let rank = reader.array("shape of a tensor", 1)?;
    if rank > MAX_RANK {
        let (found, allowed) = (rank as u64, MAX_RANK as u64);
        return Err(FormatError::Range { what: "rank of a tensor", found, allowed });
    }
    let shape = (0..rank).map(|_| reader.u64("dimension")).collect::<Result<_, _>>()?;
    Ok(TensorEntry {
        name,
        dtype,
        shape,
        file: reader.u32("file index")?,
        offset: reader.u64("offset of a tensor")?,
        first_chunk: reader.u32("first chunk of a tensor")?,
        chunk_count: reader.u32("chunk count of a tensor")?,
    })
}
