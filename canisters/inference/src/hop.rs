//! A hop: activations of consecutive positions on their way from the driver of a model to a canister
//! with further blocks, and its reply.
//!
//! Both are a Candid `blob`, little-endian inside. A request:
//!
//! ```text
//! offset size field
//!      0    1 version, 1
//!      1    1 mode: 0 fast, 1 exact
//!      2    1 whether the result of the last position is wanted
//!      3    1 reserved, zero
//!      4    4 first block that the receiver must have
//!      8   32 manifest digest of the whole model
//!     40    8 conversation
//!     48    8 sequence number of the hop in the conversation, from 1
//!     56    8 conversation whose first positions this one may begin with; 0: none
//!     64    4 first position
//!     68    4 sampling temperature, float32
//!     72    8 state of the sampling
//!     80    . activations, float32, `hidden` for each position
//! ```
//!
//! A reply:
//!
//! ```text
//!      0    1 kind
//!      1    3 reserved, zero
//!      4    4 positions computed
//!      8    4 block after the last one of the receiver
//!     12    4 kind 1: the token
//!     16    8 kind 1: state of the sampling; 2: positions held; 3: last sequence number
//!     24    8 instructions
//!     32    . kind 0: activations, as in a request; kind 4: why, UTF-8
//! ```

use candid::Principal;

use crate::api::Mode;

/// The method that takes hops.
pub const METHOD: &str = "model_hop";
/// Length of a digest of a manifest, bytes.
pub const DIGEST_BYTES: usize = 32;
/// Most bytes of activations in a hop; a message between canisters has 2 MB.
pub const MAX_ACTIVATION_BYTES: usize = 1_800_000;

const VERSION: u8 = 1;
const REQUEST_BYTES: usize = 80;
const REPLY_BYTES: usize = 32;
/// Candid of a value of type `blob`, before its length.
const BLOB: [u8; 9] = *b"DIDL\x01\x6d\x7b\x01\x00";

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub struct Hop {
    pub mode: Mode,
    pub wants_result: bool,
    pub first_block: u32,
    pub whole: [u8; DIGEST_BYTES],
    pub conversation: u64,
    pub sequence: u64,
    pub base: u64,
    pub position: u32,
    pub temperature: f32,
    pub sampling: u64,
    pub activations: Vec<f32>,
}

/// What became of a hop.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Activations of all positions; from the last canister, of the last one if it was wanted.
    Activations(Vec<f32>),
    /// The next token, and the state of the sampling after it.
    Token(u32, u64),
    /// Positions before the first one are missing.
    Gap { held: u64 },
    /// A later hop of the conversation was answered before.
    Stale { sequence: u64 },
    /// The receiver cannot compute it.
    Refused(String),
}

/// A reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub positions: u32,
    pub end_block: u32,
    pub instructions: u64,
    pub outcome: Outcome,
}

/// A canister and the conversation that it calls about.
pub type Guest = (Principal, u64);

impl Hop {
    /// Encode it.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = start_blob(REQUEST_BYTES + 4 * self.activations.len());
        bytes.extend([VERSION, u8::from(self.mode == Mode::Exact), u8::from(self.wants_result), 0]);
        bytes.extend(self.first_block.to_le_bytes());
        bytes.extend(self.whole);
        bytes.extend(self.conversation.to_le_bytes());
        bytes.extend(self.sequence.to_le_bytes());
        bytes.extend(self.base.to_le_bytes());
        bytes.extend(self.position.to_le_bytes());
        bytes.extend(self.temperature.to_le_bytes());
        bytes.extend(self.sampling.to_le_bytes());
        add_floats(&mut bytes, &self.activations);
        bytes
    }

    /// Decode one; none if the bytes are not of this version.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(blob(bytes)?);
        let [VERSION, mode @ 0..=1, wants @ 0..=1, 0] = fields.take()? else { return None };
        Some(Self {
            mode: if mode == 1 { Mode::Exact } else { Mode::Fast },
            wants_result: wants == 1,
            first_block: u32::from_le_bytes(fields.take()?),
            whole: fields.take()?,
            conversation: u64::from_le_bytes(fields.take()?),
            sequence: u64::from_le_bytes(fields.take()?),
            base: u64::from_le_bytes(fields.take()?),
            position: u32::from_le_bytes(fields.take()?),
            temperature: f32::from_le_bytes(fields.take()?),
            sampling: u64::from_le_bytes(fields.take()?),
            activations: floats(fields.0)?,
        })
    }
}

impl Reply {
    /// Encode it.
    pub fn encode(&self) -> Vec<u8> {
        let (mut floats, mut text): (&[f32], &str) = (&[], "");
        let (kind, token, number) = match &self.outcome {
            Outcome::Activations(activations) => {
                floats = activations;
                (0, 0, 0)
            }
            Outcome::Token(token, sampling) => (1, *token, *sampling),
            Outcome::Gap { held } => (2, 0, *held),
            Outcome::Stale { sequence } => (3, 0, *sequence),
            Outcome::Refused(why) => {
                text = why;
                (4, 0, 0)
            }
        };
        let mut bytes = start_blob(REPLY_BYTES + 4 * floats.len() + text.len());
        bytes.extend([kind, 0, 0, 0]);
        bytes.extend(self.positions.to_le_bytes());
        bytes.extend(self.end_block.to_le_bytes());
        bytes.extend(token.to_le_bytes());
        bytes.extend(number.to_le_bytes());
        bytes.extend(self.instructions.to_le_bytes());
        add_floats(&mut bytes, floats);
        bytes.extend(text.as_bytes());
        bytes
    }

    /// Decode one; none if the bytes are not a reply.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(blob(bytes)?);
        let [kind, 0, 0, 0] = fields.take()? else { return None };
        let positions = u32::from_le_bytes(fields.take()?);
        let end_block = u32::from_le_bytes(fields.take()?);
        let token = u32::from_le_bytes(fields.take()?);
        let number = u64::from_le_bytes(fields.take()?);
        let instructions = u64::from_le_bytes(fields.take()?);
        let outcome = match kind {
            0 => Outcome::Activations(floats(fields.0)?),
            1 => Outcome::Token(token, number),
            2 => Outcome::Gap { held: number },
            3 => Outcome::Stale { sequence: number },
            4 => Outcome::Refused(String::from_utf8(fields.0.to_vec()).ok()?),
            _ => return None,
        };
        Some(Self { positions, end_block, instructions, outcome })
    }
}

fn start_blob(length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(BLOB.len() + 5 + length);
    bytes.extend(BLOB);
    let mut rest = length;
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

/// Return the bytes of a value of type `blob`.
fn blob(candid: &[u8]) -> Option<&[u8]> {
    let mut rest = candid.strip_prefix(&BLOB)?;
    let mut length = 0;
    for shift in [0, 7, 14, 21] {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        length |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return (rest.len() == length).then_some(rest);
        }
    }
    None
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }
}

fn add_floats(bytes: &mut Vec<u8>, floats: &[f32]) {
    for float in floats {
        bytes.extend(float.to_le_bytes());
    }
}

/// Read activations: whole ones, finite.
fn floats(bytes: &[u8]) -> Option<Vec<f32>> {
    let (words, rest) = bytes.as_chunks();
    let floats: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
    (rest.is_empty() && floats.iter().all(|float| float.is_finite())).then_some(floats)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_bytes::ByteBuf;

    fn hop(activations: Vec<f32>) -> Hop {
        Hop {
            mode: Mode::Exact,
            wants_result: true,
            first_block: 15,
            whole: [7; DIGEST_BYTES],
            conversation: 1 << 60,
            sequence: 9,
            base: 3,
            position: 41,
            temperature: 0.5,
            sampling: u64::MAX,
            activations,
        }
    }

    fn replies() -> Vec<Reply> {
        [
            Outcome::Activations(vec![1.5; 100]),
            Outcome::Activations(Vec::new()),
            Outcome::Token(128_000, 5),
            Outcome::Gap { held: 3 },
            Outcome::Stale { sequence: 8 },
            Outcome::Refused("why".into()),
        ]
        .map(|outcome| Reply { positions: 2, end_block: 30, instructions: 77, outcome })
        .to_vec()
    }

    #[test]
    fn requests_and_replies_come_back_as_candid_writes_blobs() {
        for length in [0, 3, 70_000] {
            let sent = hop(vec![0.25; length]);
            let bytes = sent.encode();
            let inner: ByteBuf = candid::decode_one(&bytes).unwrap();
            assert_eq!(candid::encode_one(&inner).unwrap(), bytes);
            assert_eq!(Hop::decode(&bytes), Some(sent));
        }
        for reply in replies() {
            let bytes = reply.encode();
            assert!(candid::decode_one::<ByteBuf>(&bytes).is_ok());
            assert_eq!(Reply::decode(&bytes), Some(reply));
        }
    }

    #[test]
    fn cut_changed_and_infinite_bytes_are_refused() {
        let bytes = hop(vec![1.0, 2.0]).encode();
        for end in 0..bytes.len() {
            assert_eq!(Hop::decode(&bytes[..end]), None, "cut at {end}");
        }
        let header = BLOB.len() + 1;
        for at in (0..header).chain([header, header + 3]) {
            let mut changed = bytes.clone();
            changed[at] ^= 0x40;
            assert_eq!(Hop::decode(&changed), None, "byte {at}");
        }
        assert_eq!(Hop::decode(&hop(vec![f32::INFINITY]).encode()), None);
        let reply = replies()[0].encode();
        for end in 0..reply.len() {
            assert_eq!(Reply::decode(&reply[..end]), None, "cut at {end}");
        }
        let mut unknown = reply.clone();
        unknown[BLOB.len() + 2] = 5;
        assert_eq!(Reply::decode(&unknown), None);
    }
}
