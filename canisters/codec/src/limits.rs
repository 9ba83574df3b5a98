//! Limits of the formats, the same as in `datanode/limits.py`.

/// Largest raw chunk, bytes: 508 pages of 4 KiB, so that a raw frame fits one ingress message.
pub const MAX_CHUNK_BYTES: usize = 2_080_768;

/// Length of a frame's header, bytes.
pub const FRAME_HEADER_BYTES: usize = 64;

/// Largest frame, bytes. A frame is never larger than its raw form.
pub const MAX_FRAME_BYTES: usize = FRAME_HEADER_BYTES + MAX_CHUNK_BYTES;

/// Largest manifest head, bytes.
pub const MAX_MANIFEST_HEAD_BYTES: usize = 1 << 20;

/// Most records in a chunk page; every page but the last is full.
pub const MAX_CHUNKS_A_PAGE: usize = 16_384;

/// Most records in a tensor page.
pub const MAX_TENSORS_A_PAGE: usize = 4_096;

/// Largest tensor page, bytes.
pub const MAX_TENSOR_PAGE_BYTES: usize = 1 << 20;

/// Most tensors in a manifest.
pub const MAX_TENSORS: usize = 200_000;

/// Longest tensor or file name, bytes.
pub const MAX_NAME_BYTES: usize = 512;

/// Most dimensions of a tensor.
pub const MAX_RANK: usize = 8;

/// Longest principal, bytes. Source: IC interface specification.
pub const MAX_PRINCIPAL_BYTES: usize = 29;
