//! Whether the node can take a frame: memory and cycles, told before it hurts.

use ic_stable_structures::Memory;

use crate::extents::{Room, round};
use crate::inner::Inner;
use crate::limits::{MAX_MESSAGE_BYTES, MAX_STABLE_BYTES, SPARE_CYCLES};
use crate::regions::Purpose;
use crate::{Context, Error, Outcome};

impl<M: Memory + Clone> Inner<M> {
    /// Find room for a frame, growing the memory beneath it.
    ///
    /// The answer does not depend on whether the frame is there already for somebody else.
    pub(crate) fn room(&self, context: &Context, bytes: u64) -> Outcome<Room> {
        let room = self.frames.extents.find(bytes, &self.header);
        let end = match room {
            Room::Tail { start } => start + round(bytes),
            Room::Extent { .. } => self.header.frames_end,
        };
        let asked_bytes = self.regions.shortage_bytes(end, Purpose::Fill);
        self.check_cycles(context, asked_bytes)?;
        if self.regions.grow(asked_bytes) {
            Ok(room)
        } else {
            Err(Error::OutOfMemory { asked_bytes })
        }
    }

    /// Check that so many frames fit, whatever their digests.
    ///
    /// Memory is grown for one message at most: more would be rented for an announcement.
    pub(crate) fn check_room(&self, context: &Context, frames: u32, bytes: u64) -> Outcome<()> {
        let shortage = |bytes: u64| {
            let tail = round(bytes).saturating_sub(self.header.free_bytes);
            self.regions.shortage_bytes(self.header.frames_end + tail, Purpose::Fill)
        };
        let asked_bytes = shortage(bytes);
        self.check_cycles(context, asked_bytes)?;
        let most = MAX_STABLE_BYTES.saturating_sub(self.regions.stable_bytes());
        if asked_bytes > most || !self.regions.grow(shortage(bytes.min(MAX_MESSAGE_BYTES))) {
            return Err(Error::OutOfMemory { asked_bytes });
        }
        // Free extents may be smaller than a frame.
        self.room(context, bytes.div_ceil(u64::from(frames.max(1))).min(MAX_MESSAGE_BYTES))
            .map(|_| ())
    }

    /// Check that the node still lasts after growing by so many bytes.
    ///
    /// The freezing reserve is proportional to what is rented. A canister cannot read its freezing
    /// threshold, but what the system holds back now tells what it will hold back for more.
    fn check_cycles(&self, context: &Context, growth_bytes: u64) -> Outcome<()> {
        let rented = u128::from(self.regions.stable_bytes() + context.heap_bytes).max(1);
        let reserve = context.reserve_cycles();
        let more = reserve.saturating_mul(growth_bytes.into()) / rented;
        let needed = SPARE_CYCLES.saturating_add(more);
        if context.liquid_cycles >= needed {
            return Ok(());
        }
        let balance = context.controller.then_some(context.liquid_cycles);
        Err(Error::LowCycles { balance, needed })
    }
}
