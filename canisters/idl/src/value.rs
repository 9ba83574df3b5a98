//! Rust values as values of Candid.

use ic_principal::Principal;
use serde_bytes::ByteBuf;

use crate::items::Items;
use crate::{Shape, number};

/// A type of Rust that travels as Candid.
pub trait Idl: Sized {
    /// The type of Candid.
    const SHAPE: Shape;
    /// Append the value; type tables come before all values.
    fn write(&self, message: &mut Vec<u8>);
    /// Take the value from a message that was decoded by the shape.
    fn read(items: &mut Items<'_>) -> Self;
}

macro_rules! fixed {
    ($($type:ty, $shape:ident);*) => {$(
        impl Idl for $type {
            const SHAPE: Shape = Shape::$shape;

            fn write(&self, message: &mut Vec<u8>) {
                message.extend_from_slice(&self.to_le_bytes());
            }

            fn read(items: &mut Items<'_>) -> Self {
                items.number() as $type
            }
        }
    )*};
}

fixed!(u8, NAT8; u16, NAT16; u32, NAT32; u64, NAT64; i64, INT64);

impl Idl for u128 {
    const SHAPE: Shape = Shape::NAT;

    fn write(&self, message: &mut Vec<u8>) {
        let mut rest = *self;
        while rest >= 0x80 {
            message.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        message.push(rest as u8);
    }

    fn read(items: &mut Items<'_>) -> Self {
        u128::from(items.number()) | u128::from(items.number()) << 64
    }
}

impl Idl for f32 {
    const SHAPE: Shape = Shape::FLOAT32;

    fn write(&self, message: &mut Vec<u8>) {
        message.extend_from_slice(&self.to_le_bytes());
    }

    fn read(items: &mut Items<'_>) -> Self {
        f32::from_bits(items.number() as u32)
    }
}

impl Idl for bool {
    const SHAPE: Shape = Shape::BOOL;

    fn write(&self, message: &mut Vec<u8>) {
        message.push(u8::from(*self));
    }

    fn read(items: &mut Items<'_>) -> Self {
        items.number() != 0
    }
}

impl Idl for () {
    const SHAPE: Shape = Shape::NULL;

    fn write(&self, _: &mut Vec<u8>) {}

    fn read(_: &mut Items<'_>) -> Self {}
}

/// Append bytes and their length.
fn blob(message: &mut Vec<u8>, bytes: &[u8]) {
    number(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

impl Idl for String {
    const SHAPE: Shape = Shape::TEXT;

    fn write(&self, message: &mut Vec<u8>) {
        blob(message, self.as_bytes());
    }

    fn read(items: &mut Items<'_>) -> Self {
        items.text().into()
    }
}

impl Idl for ByteBuf {
    const SHAPE: Shape = Shape::Blob(None);

    fn write(&self, message: &mut Vec<u8>) {
        blob(message, self);
    }

    fn read(items: &mut Items<'_>) -> Self {
        ByteBuf::from(items.bytes())
    }
}

impl<const N: usize> Idl for [u8; N] {
    const SHAPE: Shape = Shape::Blob(Some(N as u32));

    fn write(&self, message: &mut Vec<u8>) {
        blob(message, self);
    }

    fn read(items: &mut Items<'_>) -> Self {
        items.bytes().try_into().unwrap_or([0; N])
    }
}

impl Idl for Principal {
    const SHAPE: Shape = Shape::PRINCIPAL;

    fn write(&self, message: &mut Vec<u8>) {
        message.push(1);
        blob(message, self.as_slice());
    }

    fn read(items: &mut Items<'_>) -> Self {
        Principal::from_slice(items.bytes()) // the decoder has checked its length
    }
}

impl<T: Idl> Idl for Option<T> {
    const SHAPE: Shape = Shape::Opt(&T::SHAPE);

    fn write(&self, message: &mut Vec<u8>) {
        message.push(u8::from(self.is_some()));
        if let Some(value) = self {
            value.write(message);
        }
    }

    fn read(items: &mut Items<'_>) -> Self {
        (items.number() != 0).then(|| T::read(items))
    }
}

impl<T: Idl> Idl for Vec<T> {
    const SHAPE: Shape = Shape::Vec(&T::SHAPE);

    fn write(&self, message: &mut Vec<u8>) {
        number(message, self.len() as u64);
        for value in self {
            value.write(message);
        }
    }

    fn read(items: &mut Items<'_>) -> Self {
        (0..items.number()).map(|_| T::read(items)).collect()
    }
}

/// Hashes of `Ok` and `Err`.
const OK: u32 = 17_724;
const ERR: u32 = 3_456_837;

impl<T: Idl, E: Idl> Idl for Result<T, E> {
    const SHAPE: Shape = Shape::Variant(&[(OK, &T::SHAPE), (ERR, &E::SHAPE)]);

    fn write(&self, message: &mut Vec<u8>) {
        message.push(u8::from(self.is_err()));
        match self {
            Ok(value) => value.write(message),
            Err(error) => error.write(message),
        }
    }

    fn read(items: &mut Items<'_>) -> Self {
        match items.number() {
            0 => Ok(T::read(items)),
            _ => Err(E::read(items)),
        }
    }
}

/// Values of a message.
pub trait Arguments: Sized {
    /// Their types.
    const SHAPES: &'static [&'static Shape];
    /// Take them from a message that was decoded by the shapes.
    fn read(items: &mut Items<'_>) -> Self;
}

impl Arguments for () {
    const SHAPES: &'static [&'static Shape] = &[];

    fn read(_: &mut Items<'_>) -> Self {}
}

macro_rules! arguments {
    ($($name:ident),*) => {
        impl<$($name: Idl),*> Arguments for ($($name,)*) {
            const SHAPES: &'static [&'static Shape] = &[$(&$name::SHAPE),*];

            fn read(items: &mut Items<'_>) -> Self {
                ($($name::read(items),)*)
            }
        }
    };
}

arguments!(A);
arguments!(A, B);
arguments!(A, B, C);
