//! The types of `storage.did`, as they travel.

mod model;
mod operate;
mod read;
mod upload;

use candid::CandidType;
use candid::types::{Serializer, Type};
use datanode_idl::{Idl, Items, Shape};
use serde::{Deserialize, Deserializer};
use serde_bytes::ByteBuf;

use crate::Digest;

pub use model::*;
pub use operate::*;
pub use read::*;
pub use upload::*;

/// A digest as a Candid blob of 32 bytes; another length does not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hash(pub Digest);

impl CandidType for Hash {
    fn _ty() -> Type {
        Vec::<u8>::ty()
    }

    fn idl_serialize<S: Serializer>(&self, serializer: S) -> Result<(), S::Error> {
        serializer.serialize_blob(&self.0)
    }
}

impl Idl for Hash {
    const SHAPE: Shape = <Digest as Idl>::SHAPE;

    fn write(&self, message: &mut Vec<u8>) {
        self.0.write(message);
    }

    fn read(items: &mut Items<'_>) -> Self {
        Self(Idl::read(items))
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: ByteBuf = Deserialize::deserialize(deserializer)?;
        let digest = Digest::try_from(&**bytes)
            .map_err(|_| serde::de::Error::invalid_length(bytes.len(), &"32 bytes"))?;
        Ok(Self(digest))
    }
}
