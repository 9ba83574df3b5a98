//! What the texts of a checkpoint say, without I/O: `Config` is read from `config.json`, `Tokenizer` from
//! `tokenizer.json`, the chat template from `tokenizer_config.json`.
//!
//! The texts and prompts are untrusted: they are checked before use, and nothing here panics or allocates
//! without bound on them. A crate of its own, since it is built for size (see
//! docs/decisions/inference-module-built-for-size.md).
#![forbid(unsafe_code)]

mod chat;
mod config;
mod decimal;
mod json;
mod tokenizer;
mod tokenizer_config;

pub use chat::{ChatFormat, Message};
pub use config::{BlockTensor, Config, Kind, Llama3, Part, Role, Rope, TensorSpec, Unsupported};
pub use json::JsonError;
pub use tokenizer::{Tokenizer, TokenizerError};
pub use tokenizer_config::chat_template;
