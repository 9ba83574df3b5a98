//! `put_frames`, exported by hand: its argument is read in pieces and never in the heap as a whole.

use datanode_store::api::PutResult;

use crate::Answer;
#[cfg(target_family = "wasm")]
use crate::argument::Received;
use crate::argument::{Argument, lease_and_frames, lease_and_ranges};
use crate::state::{context, write};

/// Store the frames of a message.
pub fn put_frames(argument: &impl Argument) -> Result<Answer<Vec<PutResult>>, String> {
    if let Some(found) = lease_and_ranges(argument) {
        let (lease, frames) = found?;
        return Ok(write(|store| store.put_frames(&context(), lease, &frames)));
    }
    let whole = argument.whole();
    let (lease, frames) = lease_and_frames(&whole)?;
    Ok(write(|store| store.put_frames(&context(), lease, &frames)))
}

#[cfg(target_family = "wasm")]
#[unsafe(export_name = "canister_update put_frames")]
extern "C" fn export() {
    let reply = put_frames(&Received::new())
        .unwrap_or_else(|error| ic_cdk::api::trap(format!("put_frames: {error}")));
    ic_cdk::api::msg_reply(crate::reply::put_results(&reply));
}
