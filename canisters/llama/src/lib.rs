//! Runs models of the Llama family from the weights of a checkpoint, without I/O.
//!
//! `Config` says what a model is, `Weights` takes a checkpoint's bytes piece by piece, `Model`
//! computes, `Cache` remembers a conversation, `Tokenizer` turns text into tokens and back
//! (`datanode-llama-text`).
//!
//! Checkpoints are untrusted: they are checked before use, and nothing here panics or allocates
//! without bound on them.
#![deny(unsafe_code)]

mod attention;
mod cache;
mod matrix;
mod model;
mod sample;
#[allow(unsafe_code)]
mod simd;
mod vector;
mod weights;

pub use cache::Cache;
pub use datanode_llama_text::{
    ChatFormat, Config, JsonError, Kind, Llama3, Message, Part, Rope, TensorSpec, Tokenizer,
    TokenizerError, Unsupported, chat_template,
};
pub use matrix::{Dtype, Mode};
pub use model::{Model, PositionError};
pub use sample::{Sampler, greedy};
pub use weights::{Missing, PlaceError, Weights};
