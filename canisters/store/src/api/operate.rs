//! Running a node.

use candid::CandidType;
use datanode_idl::Idl;
use serde::Deserialize;
use serde_bytes::ByteBuf;

use super::Hash;

/// What the canister is created with.
#[derive(CandidType, Deserialize, Idl, Clone)]
pub struct Settings {
    /// 32 secret random bytes that blind the models' subtrees in witnesses.
    pub blinding_seed: ByteBuf,
}

/// A step of `scrub`.
#[derive(CandidType, Deserialize, Idl, Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubPage {
    /// Where to go on.
    pub next: Option<ByteBuf>,
    /// The frames that were hashed.
    pub checked: Vec<Hash>,
    /// Which of them do not have their digest.
    pub corrupt: Vec<Hash>,
    /// Frames of sealed versions whose reference was missing and is there again.
    pub restored: Vec<Hash>,
}

/// A step of `delete_model`.
#[derive(CandidType, Deserialize, Idl, Clone, Debug, PartialEq, Eq)]
pub struct DeletePage {
    /// Where to go on.
    pub next: Option<ByteBuf>,
}

/// Argument of `collect_garbage`.
#[derive(CandidType, Deserialize, Idl, Clone, Copy, Debug)]
pub struct Force {
    /// Do not wait until a frame has been unused for 14 days.
    pub force: bool,
}

/// A step of `collect_garbage`.
#[derive(CandidType, Deserialize, Idl, Clone, Debug, PartialEq, Eq)]
pub struct GarbagePage {
    /// Where to go on.
    pub next: Option<ByteBuf>,
    /// Frames freed by this step.
    pub freed_frames: u32,
    /// Their bytes.
    pub freed_bytes: u64,
}

/// Versions of the node and, for controllers, its state.
#[derive(CandidType, Deserialize, Idl, Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Version of the Candid interface.
    pub interface_version: u32,
    /// Version of the layout of stable memory.
    pub store_version: u32,
    /// Controllers only.
    pub details: Option<StatusDetails>,
}

/// What a controller sees.
#[derive(CandidType, Deserialize, Idl, Clone, Debug, PartialEq, Eq)]
pub struct StatusDetails {
    /// Cycles of the canister.
    pub cycles: u128,
    /// Cycles a day for memory and base fee, estimated by the published prices.
    pub burn_per_day: u128,
    /// Days that the cycles above the freezing reserve last.
    pub freezing_days: u32,
    /// Stable memory, bytes.
    pub stable_bytes: u64,
    /// Frames stored.
    pub frames: u64,
    /// Bytes of those frames.
    pub frame_bytes: u64,
    /// Frames that a scrub found damaged and no put has healed.
    pub damaged_frames: u64,
    /// Bytes of the frame region that are grown and free.
    pub free_bytes: u64,
    /// Models.
    pub models: u32,
    /// Leases, expired ones included.
    pub leases: u32,
    /// Stepwise work in progress.
    pub task: Option<String>,
}
