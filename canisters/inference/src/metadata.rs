//! What the module says of itself to whoever reads the canister's metadata.

/// The interface, as `candid:service`.
#[cfg(target_family = "wasm")]
#[used]
#[unsafe(link_section = "icp:public candid:service")]
static CANDID: [u8; include_bytes!("../inference.did").len()] = *include_bytes!("../inference.did");

/// The version of the storage interface, as `datanode:interface`.
#[cfg(target_family = "wasm")]
#[used]
#[unsafe(link_section = "icp:public datanode:interface")]
static INTERFACE: [u8; 1] = *b"2";

/// The version of the `model_*` interface, as `datanode:inference`.
#[cfg(target_family = "wasm")]
#[used]
#[unsafe(link_section = "icp:public datanode:inference")]
static INFERENCE: [u8; 1] = *b"2";
