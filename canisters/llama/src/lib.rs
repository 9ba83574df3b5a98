//! Runs models of the Llama family from the weights of a checkpoint, without I/O.
//!
//! `Config` says what a model is, `Weights` takes a checkpoint's bytes piece by piece, `Model`
//! computes, `Cache` remembers a conversation, `Tokenizer` turns text into tokens and back.
//!
//! Checkpoints, `config.json`, `tokenizer.json` and prompts are untrusted: they are checked before
//! use, and nothing here panics or allocates without bound on them.
#![deny(unsafe_code)]

mod attention;
mod cache;
mod chat;
mod config;
mod decimal;
mod json;
mod matrix;
mod model;
mod sample;
#[allow(unsafe_code)]
mod simd;
mod tokenizer;
mod tokenizer_config;
mod vector;
mod weights;

pub use cache::Cache;
pub use chat::{ChatFormat, Message};
pub use config::{Config, Kind, Llama3, Part, Rope, TensorSpec, Unsupported};
pub use json::JsonError;
pub use matrix::{Dtype, Mode};
pub use model::{Model, PositionError};
pub use sample::{Sampler, greedy};
pub use tokenizer::{Tokenizer, TokenizerError};
pub use tokenizer_config::chat_template;
pub use weights::{Missing, PlaceError, Weights};
