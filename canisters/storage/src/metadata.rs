//! What the module says of itself to whoever reads the canister's metadata.
#![cfg(not(feature = "library"))]

/// The interface, as `candid:service`.
#[cfg(target_family = "wasm")]
#[used]
#[unsafe(link_section = "icp:public candid:service")]
static CANDID: [u8; include_bytes!("../storage.did").len()] = *include_bytes!("../storage.did");

/// The interface's version, as `datanode:interface`.
#[cfg(target_family = "wasm")]
#[used]
#[unsafe(link_section = "icp:public datanode:interface")]
static INTERFACE: [u8; 1] = *b"2";
