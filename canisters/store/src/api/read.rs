//! Reading frames, manifests and proofs.

use candid::CandidType;
use datanode_idl::Idl;
use serde::Deserialize;
use serde_bytes::ByteBuf;

use super::Hash;

/// Chunks of a sealed manifest.
#[derive(CandidType, Deserialize, Idl, Clone, Debug)]
pub struct FrameRef {
    /// Name of the model.
    pub model: String,
    /// Digest of the manifest.
    pub manifest: Hash,
    /// Indices of the chunks.
    pub chunks: Vec<u32>,
}

/// One frame of an answer.
#[derive(CandidType, Deserialize, Idl, Clone, Debug, PartialEq, Eq)]
pub enum FrameAnswer {
    /// The frame as it is stored.
    #[serde(rename = "frame")]
    Frame(ByteBuf),
    /// It lies on another node of the fleet.
    #[serde(rename = "elsewhere")]
    Elsewhere,
    /// The reply is full: ask again.
    #[serde(rename = "did_not_fit")]
    DidNotFit,
    /// The node has lost it.
    #[serde(rename = "missing")]
    Missing,
}

/// A part of a manifest.
#[derive(CandidType, Deserialize, Idl, Clone, Copy, Debug)]
pub enum ManifestPart {
    /// The head.
    #[serde(rename = "head")]
    Head,
    /// A page of chunk records.
    #[serde(rename = "chunk_page")]
    ChunkPage(u32),
    /// A page of tensors.
    #[serde(rename = "tensor_page")]
    TensorPage(u32),
    /// The placement record.
    #[serde(rename = "placement")]
    Placement,
}

/// Argument of `get_manifest`.
#[derive(CandidType, Deserialize, Idl, Clone, Debug)]
pub struct PartRef {
    /// Name of the model.
    pub model: String,
    /// Digest of the manifest.
    pub manifest: Hash,
    /// Which part.
    pub part: ManifestPart,
}

/// A tensor.
#[derive(CandidType, Deserialize, Idl, Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Element type in safetensors' words.
    pub dtype: String,
    /// Dimensions, outermost first.
    pub shape: Vec<u64>,
}

/// A page of `tensor_list`.
#[derive(CandidType, Deserialize, Idl, Clone, Debug, PartialEq, Eq)]
pub struct TensorPage {
    /// Tensors in the manifest's order.
    pub tensors: Vec<Tensor>,
    /// Where to go on.
    pub next: Option<ByteBuf>,
}

/// Argument of `witness`.
#[derive(CandidType, Deserialize, Idl, Clone, Debug)]
pub struct WitnessRef {
    /// Name of the model.
    pub model: String,
    /// Which version, the latest by default.
    pub version: Option<u32>,
}

/// Proof material for one version.
#[derive(CandidType, Deserialize, Idl, Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The subnet's certificate; the shell puts it in.
    pub certificate: Option<ByteBuf>,
    /// Hash tree, CBOR.
    pub witness: ByteBuf,
    /// The version it is about.
    pub version: u32,
    /// Frame digest of the head.
    pub manifest: Hash,
    /// Frame digest of the placement record.
    pub placement: Hash,
}
