//! Why a memory is not opened, in words for whoever installs the module.

use core::fmt;

/// Why a memory is not opened. It is left untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The memory holds something else than a store, or nothing.
    Magic {
        /// Its first bytes.
        found: [u8; 4],
    },
    /// The memory holds a store of a version that this code does not read.
    Version {
        /// The version found.
        found: u8,
        /// The newest version that is known.
        known: u8,
    },
    /// The memory is shorter than it says.
    Size {
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// A store is created only in empty memory.
    NotEmpty {
        /// Bytes that the memory has.
        found: u64,
    },
    /// The memory cannot grow to hold an empty store.
    NoRoom {
        /// Bytes that it needs.
        needed: u64,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Magic { found } => write!(
                f,
                "stable memory does not hold a datanode store: it starts with {found:02x?}"
            ),
            Self::Version { found, known } => write!(
                f,
                "stable memory holds a datanode store of version {found}; this module reads up to \
                 version {known}: install a newer one"
            ),
            Self::Size { needed, found } => write!(
                f,
                "stable memory is cut off: the store needs {needed} bytes and {found} are there"
            ),
            Self::NotEmpty { found } => write!(
                f,
                "a store is created in empty stable memory, but {found} bytes are there: upgrade, \
                 or reinstall and lose them"
            ),
            Self::NoRoom { needed } => {
                write!(f, "stable memory cannot grow to the {needed} bytes of an empty store")
            }
        }
    }
}

impl core::error::Error for OpenError {}
