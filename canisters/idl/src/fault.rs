//! Why a message was refused.

use std::fmt;

/// Why a message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not begin as Candid does.
    Magic,
    /// It ends before its values do.
    End,
    /// Its type table is not one, or larger than allowed.
    Table,
    /// A value has another type than expected.
    Type,
    /// A value is not one of its type.
    Value,
    /// A text is not UTF-8.
    Text,
    /// A blob has another length than expected.
    Length,
    /// It has more values or more to skip than is allowed, or it nests too deep.
    Quota,
    /// Bytes follow its values.
    Trailing,
}

impl Fault {
    /// Tell it in words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Magic => "it is not Candid",
            Self::End => "it ends too early",
            Self::Table => "its type table is malformed or too large",
            Self::Type => "a value is missing or has another type",
            Self::Value => "a value is malformed",
            Self::Text => "a text is not UTF-8",
            Self::Length => "a digest is not 32 bytes long",
            Self::Quota => "it has too many values, or too much that is not expected",
            Self::Trailing => "bytes follow its values",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text())
    }
}
