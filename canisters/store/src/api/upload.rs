//! Uploading and sealing.

use candid::{CandidType, Principal};
use datanode_idl::Idl;
use serde::Deserialize;
use serde_bytes::ByteBuf;

use super::Hash;

/// Argument of `begin_upload`.
#[derive(CandidType, Deserialize, Idl, Clone, Debug)]
pub struct Upload {
    /// Name of the model.
    pub model: String,
    /// How many frames the uploader expects to hold.
    pub frames: u32,
    /// Bytes of those frames.
    pub frame_bytes: u64,
    /// Take the name from its present uploader; controller or owner only.
    pub takeover: bool,
}

/// The right to upload one model for a while.
#[derive(CandidType, Deserialize, Idl, Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Number of the lease.
    pub id: u64,
    /// Name of the model.
    pub model: String,
    /// Who may use it.
    pub holder: Principal,
    /// From when on another uploader may take the name, nanoseconds.
    pub expires_ns: u64,
    /// Frames held under it.
    pub frames: u32,
    /// Bytes of those frames.
    pub frame_bytes: u64,
}

/// A page of `leases`.
#[derive(CandidType, Deserialize, Idl, Clone, Debug, PartialEq, Eq)]
pub struct LeasePage {
    /// Leases, by number.
    pub leases: Vec<Lease>,
    /// The number to go on after.
    pub next: Option<u64>,
}

/// What became of one frame of a message.
#[derive(CandidType, Deserialize, Idl, Clone, Debug, PartialEq, Eq)]
pub enum PutResult {
    /// Kept and held under the lease.
    #[serde(rename = "stored")]
    Stored,
    /// Held for this caller before.
    #[serde(rename = "already_stored")]
    AlreadyStored,
    /// Not a frame.
    #[serde(rename = "bad")]
    Bad(String),
    /// Quota, cycles or memory end here.
    #[serde(rename = "no_room")]
    NoRoom,
}

/// A frame held under a lease, as its header describes it.
#[derive(CandidType, Deserialize, Idl, Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The writer's claim: digest of the raw bytes.
    pub content: Hash,
    /// Address of the frame.
    pub frame: Hash,
    /// Length of the frame.
    pub bytes: u32,
    /// Length of the raw bytes.
    pub raw_bytes: u32,
    /// Codec id.
    pub codec: u8,
    /// Element type id.
    pub element: u8,
}

/// A page of `lease_frames`.
#[derive(CandidType, Deserialize, Idl, Clone, Debug, PartialEq, Eq)]
pub struct HeldPage {
    /// Frames, by digest.
    pub frames: Vec<Held>,
    /// Where to go on.
    pub next: Option<ByteBuf>,
}

/// What is to be sealed.
#[derive(CandidType, Deserialize, Idl, Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Name of the model.
    pub model: String,
    /// Frame digest of the manifest's head.
    pub manifest: Hash,
    /// Frame digest of the placement record.
    pub placement: Hash,
    /// The version that the caller expects to make.
    pub expected_version: Option<u32>,
}

/// How far a seal has come.
#[derive(CandidType, Deserialize, Idl, Clone, Debug, PartialEq, Eq)]
pub enum SealStep {
    /// Sealed as this version.
    #[serde(rename = "done")]
    Done(u32),
    /// Call again with this cursor.
    #[serde(rename = "next")]
    Next(ByteBuf),
}
