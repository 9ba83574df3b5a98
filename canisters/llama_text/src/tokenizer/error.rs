//! Why a `tokenizer.json` is refused.

use std::fmt;

use crate::json::JsonError;

/// A tokenizer that this crate cannot run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenizerError {
    /// The text is not JSON of the expected shape.
    Json(JsonError),
    /// A part that is not implemented; the text names it.
    Unsupported(String),
    /// Entries that contradict each other; the text names them.
    Invalid(String),
}

impl fmt::Display for TokenizerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "tokenizer.json: {error}"),
            Self::Unsupported(what) => write!(f, "unsupported tokenizer: {what}"),
            Self::Invalid(what) => write!(f, "tokenizer.json: {what}"),
        }
    }
}

impl std::error::Error for TokenizerError {}

impl From<JsonError> for TokenizerError {
    fn from(error: JsonError) -> Self {
        Self::Json(error)
    }
}

pub(super) fn unsupported<T>(what: impl Into<String>) -> Result<T, TokenizerError> {
    Err(TokenizerError::Unsupported(what.into()))
}

pub(super) fn invalid<T>(what: impl Into<String>) -> Result<T, TokenizerError> {
    Err(TokenizerError::Invalid(what.into()))
}
