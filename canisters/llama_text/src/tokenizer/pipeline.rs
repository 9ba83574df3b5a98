//! Steps between a text and its symbols.

use super::unicode::nfc;

/// What tokenizers of the SentencePiece kind write for a space.
pub(super) const SPACE_MARK: &str = "▁";

/// What merges begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Bytes, each written as a character of its own.
    Bytes,
    /// Characters of the text.
    Characters,
}

/// When a space mark is put in front of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prepend {
    /// Always.
    Unconditional,
    /// If there is none.
    Always,
    /// If there is none, at the beginning of the whole text only.
    First,
    /// Never.
    Never,
}

/// A step that changes a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Normalize {
    /// Normalization Form C.
    Nfc,
    /// Space marks for spaces.
    ReplaceSpace,
    /// A space mark in front.
    Prepend(Prepend),
}

impl Normalize {
    /// Change a text that is not empty; `first` says that the whole text begins with it.
    pub(super) fn apply(self, text: &str, first: bool) -> String {
        let marked = text.starts_with(SPACE_MARK);
        match self {
            Self::Nfc => nfc(text),
            Self::ReplaceSpace => text.replace(' ', SPACE_MARK),
            Self::Prepend(Prepend::Unconditional) => format!("{SPACE_MARK}{text}"),
            Self::Prepend(Prepend::Always) if !marked => format!("{SPACE_MARK}{text}"),
            Self::Prepend(Prepend::First) if !marked && first => format!("{SPACE_MARK}{text}"),
            Self::Prepend(_) => text.into(),
        }
    }
}
