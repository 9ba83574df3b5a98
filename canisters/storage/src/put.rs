//! `put_frames`, exported by hand: its argument is read in pieces and never in the heap as a whole.

use datanode_store::api::PutResult;

use crate::Answer;
use crate::argument::{Argument, lease_and_frames, lease_and_ranges};
use crate::state::{context, write};

/// Store the frames of a message.
pub fn put_frames(argument: &impl Argument) -> Result<Answer<Vec<PutResult>>, String> {
    if let Some(found) = lease_and_ranges(argument) {
        let (lease, frames) = found?;
        return Ok(write(|store| store.put_frames(&context(), lease, &frames)));
    }
    let mut whole = vec![0; argument.length()];
    argument.read(0, &mut whole);
    let (lease, frames) = lease_and_frames(&whole)?;
    Ok(write(|store| store.put_frames(&context(), lease, &frames)))
}

#[cfg(target_family = "wasm")]
#[unsafe(export_name = "canister_update put_frames")]
extern "C" fn export() {
    let message = Message { length: ic0::msg_arg_data_size() };
    let reply = put_frames(&message)
        .unwrap_or_else(|error| ic_cdk::api::trap(format!("put_frames: {error}")));
    ic_cdk::api::msg_reply(crate::reply::put_results(&reply));
}

/// The argument of the message under way.
#[cfg(target_family = "wasm")]
struct Message {
    length: usize,
}

#[cfg(target_family = "wasm")]
impl Argument for Message {
    fn length(&self) -> usize {
        self.length
    }

    fn read(&self, offset: usize, into: &mut [u8]) {
        ic0::msg_arg_data_copy(into, offset);
    }
}
