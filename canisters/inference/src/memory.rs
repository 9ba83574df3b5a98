//! The setup in the region of stable memory that the store leaves to this canister.

use datanode_storage::state::{Node, peek};
use ic_stable_structures::Memory;

use crate::setup::{HEADER_BYTES, MAX_BYTES, Setup};

/// Pages of the region: a setup of the largest size.
const PAGES: u64 = 2;

/// Read the setup; that of a canister that was never configured is empty.
///
/// # Errors
/// The region holds something else, or a later version.
pub fn load(store: &Node) -> Result<Setup, String> {
    let region = store.outer_region();
    if region.size() == 0 {
        return Ok(Setup::default());
    }
    let mut header = [0; HEADER_BYTES];
    region.read(0, &mut header);
    let Some(length) = Setup::value_len(&header)? else { return Ok(Setup::default()) };
    let mut value = vec![0; length];
    region.read(HEADER_BYTES as u64, &mut value);
    Setup::decode(&value)
}

/// Write the setup.
///
/// # Errors
/// Stable memory does not grow, or the setup is too large.
pub fn save(setup: &Setup) -> Result<(), String> {
    let bytes = setup.encode();
    if bytes.len() > HEADER_BYTES + MAX_BYTES {
        return Err(format!("the reader's setup has {} bytes", bytes.len()));
    }
    let region = peek(|store| store.reserve_outer_region(PAGES));
    let region = region.map_err(|error| format!("stable memory cannot grow: {error:?}"))?;
    region.write(0, &bytes);
    Ok(())
}
