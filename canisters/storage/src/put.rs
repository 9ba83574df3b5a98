//! `put_frames`, exported by hand: its argument is copied once and never zeroed.

use datanode_store::api::PutResult;

use crate::Answer;
use crate::argument::lease_and_frames;
use crate::state::{context, write};

/// Store the frames of a message.
pub fn put_frames(argument: &[u8]) -> Result<Answer<Vec<PutResult>>, String> {
    let (lease, frames) = lease_and_frames(argument)?;
    Ok(write(|store| store.put_frames(&context(), lease, &frames)))
}

#[cfg(target_family = "wasm")]
#[unsafe(export_name = "canister_update put_frames")]
extern "C" fn export() {
    let argument = message_argument();
    let reply = put_frames(&argument)
        .unwrap_or_else(|error| ic_cdk::api::trap(format!("put_frames: {error}")));
    ic_cdk::api::msg_reply(crate::reply::put_results(&reply));
}

/// Copy the argument of the message into memory that is not zeroed before.
#[cfg(target_family = "wasm")]
fn message_argument() -> Vec<u8> {
    let length = ic0::msg_arg_data_size();
    let mut argument: Vec<u8> = Vec::with_capacity(length);
    ic0::msg_arg_data_copy_uninit(&mut argument.spare_capacity_mut()[..length], 0);
    // SAFETY: the system has just written these bytes.
    unsafe { argument.set_len(length) };
    argument
}
