//! What a message brings along: who calls, when, and what the node can afford.

use candid::Principal;

/// The surroundings of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Canister time, nanoseconds since 1970.
    pub now_ns: u64,
    /// Who calls.
    pub caller: Principal,
    /// Whether the caller controls the canister.
    pub controller: bool,
    /// The canister itself.
    pub node: Principal,
    /// Cycles of the canister.
    pub balance_cycles: u128,
    /// Cycles above the freezing reserve.
    pub liquid_cycles: u128,
    /// Size of the Wasm heap, bytes; it is rented like stable memory.
    pub heap_bytes: u64,
    /// Whether all nodes of the subnet run the message; such a reply is at most 2 MiB long.
    pub replicated: bool,
}

impl Context {
    /// Return the cycles that the system keeps back so that the canister is not deleted.
    pub fn reserve_cycles(&self) -> u128 {
        self.balance_cycles.saturating_sub(self.liquid_cycles)
    }
}
