//! Why a call was refused.

use candid::{CandidType, Principal};
use datanode_codec::FormatError;
use datanode_idl::Idl;
use serde::Deserialize;

use crate::api::Hash;

/// Every refusal, as `storage.did` names it.
#[derive(CandidType, Deserialize, Idl, Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The caller has not the role.
    #[serde(rename = "unauthorized")]
    Unauthorized,
    /// There is no such thing, or the caller may not know of it.
    #[serde(rename = "not_found")]
    NotFound(String),
    /// An argument is larger than a bound.
    #[serde(rename = "too_large")]
    TooLarge {
        /// The bound.
        limit: u64,
        /// What came.
        got: u64,
    },
    /// The caller's quota is used up.
    #[serde(rename = "quota")]
    Quota {
        /// The quota, bytes.
        limit_bytes: u64,
        /// Used of it, bytes.
        used_bytes: u64,
    },
    /// Frames of a manifest are not held for the caller.
    #[serde(rename = "incomplete")]
    Incomplete {
        /// Some of the missing frames.
        missing: Vec<Hash>,
        /// How many chunks and parts miss their frame.
        missing_total: u32,
    },
    /// Another principal uploads under this name.
    #[serde(rename = "lease_held")]
    LeaseHeld {
        /// That principal; told to controllers and the owner of the model.
        holder: Option<Principal>,
        /// Until when, nanoseconds.
        expires_ns: u64,
    },
    /// The lease is not, or no longer, the caller's.
    #[serde(rename = "lease_lost")]
    LeaseLost,
    /// Stable memory cannot grow.
    #[serde(rename = "out_of_memory")]
    OutOfMemory {
        /// What was asked for, bytes.
        asked_bytes: u64,
    },
    /// The balance does not cover the work and the reserve.
    #[serde(rename = "low_cycles")]
    LowCycles {
        /// Cycles that the canister has above its freezing reserve; told to controllers.
        balance: Option<u128>,
        /// Cycles that it would need there.
        needed: u128,
    },
    /// The state is another than the call assumes.
    #[serde(rename = "conflict")]
    Conflict(String),
    /// The manifest or the placement is wrong.
    #[serde(rename = "bad_manifest")]
    BadManifest(String),
    /// An argument is wrong.
    #[serde(rename = "bad_request")]
    BadRequest(String),
}

impl Error {
    pub(crate) fn manifest(error: FormatError) -> Self {
        Self::BadManifest(error.to_string())
    }

    /// Check what came against a bound.
    ///
    /// # Errors
    /// It is larger.
    pub fn bound(limit: u64, got: u64) -> Result<(), Self> {
        if got > limit { Err(Self::TooLarge { limit, got }) } else { Ok(()) }
    }
}
