//! What a node says of itself.

use ic_stable_structures::Memory;

use crate::api::{Status, StatusDetails};
use crate::header::STORE_VERSION;
use crate::inner::Inner;
use crate::limits::{BASE_FEE_CYCLES_PER_S, MAX_DAYS, RENT_CYCLES_PER_GIB_S};
use crate::{Context, INTERFACE_VERSION};

const DAY_S: u128 = 86_400;
const GIB: u128 = 1 << 30;

impl<M: Memory + Clone> Inner<M> {
    /// Return versions and, to controllers, the state.
    pub fn status(&self, context: &Context) -> Status {
        Status {
            interface_version: INTERFACE_VERSION,
            store_version: STORE_VERSION.into(),
            details: context.controller.then(|| self.details(context)),
        }
    }

    fn details(&self, context: &Context) -> StatusDetails {
        let stable_bytes = self.regions.stable_bytes();
        let rented = u128::from(stable_bytes + context.heap_bytes);
        let burn = DAY_S * (rented * RENT_CYCLES_PER_GIB_S / GIB + BASE_FEE_CYCLES_PER_S);
        let days = (context.liquid_cycles / burn).min(MAX_DAYS);
        StatusDetails {
            cycles: context.balance_cycles,
            burn_per_day: burn,
            freezing_days: days as u32,
            stable_bytes,
            frames: self.header.frames,
            frame_bytes: self.header.frame_bytes,
            damaged_frames: self.header.damaged,
            free_bytes: self.frames.free_bytes(&self.header),
            models: self.header.models,
            leases: self.header.leases,
            task: self.task(),
        }
    }

    fn task(&self) -> Option<String> {
        let seals = self.seals();
        let doomed = self.doomed().count();
        let mut tasks = Vec::new();
        if seals > 0 {
            tasks.push(format!("{seals} seals"));
        }
        if doomed > 0 {
            tasks.push(format!("references of {doomed} deleted versions to remove"));
        }
        if self.collects() {
            tasks.push("a garbage collection".into());
        }
        (!tasks.is_empty()).then(|| tasks.join(", "))
    }
}
