//! The persisted formats of datanode, parsed strictly and without I/O.
//!
//! Every parser takes untrusted bytes. It checks each length before it uses it, allocates at most
//! a small multiple of the bytes it was given, refuses trailing bytes and never panics.
//! The Python side (`datanode/frame.py`, `manifest.py`, `placement.py`) reads the same bytes; the
//! golden files under `tests/golden` hold the two together.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod bytes;
mod cbor;
#[cfg(feature = "decode")]
mod decode;
pub mod digest;
mod error;
pub mod frame;
pub mod limits;
pub mod manifest;
pub mod placement;

#[cfg(feature = "decode")]
pub use decode::decode;
pub use error::FormatError;

/// A BLAKE3-256 digest.
pub type Digest = [u8; digest::DIGEST_BYTES];
