//! What a canister was told to run, and by whom it may be run; it outlives upgrades.
//!
//! Version 1, little-endian, in the region of stable memory that the store leaves to the canister
//! around it:
//!
//! ```text
//! offset size field
//!      0    4 magic "DNRD"
//!      4    1 version, 1
//!      5    3 reserved, zero
//!      8    4 length n, at most MAX_BYTES
//!     12    n Candid: record { configuration : opt Configuration; runners : vec principal }
//! ```

use candid::{CandidType, Principal};
use datanode_idl::{Idl, SKIPPING_QUOTA};
use serde::Deserialize;

use crate::api::Configuration;

const MAGIC: [u8; 4] = *b"DNRD";
const VERSION: u8 = 1;
/// Length of what comes before the Candid, bytes.
pub const HEADER_BYTES: usize = 12;
/// Most bytes of Candid: 1,024 principals and names take some 40 KB.
pub const MAX_BYTES: usize = 1 << 16;

/// What to run, and who may.
#[derive(CandidType, Deserialize, Idl, Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// What to run.
    pub configuration: Option<Configuration>,
    /// Who may spend the canister's cycles on it, besides its controllers.
    pub runners: Vec<Principal>,
}

impl Setup {
    /// Encode it, header included.
    pub fn encode(&self) -> Vec<u8> {
        let value = datanode_idl::encode(self);
        let mut bytes = MAGIC.to_vec();
        bytes.extend([VERSION, 0, 0, 0]);
        bytes.extend((value.len() as u32).to_le_bytes());
        bytes.extend(value);
        bytes
    }

    /// Return the length of the value behind a header; none if there is no setup yet.
    ///
    /// # Errors
    /// The header is not one of this version.
    pub fn value_len(header: &[u8; HEADER_BYTES]) -> Result<Option<usize>, String> {
        let [a, b, c, d, version, reserved @ .., w, x, y, z] = *header;
        if *header == [0; HEADER_BYTES] {
            return Ok(None);
        }
        if [a, b, c, d] != MAGIC || reserved != [0; 3] {
            return Err("the reader's region of stable memory holds something else".into());
        }
        if version != VERSION {
            return Err(format!("the reader's setup has version {version}, known is {VERSION}"));
        }
        let length = u32::from_le_bytes([w, x, y, z]) as usize;
        if length > MAX_BYTES {
            return Err(format!("the reader's setup has {length} bytes, allowed are {MAX_BYTES}"));
        }
        Ok(Some(length))
    }

    /// Decode the value behind a header.
    ///
    /// # Errors
    /// The bytes are not a setup.
    pub fn decode(value: &[u8]) -> Result<Self, String> {
        datanode_idl::decode_one(value, SKIPPING_QUOTA)
            .map_err(|error| format!("the reader's setup is damaged: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Mode;

    #[test]
    fn a_setup_survives_and_a_broken_one_is_told() {
        let configuration = Configuration {
            model: "m".into(),
            version: Some(3),
            mode: Mode::Exact,
            part: None,
            fleet: None,
        };
        let runners = vec![Principal::management_canister()];
        let setup = Setup { configuration: Some(configuration), runners };
        let bytes = setup.encode();
        let (header, value) = bytes.split_first_chunk().unwrap();
        assert_eq!(Setup::value_len(header), Ok(Some(value.len())));
        assert_eq!(Setup::decode(value), Ok(setup));
        assert!(Setup::decode(&value[1..]).is_err());
        assert_eq!(Setup::value_len(&[0; HEADER_BYTES]), Ok(None));
        for at in 0..HEADER_BYTES {
            let mut broken = *header;
            broken[at] ^= 0x80;
            let length = Setup::value_len(&broken);
            let is_other_length = at >= 8 && length != Ok(Some(value.len()));
            assert!(length.is_err() || is_other_length, "byte {at}");
        }
    }
}
