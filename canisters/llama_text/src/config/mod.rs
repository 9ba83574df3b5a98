//! What a model is: sizes and variants, as `config.json` states them.

mod parse;
mod rope;
mod tensors;

use std::fmt;

use crate::json::JsonError;

pub use rope::{Llama3, Rope};
pub use tensors::{BlockTensor, Role};
pub use tensors::{Kind, Part, TensorSpec};

/// A model of the Llama family, valid from construction.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the feed-forward layer.
    pub intermediate: usize,
    /// Number of blocks.
    pub blocks: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Elements of a head; even.
    pub head_dim: usize,
    /// Number of tokens.
    pub vocabulary: usize,
    /// Greatest number of positions.
    pub positions: usize,
    /// Added to the mean square of a norm.
    pub norm_epsilon: f32,
    /// Rotary position embedding.
    pub rope: Rope,
    /// The head is the embedding.
    pub tied: bool,
    /// Query, key and value projections have a bias (Qwen2).
    pub qkv_bias: bool,
    /// Queries and keys are normalized a head (Qwen3).
    pub qk_norm: bool,
    /// Tokens that end a text.
    pub end_tokens: Vec<u32>,
}

/// A configuration that this crate cannot run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// The text is not JSON of the expected shape.
    Json(JsonError),
    /// The value of a field is not JSON, or of another type.
    Field(String, JsonError),
    /// A field that has no default is missing.
    Missing(&'static str),
    /// A field asks for something that is not implemented; the text names it.
    Feature(String),
    /// Sizes contradict each other or exceed a limit; the text names them.
    Size(String),
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "config.json: {error}"),
            Self::Field(name, error) => write!(f, "config.json, {name}: {error}"),
            Self::Missing(field) => write!(f, "config.json has no {field}"),
            Self::Feature(what) => write!(f, "unsupported model: {what}"),
            Self::Size(what) => write!(f, "config.json: {what}"),
        }
    }
}

impl std::error::Error for Unsupported {}

impl From<JsonError> for Unsupported {
    fn from(error: JsonError) -> Self {
        Self::Json(error)
    }
}

impl Config {
    /// Parse `config.json` of Hugging Face.
    ///
    /// # Errors
    /// Refuses every model that would not be computed exactly as its field says.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Unsupported> {
        parse::parse(bytes)
    }

    /// Width of all query heads.
    pub fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of all key heads, and of all value heads.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }
}
