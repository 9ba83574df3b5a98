//! What a storage node holds: frames, leases, sealed models, grants; a state machine over a `Memory`.
//!
//! Nothing here talks to the network or reads a clock: time, caller, controllership and cycles come
//! in with each call as a [`Context`]. So the same code runs under `cargo test` on a vector and in
//! the canister on stable memory. Everything that must outlive an upgrade lies in the memory, the
//! progress of stepwise work included; the heap holds only the hash tree, which is rebuilt at
//! opening.
//!
//! An error leaves everything as it was, but for a lease that was used and is therefore renewed and
//! for pins made before the error. A panic is left to the host: the Internet Computer rolls the
//! whole message back.
#![forbid(unsafe_code)]

mod access;
pub mod api;
mod begin;
mod catalog;
mod certify;
mod context;
mod cursor;
mod delete;
mod error;
mod extents;
mod frames;
mod garbage;
mod grants;
mod header;
mod held;
mod leases;
pub mod limits;
mod listing;
mod lookup;
mod models;
mod name;
mod open;
mod open_error;
mod purge;
mod put;
mod quota;
mod read;
mod regions;
mod room;
mod row;
mod scrub;
mod seal;
mod status;
mod store;

pub use access::Need;
pub use context::Context;
pub use error::Error;
pub use open_error::OpenError;
pub use store::Store;

/// Version of the Candid interface.
pub const INTERFACE_VERSION: u32 = 1;

/// A BLAKE3-256 digest of a frame's bytes.
pub use datanode_codec::Digest;

type Outcome<T> = Result<T, Error>;
