//! What a storage node holds: frames, leases, sealed models, grants; a state machine over a `Memory`.
//!
//! Nothing here talks to the network or reads a clock: time, caller, controllership and cycles come
//! in with each call as a [`Context`]. So the same code runs under `cargo test` on a vector and in
//! the canister on stable memory. Everything that must outlive an upgrade lies in the memory, the
//! progress of stepwise work included; the heap holds only the hash tree and the audiences of
//! models, which are rebuilt at opening.
//!
//! An error leaves everything as it was, but for a lease that was used and is therefore renewed and
//! for pins made before the error. A panic is left to the host: the Internet Computer rolls the
//! whole message back.
#![forbid(unsafe_code)]

mod access;
mod accounts;
pub mod api;
mod arriving;
mod audience;
mod begin;
mod catalog;
mod certify;
mod contents;
mod context;
mod crowding;
mod cursor;
mod delete;
mod error;
mod even;
mod extents;
mod find;
mod frames;
mod garbage;
mod grants;
mod header;
mod held;
mod inner;
mod key;
mod leases;
pub mod limits;
mod listing;
mod lookup;
mod models;
mod name;
mod open;
mod open_error;
mod outer;
mod purge;
mod put;
mod quota;
mod read;
mod regions;
mod remainders;
mod room;
mod row;
mod scrub;
mod seal;
mod status;
mod store;
mod trie;

pub use access::Need;
pub use arriving::Incoming;
pub use context::Context;
pub use error::Error;
pub use frames::Stored;
pub use open_error::OpenError;
pub use read::{Found, FoundFrames};
pub use store::Store;

/// Version of the Candid interface.
pub const INTERFACE_VERSION: u32 = 2;

/// A BLAKE3-256 digest of a frame's bytes.
pub use datanode_codec::Digest;

type Outcome<T> = Result<T, Error>;
