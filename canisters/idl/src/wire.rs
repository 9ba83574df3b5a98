//! Codes that stand for types in a message.

pub const NULL: i8 = -1;
pub const BOOL: i8 = -2;
pub const NAT: i8 = -3;
pub const INT: i8 = -4;
pub const NAT8: i8 = -5;
pub const NAT16: i8 = -6;
pub const NAT32: i8 = -7;
pub const NAT64: i8 = -8;
pub const INT64: i8 = -12;
pub const FLOAT32: i8 = -13;
pub const TEXT: i8 = -15;
pub const RESERVED: i8 = -16;
pub const EMPTY: i8 = -17;
pub const OPT: i8 = -18;
pub const VEC: i8 = -19;
pub const RECORD: i8 = -20;
pub const VARIANT: i8 = -21;
pub const FUNC: i8 = -22;
pub const SERVICE: i8 = -23;
pub const PRINCIPAL: i8 = -24;
/// Any code below that of `principal`: a type that a later version of Candid may have.
pub const FUTURE: i8 = -25;

/// Bytes of a number whose length is fixed, from `nat8` to `float64`.
pub const fn width(code: i8) -> Option<usize> {
    match code {
        -5 | -9 => Some(1),
        -6 | -10 => Some(2),
        -7 | -11 | -13 => Some(4),
        -8 | -12 | -14 => Some(8),
        _ => None,
    }
}
