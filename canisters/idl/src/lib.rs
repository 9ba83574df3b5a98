//! Candid messages, read and written by descriptions of their types.
//!
//! Crate `candid` generates code for each type that it reads or writes, which was a third of the
//! inference module. Here a type has a `Shape`, a constant; one decoder checks a message against shapes
//! and leaves plain items, from which the values are taken without a further check; one encoder makes
//! type tables of shapes. Crate `candid` is the judge of both in the tests.

mod decode;
mod encode;
mod fault;
mod items;
#[cfg(feature = "judge")]
pub mod judge;
mod shape;
mod table;
mod value;
mod wire;

pub use datanode_idl_macros::{Idl, init, query, update};
pub use decode::decode;
pub use encode::{header, number};
pub use fault::Fault;
pub use items::{Item, Items};
pub use shape::{Case, Shape};
pub use value::{Arguments, Idl};

/// What skipping may cost in an argument from outside: bytes, and values that have none.
pub const SKIPPING_QUOTA: usize = 10_000;

/// Encode a message of one value.
pub fn encode<T: Idl>(value: &T) -> Vec<u8> {
    let mut message = header(&T::SHAPE);
    value.write(&mut message);
    message
}

/// Decode a message of as many values as expected; what comes behind is skipped.
///
/// # Errors
/// The message is not Candid, its values have other types, or skipping costs more than the quota.
pub fn decode_all<T: Arguments>(message: &[u8], quota: usize) -> Result<T, Fault> {
    Ok(T::read(&mut decode(message, T::SHAPES, quota)?))
}

/// Decode a message of one value; see `decode_all`.
///
/// # Errors
/// As `decode_all`.
pub fn decode_one<T: Idl>(message: &[u8], quota: usize) -> Result<T, Fault> {
    decode_all::<(T,)>(message, quota).map(|(value,)| value)
}
