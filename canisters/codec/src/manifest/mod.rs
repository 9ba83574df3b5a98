//! A manifest: what a version of a model consists of, wherever its bytes lie.
//!
//! A small head in deterministic CBOR names the files and the digests of the pages; a chunk page
//! is an array of fixed records, a tensor page deterministic CBOR. Head and pages are stored as
//! raw frames, so a digest here is always the digest of a frame.

mod chunk_page;
mod head;
mod tensor_page;

pub use chunk_page::{CHUNK_RECORD_BYTES, ChunkPage, ChunkRecord, ChunkRecords, chunk_page};
pub use head::{FileEntry, Head, Metadata, parse_head};
pub use tensor_page::{TensorEntry, tensor_page};
