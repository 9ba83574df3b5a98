//! A hop: activations of consecutive positions of several conversations, on their way from the driver
//! of a model to a canister with further blocks, and its reply.
//!
//! What a hop carries of one conversation is a *leg*. Both messages are a Candid `blob`,
//! little-endian inside. A request:
//!
//! ```text
//! offset size field
//!      0    1 version, 2
//!      1    1 mode: 0 fast, 1 exact
//!      2    2 legs n, 1 to MAX_LEGS
//!      4    4 first block that the receiver must have
//!      8   32 manifest digest of the whole model
//!     40 44 n legs:
//!           0    8 conversation
//!           8    8 sequence number of the hop in the conversation, from 1
//!          16    8 conversation whose first positions this one may begin with; 0: none
//!          24    4 first position
//!          28    4 sampling temperature, float32
//!          32    8 state of the sampling
//!          40    2 positions, from 1
//!          42    1 whether the result of the last position is wanted
//!          43    1 reserved, zero
//!      .    . activations of all legs, float32, `hidden` for each position
//! ```
//!
//! A reply:
//!
//! ```text
//!      0    1 kind: 5 outcomes, 4 nothing is computed
//!      1    3 reserved, zero
//!      4    4 kind 5: legs n, in the order of the request
//!      8    4 kind 5: block after the last one of the receiver
//!     12   20 reserved, zero
//!     32    . kind 4: why, UTF-8
//!     32    . n legs:
//!           0    1 kind
//!           1    3 reserved, zero
//!           4    4 positions computed
//!           8    4 bytes m of activations or text
//!          12    4 kind 1: the token
//!          16    8 kind 1: state of the sampling; 2: positions held; 3: last sequence number
//!          24    8 instructions
//!          32    m kind 0: activations, as in a request; kind 4: why, UTF-8
//! ```
//!
//! A release that has hops of one conversation reads a reply of kind 4 as its own. A driver keeps some
//! hundred characters of a text (`foreign_text`).

use candid::Principal;

use crate::api::Mode;
use crate::foreign_text;

/// The method that takes hops.
pub const METHOD: &str = "model_hop";
/// Length of a digest of a manifest, bytes.
pub const DIGEST_BYTES: usize = 32;
/// Most bytes of activations in a hop; a message between canisters has 2 MB.
pub const MAX_ACTIVATION_BYTES: usize = 1_800_000;
/// Most conversations in a hop.
pub const MAX_LEGS: usize = 64;

const VERSION: u8 = 2;
const REQUEST_BYTES: usize = 40;
const LEG_BYTES: usize = 44;
const REPLY_BYTES: usize = 32;
const OUTCOMES: u8 = 5;
const REFUSED: u8 = 4;
/// Candid of a value of type `blob`, before its length.
const BLOB: [u8; 9] = *b"DIDL\x01\x6d\x7b\x01\x00";

/// What a hop says once for all conversations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub mode: Mode,
    pub first_block: u32,
    pub whole: [u8; DIGEST_BYTES],
}

/// What a hop carries of one conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Leg {
    pub conversation: u64,
    pub sequence: u64,
    pub base: u64,
    pub position: u32,
    pub temperature: f32,
    pub sampling: u64,
    pub wants_result: bool,
    pub positions: usize,
    pub activations: Vec<f32>,
}

/// What became of a leg.
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

/// A leg of a reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub positions: u32,
    pub instructions: u64,
    pub outcome: Outcome,
}

/// A reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Outcomes, in the order of the request.
    Outcomes { end_block: u32, answers: Vec<Answer> },
    /// Nothing is computed.
    Refused(String),
}

/// A canister and the conversation that it calls about.
pub type Guest = (Principal, u64);

impl Head {
    /// Encode a hop of some legs.
    pub fn encode<'a>(&self, legs: impl Iterator<Item = &'a Leg> + Clone) -> Vec<u8> {
        let floats: usize = legs.clone().map(|leg| leg.activations.len()).sum();
        let count = legs.clone().count();
        let mut bytes = start_blob(REQUEST_BYTES + LEG_BYTES * count + 4 * floats);
        bytes.extend([VERSION, u8::from(self.mode == Mode::Exact)]);
        bytes.extend((count as u16).to_le_bytes());
        bytes.extend(self.first_block.to_le_bytes());
        bytes.extend(self.whole);
        for leg in legs.clone() {
            bytes.extend(leg.conversation.to_le_bytes());
            bytes.extend(leg.sequence.to_le_bytes());
            bytes.extend(leg.base.to_le_bytes());
            bytes.extend(leg.position.to_le_bytes());
            bytes.extend(leg.temperature.to_le_bytes());
            bytes.extend(leg.sampling.to_le_bytes());
            bytes.extend((leg.positions as u16).to_le_bytes());
            bytes.extend([u8::from(leg.wants_result), 0]);
        }
        for leg in legs {
            add_floats(&mut bytes, &leg.activations);
        }
        bytes
    }
}

/// Decode a hop; none if the bytes are not of this version.
pub fn decode(bytes: &[u8]) -> Option<(Head, Vec<Leg>)> {
    let mut fields = Fields(blob(bytes)?);
    let [VERSION, mode @ 0..=1] = fields.take()? else { return None };
    let mode = if mode == 1 { Mode::Exact } else { Mode::Fast };
    let count = usize::from(u16::from_le_bytes(fields.take()?));
    let first_block = u32::from_le_bytes(fields.take()?);
    let head = Head { mode, first_block, whole: fields.take()? };
    if !(1..=MAX_LEGS).contains(&count) {
        return None;
    }
    let mut legs = Vec::with_capacity(count);
    for _ in 0..count {
        let mut leg = Leg {
            conversation: u64::from_le_bytes(fields.take()?),
            sequence: u64::from_le_bytes(fields.take()?),
            base: u64::from_le_bytes(fields.take()?),
            position: u32::from_le_bytes(fields.take()?),
            temperature: f32::from_le_bytes(fields.take()?),
            sampling: u64::from_le_bytes(fields.take()?),
            positions: usize::from(u16::from_le_bytes(fields.take()?)),
            wants_result: false,
            activations: Vec::new(),
        };
        let [wants @ 0..=1, 0] = fields.take()? else { return None };
        leg.wants_result = wants == 1;
        legs.push(leg);
    }
    let positions: usize = legs.iter().map(|leg| leg.positions).sum();
    let width = fields.0.len().checked_div(positions)?;
    if width * positions != fields.0.len() || legs.iter().any(|leg| leg.positions == 0) {
        return None;
    }
    for leg in &mut legs {
        let (own, rest) = fields.0.split_at_checked(leg.positions * width)?;
        (leg.activations, fields.0) = (floats(own)?, rest);
    }
    Some((head, legs))
}

impl Answer {
    /// Encode it as a leg of a reply.
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
        let length = 4 * floats.len() + text.len();
        let mut bytes = Vec::with_capacity(REPLY_BYTES + length);
        bytes.extend([kind, 0, 0, 0]);
        bytes.extend(self.positions.to_le_bytes());
        bytes.extend((length as u32).to_le_bytes());
        bytes.extend(token.to_le_bytes());
        bytes.extend(number.to_le_bytes());
        bytes.extend(self.instructions.to_le_bytes());
        add_floats(&mut bytes, floats);
        bytes.extend(text.as_bytes());
        bytes
    }

    fn decode(fields: &mut Fields) -> Option<Self> {
        let [kind, 0, 0, 0] = fields.take()? else { return None };
        let positions = u32::from_le_bytes(fields.take()?);
        let length = u32::from_le_bytes(fields.take()?) as usize;
        let token = u32::from_le_bytes(fields.take()?);
        let number = u64::from_le_bytes(fields.take()?);
        let instructions = u64::from_le_bytes(fields.take()?);
        let (payload, rest) = fields.0.split_at_checked(length)?;
        fields.0 = rest;
        let outcome = match kind {
            0 => Outcome::Activations(floats(payload)?),
            1 => Outcome::Token(token, number),
            2 => Outcome::Gap { held: number },
            3 => Outcome::Stale { sequence: number },
            4 => Outcome::Refused(foreign_text::bounded(payload, payload.len())),
            _ => return None,
        };
        Some(Self { positions, instructions, outcome })
    }
}

impl Reply {
    /// Encode a reply of answers that are encoded.
    pub fn of(end_block: u32, answers: &[Vec<u8>]) -> Vec<u8> {
        let length = answers.iter().map(Vec::len).sum();
        let mut bytes = start_reply(OUTCOMES, answers.len(), end_block, length);
        answers.iter().for_each(|answer| bytes.extend(answer));
        bytes
    }

    /// Encode a reply that says why nothing is computed.
    pub fn refused(why: &str) -> Vec<u8> {
        let mut bytes = start_reply(REFUSED, 0, 0, why.len());
        bytes.extend(why.as_bytes());
        bytes
    }

    /// Decode one; none if the bytes are not a reply.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(blob(bytes)?);
        let [kind, 0, 0, 0] = fields.take()? else { return None };
        let count = u32::from_le_bytes(fields.take()?) as usize;
        let end_block = u32::from_le_bytes(fields.take()?);
        let _reserved: [u8; 20] = fields.take()?;
        if kind == REFUSED {
            return Some(Self::Refused(foreign_text::bounded(fields.0, fields.0.len())));
        }
        if kind != OUTCOMES || count > MAX_LEGS {
            return None;
        }
        let mut answers = Vec::with_capacity(count);
        for _ in 0..count {
            answers.push(Answer::decode(&mut fields)?);
        }
        fields.0.is_empty().then_some(Self::Outcomes { end_block, answers })
    }
}

fn start_reply(kind: u8, count: usize, end_block: u32, length: usize) -> Vec<u8> {
    let mut bytes = start_blob(REPLY_BYTES + length);
    bytes.extend([kind, 0, 0, 0]);
    bytes.extend((count as u32).to_le_bytes());
    bytes.extend(end_block.to_le_bytes());
    bytes.extend([0; 20]);
    bytes
}

fn start_blob(length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(BLOB.len() + 5 + length);
    bytes.extend(BLOB);
    datanode_idl::number(&mut bytes, length as u64);
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
    use crate::foreign_text::MAX_CHARACTERS;
    use serde_bytes::ByteBuf;

    const HEAD: Head = Head { mode: Mode::Exact, first_block: 15, whole: [7; DIGEST_BYTES] };

    fn leg(conversation: u64, positions: usize, activations: Vec<f32>) -> Leg {
        Leg {
            conversation,
            sequence: 9,
            base: 3,
            position: 41,
            temperature: 0.5,
            sampling: u64::MAX,
            wants_result: conversation.is_multiple_of(2),
            positions,
            activations,
        }
    }

    fn answers() -> Vec<Answer> {
        [
            Outcome::Activations(vec![1.5; 100]),
            Outcome::Activations(Vec::new()),
            Outcome::Token(128_000, 5),
            Outcome::Gap { held: 3 },
            Outcome::Stale { sequence: 8 },
            Outcome::Refused("why".into()),
        ]
        .map(|outcome| Answer { positions: 2, instructions: 77, outcome })
        .to_vec()
    }

    fn encoded(answers: &[Answer]) -> Vec<u8> {
        Reply::of(30, &answers.iter().map(Answer::encode).collect::<Vec<_>>())
    }

    #[test]
    fn requests_and_replies_come_back_as_candid_writes_blobs() {
        for width in [1, 3, 7_000] {
            let legs = [3, 1, 5].map(|count| leg(count as u64, count, vec![0.25; count * width]));
            let bytes = HEAD.encode(legs.iter());
            let inner: ByteBuf = candid::decode_one(&bytes).unwrap();
            assert_eq!(candid::encode_one(&inner).unwrap(), bytes);
            assert_eq!(decode(&bytes), Some((HEAD, legs.to_vec())));
        }
        for count in 0..=answers().len() {
            let answers = answers()[..count].to_vec();
            let bytes = encoded(&answers);
            assert!(candid::decode_one::<ByteBuf>(&bytes).is_ok());
            assert_eq!(Reply::decode(&bytes), Some(Reply::Outcomes { end_block: 30, answers }));
        }
        assert_eq!(Reply::decode(&Reply::refused("no")), Some(Reply::Refused("no".into())));
    }

    #[test]
    fn long_texts_of_another_canister_are_cut() {
        let (long, most) = ("é".repeat(700_000), 2 * MAX_CHARACTERS);
        let Some(Reply::Refused(told)) = Reply::decode(&Reply::refused(&long)) else { panic!() };
        assert!(long.starts_with(&told[..most]) && told[most..] == *"... (cut off)");
        let outcome = Outcome::Refused(long);
        let bytes = encoded(&[Answer { positions: 0, instructions: 0, outcome }]);
        let Some(Reply::Outcomes { answers, .. }) = Reply::decode(&bytes) else { panic!() };
        assert_eq!(answers[0].outcome, Outcome::Refused(told));
    }

    #[test]
    fn cut_changed_and_infinite_bytes_are_refused() {
        let bytes = HEAD.encode([leg(1, 1, vec![1.0, 2.0]), leg(2, 2, vec![3.0; 4])].iter());
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), None, "cut at {end}");
        }
        let start = BLOB.len() + 2;
        let head = start..start + 4;
        let counts = start + REQUEST_BYTES + 40..start + REQUEST_BYTES + 44;
        for at in (0..start).chain(head).chain(counts) {
            let mut changed = bytes.clone();
            changed[at] ^= 0x44;
            assert_eq!(decode(&changed), None, "byte {at}");
        }
        assert_eq!(decode(&HEAD.encode([leg(1, 1, vec![f32::INFINITY])].iter())), None);
        assert_eq!(decode(&HEAD.encode([leg(1, 0, Vec::new())].iter())), None);
        assert_eq!(decode(&HEAD.encode([].iter())), None);
        let many = vec![leg(1, 1, vec![1.0]); MAX_LEGS + 1];
        assert_eq!(decode(&HEAD.encode(many.iter())), None);
        assert!(decode(&HEAD.encode(many[1..].iter())).is_some());
        let reply = encoded(&answers());
        for end in 0..reply.len() {
            assert_eq!(Reply::decode(&reply[..end]), None, "cut at {end}");
        }
        for at in [BLOB.len() + 2, BLOB.len() + 2 + REPLY_BYTES] {
            let mut unknown = reply.clone();
            unknown[at] = 6;
            assert_eq!(Reply::decode(&unknown), None);
        }
    }
}
