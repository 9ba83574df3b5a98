//! Models, their versions and who may use them.

use candid::{CandidType, Principal};
use datanode_idl::Idl;
use serde::Deserialize;

use super::Hash;

/// Who may read a model.
#[derive(CandidType, Deserialize, Idl, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Everybody.
    #[serde(rename = "public")]
    Public,
    /// Owner, controllers and whom they granted it.
    #[serde(rename = "private_")]
    Private,
}

/// A sealed manifest under a name.
#[derive(CandidType, Deserialize, Idl, Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its number.
    pub version: u32,
    /// Frame digest of the head.
    pub manifest: Hash,
    /// Frame digest of the placement record.
    pub placement: Hash,
    /// How many chunks.
    pub chunks: u32,
    /// Bytes of all chunks' frames, each counted once a chunk.
    pub frame_bytes: u64,
    /// Bytes of all chunks, raw.
    pub raw_bytes: u64,
    /// When it was sealed, nanoseconds.
    pub sealed_ns: u64,
    /// By whom.
    pub sealed_by: Principal,
}

/// A model.
#[derive(CandidType, Deserialize, Idl, Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// Who owns it.
    pub owner: Principal,
    /// Who may read it.
    pub visibility: Visibility,
    /// Its highest version.
    pub latest: u32,
    /// Its versions, rising; in `models` only the latest.
    pub versions: Vec<Version>,
}

/// A page of `models`.
#[derive(CandidType, Deserialize, Idl, Clone, Debug, PartialEq, Eq)]
pub struct ModelPage {
    /// Models, by name.
    pub models: Vec<Model>,
    /// The name to go on after.
    pub next: Option<String>,
}

/// What a grant allows.
#[derive(CandidType, Deserialize, Idl, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Upload and read.
    #[serde(rename = "uploader")]
    Uploader,
    /// Read.
    #[serde(rename = "reader")]
    Reader,
}

/// A role of somebody on a model or on all.
#[derive(CandidType, Deserialize, Idl, Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who.
    pub to: Principal,
    /// What.
    pub role: Role,
    /// On which model; none: on all.
    pub model: Option<String>,
    /// Until when, nanoseconds.
    pub expires_ns: Option<u64>,
    /// How many frame bytes the node may store because of it.
    pub quota_bytes: Option<u64>,
}

/// Argument of `revoke`.
#[derive(CandidType, Deserialize, Idl, Clone, Debug)]
pub struct Revoke {
    /// Whose.
    pub to: Principal,
    /// Which role.
    pub role: Role,
    /// On which model; none: on all.
    pub model: Option<String>,
}

/// Argument of `transfer_model`.
#[derive(CandidType, Deserialize, Idl, Clone, Debug)]
pub struct Transfer {
    /// Name of the model.
    pub model: String,
    /// The new owner.
    pub to: Principal,
}

/// Argument of `set_visibility`.
#[derive(CandidType, Deserialize, Idl, Clone, Debug)]
pub struct SetVisibility {
    /// Name of the model.
    pub model: String,
    /// Who may read it from now on.
    pub visibility: Visibility,
}
