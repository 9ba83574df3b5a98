//! `get_frames`, exported by hand: frames go from stable memory into the reply through one page of the
//! heap, because a message pays for each page that it touches.

use datanode_idl::{SKIPPING_QUOTA, number};
use datanode_store::api::{FrameAnswer, FrameRef};
use datanode_store::{Error, Found, FoundFrames, Stored};

use crate::state::CALL_CYCLES;

/// What a call of another canister pays, cycles: for its message, for each chunk that it names, which
/// the node looks up, for each byte of the manifest's head, which the node parses, and for each byte of
/// frames. The network bills the node for 50 instructions a byte of a reply, and for 2.3 that read it.
const MESSAGE_CYCLES: u64 = 10_000_000;
const CHUNK_CYCLES: u64 = 500_000;
const HEAD_BYTE_CYCLES: u64 = 60;
const BYTE_CYCLES: u64 = 53;

/// Longest argument, bytes: as many chunks as a call may name, four times over.
#[cfg(any(target_family = "wasm", test))]
const MAX_ARGUMENT_BYTES: usize = 65_536;

/// Type table of `variant { Ok : vec FrameAnswer; Err : Error }`, and that there is one value.
pub const TABLE: &[u8] = b"\
    \x44\x49\x44\x4c\x0e\x6b\x02\xbc\x8a\x01\x01\xc5\xfe\xd2\x01\x04\x6d\x02\x6b\x04\
    \xad\xf0\x8d\x34\x03\xa5\xa6\xf3\xf6\x01\x7f\xe6\xfe\x92\x9c\x03\x7f\x8e\xb9\xc2\
    \xa3\x03\x7f\x6d\x7b\x6b\x0c\x9e\x93\xb9\x10\x05\xfa\xab\xc9\x68\x07\xa9\x9a\xfb\
    \x7d\x7f\x95\xef\x9a\xaf\x01\x71\x98\x99\xd2\xec\x01\x09\xd2\x94\x92\xa1\x02\x71\
    \xa9\xc1\x95\xa3\x03\x71\xd6\xe5\xca\xc6\x04\x71\xb8\xc6\xc8\xef\x05\x0b\xb8\xec\
    \xed\xfa\x0b\x0c\xb4\x9c\xfc\xd9\x0c\x7f\x90\x91\xd0\xad\x0d\x0d\x6c\x02\xe6\xfe\
    \x92\x9c\x03\x06\xeb\xd5\x93\x9e\x0d\x79\x6d\x03\x6c\x02\xec\xde\x9c\xb2\x0c\x08\
    \xb0\xbe\xf7\xda\x0d\x78\x6e\x68\x6c\x02\x9c\xba\xb6\x9c\x02\x0a\xb5\x9c\xa4\xae\
    \x06\x7d\x6e\x7d\x6c\x02\xa7\x9a\xd0\xa0\x01\x78\xa9\xdb\x8e\xea\x02\x78\x6c\x01\
    \x84\xb3\xa8\xcb\x0e\x78\x6c\x02\xcc\x92\xba\x02\x78\xbb\xbe\x84\xa8\x07\x78\x01\
    \x00";
/// Index of `Ok` in it.
pub const OK: u8 = 0;
/// Indices of `frame` and `did_not_fit`.
pub const FRAME: u8 = 0;
/// See `FRAME`.
pub const DID_NOT_FIT: u8 = 1;
const MISSING: u8 = 2;

/// Return what a call pays: at least what it costs the node, at most what any call pays. It follows
/// the argument and the reply alone, and so tells a caller nothing that it does not know.
pub fn price(chunks: usize, answer: &Result<FoundFrames, Error>) -> u128 {
    let named = MESSAGE_CYCLES + CHUNK_CYCLES * chunks as u64;
    let found = answer.as_ref().map_or(0, |found| {
        let frames = found.answers.iter().map(|answer| match answer {
            Found::Frame(frame) => frame.length as u64,
            Found::DidNotFit | Found::Missing => 0,
        });
        HEAD_BYTE_CYCLES * found.head_bytes as u64 + BYTE_CYCLES * frames.sum::<u64>()
    });
    CALL_CYCLES.min((named + found).into())
}

/// Decode the argument.
///
/// # Errors
/// It is too long, or none.
pub fn wanted(argument: &[u8]) -> Result<FrameRef, String> {
    datanode_idl::decode_one(argument, SKIPPING_QUOTA).map_err(|fault| fault.text().to_string())
}

/// Encode the answer: `read` copies a part of a frame, `append` takes the reply a page at a time.
pub fn encode(
    answer: Result<Vec<Found>, Error>,
    page: &mut [u8],
    read: impl Fn(Stored, usize, &mut [u8]),
    append: impl FnMut(&[u8]),
) {
    let mut reply = Reply { page, filled: 0, append };
    match answer {
        Err(error) => {
            let answer = Err::<Vec<FrameAnswer>, Error>(error);
            reply.put(&datanode_idl::encode(&answer));
        }
        Ok(answers) => {
            reply.put(TABLE);
            reply.put(&[OK]);
            reply.length(answers.len());
            for found in answers {
                match found {
                    Found::Frame(frame) => {
                        reply.put(&[FRAME]);
                        reply.length(frame.length);
                        reply.fill(frame.length, |offset, into| read(frame, offset, into));
                    }
                    Found::DidNotFit => reply.put(&[DID_NOT_FIT]),
                    Found::Missing => reply.put(&[MISSING]),
                }
            }
        }
    }
    reply.flush();
}

/// A reply that is written through a page.
struct Reply<'a, A> {
    page: &'a mut [u8],
    filled: usize,
    append: A,
}

impl<A: FnMut(&[u8])> Reply<'_, A> {
    fn put(&mut self, bytes: &[u8]) {
        self.fill(bytes.len(), |offset, into| {
            into.copy_from_slice(&bytes[offset..offset + into.len()]);
        });
    }

    /// Append a LEB128 number.
    fn length(&mut self, length: usize) {
        let mut bytes = Vec::new();
        number(&mut bytes, length as u64);
        self.put(&bytes);
    }

    /// Append bytes that `read` copies, part by part.
    fn fill(&mut self, length: usize, read: impl Fn(usize, &mut [u8])) {
        let mut offset = 0;
        while offset < length {
            if self.filled == self.page.len() {
                self.flush();
            }
            let end = self.page.len().min(self.filled + length - offset);
            let part = &mut self.page[self.filled..end];
            read(offset, part);
            offset += part.len();
            self.filled = end;
        }
    }

    fn flush(&mut self) {
        (self.append)(&self.page[..self.filled]);
        self.filled = 0;
    }
}

#[cfg(target_family = "wasm")]
#[unsafe(export_name = "canister_query get_frames")]
extern "C" fn export() {
    use crate::state::{charge, context, peek};

    let refuse = |why: &str| -> ! { ic_cdk::api::trap(format!("get_frames: {why}")) };
    if ic0::msg_arg_data_size() > MAX_ARGUMENT_BYTES {
        refuse("the argument is too long");
    }
    let wanted = wanted(&ic_cdk::api::msg_arg_data()).unwrap_or_else(|error| refuse(&error));
    peek(|store| {
        let answer = store.find_frames(&context(), &wanted);
        charge(price(wanted.chunks.len(), &answer));
        let answer = answer.map(|found| found.answers);
        let read = |frame, offset, into: &mut [u8]| store.read_frame(frame, offset, into);
        store.lend_page(|page| encode(answer, page, read, ic0::msg_reply_data_append));
    });
    ic0::msg_reply();
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_bytes::ByteBuf;

    /// What a frame holds that starts at `start`.
    fn bytes(frame: Stored) -> Vec<u8> {
        (0..frame.length as u64).map(|at| ((frame.start + at) % 251) as u8).collect()
    }

    fn by_hand(answer: Result<Vec<Found>, Error>, page: usize) -> Vec<u8> {
        let mut reply = Vec::new();
        let read = |frame: Stored, offset: usize, into: &mut [u8]| {
            let start = frame.start + offset as u64;
            into.copy_from_slice(&bytes(Stored { start, length: into.len() }));
        };
        encode(answer, &mut vec![0; page], read, |part| {
            assert!(part.len() <= page);
            reply.extend_from_slice(part);
        });
        reply
    }

    fn by_candid(answer: &Result<Vec<Found>, Error>) -> Vec<u8> {
        let answer = answer.clone().map(|found| {
            let each = found.into_iter().map(|each| match each {
                Found::Frame(frame) => FrameAnswer::Frame(ByteBuf::from(bytes(frame))),
                Found::DidNotFit => FrameAnswer::DidNotFit,
                Found::Missing => FrameAnswer::Missing,
            });
            each.collect::<Vec<_>>()
        });
        candid::encode_one(answer).unwrap()
    }

    #[test]
    fn every_answer_is_what_candid_writes() {
        let frame = |start, length| Found::Frame(Stored { start, length });
        let mixed =
            vec![frame(1, 3), Found::DidNotFit, frame(2, 0), Found::Missing, frame(3, 70_000)];
        let answers = [
            Ok(Vec::new()),
            Ok(mixed),
            Ok(vec![Found::Missing; 300]),
            Ok((0..40).map(|index| frame(index, 120 + index as usize)).collect()),
            Err(Error::Unauthorized),
            Err(Error::TooLarge { limit: 1, got: 2 }),
        ];
        for answer in answers {
            for page in [1, 7, 224, 65_536] {
                let same = by_hand(answer.clone(), page) == by_candid(&answer);
                assert!(same, "{page}");
            }
        }
    }

    #[test]
    fn arguments_are_what_candid_decodes_and_as_many_chunks_as_the_store_refuses() {
        let chunks: Vec<u32> = (0..5_000).collect();
        let manifest = datanode_store::api::Hash([7; 32]);
        let given = FrameRef { model: "m".into(), manifest, chunks };
        let argument = candid::encode_one(&given).unwrap();
        assert!(argument.len() < MAX_ARGUMENT_BYTES);
        let found = wanted(&argument).unwrap();
        assert_eq!((found.model, found.chunks), (given.model, given.chunks));
        assert!(wanted(&argument[..argument.len() - 1]).is_err());
        assert!(wanted(b"DIDL\0\0").is_err());
    }

    #[test]
    fn the_price_follows_argument_and_reply_up_to_that_of_any_call() {
        let frame = Found::Frame(Stored { start: 1, length: 1_000_000 });
        let refused = Err(Error::Unauthorized);
        assert_eq!(
            [0, 1, 4_096].map(|chunks| price(chunks, &refused)),
            [10_000_000, 10_500_000, CALL_CYCLES]
        );
        let found = |answers| Ok(FoundFrames { answers, head_bytes: 100 });
        let mixed = vec![Found::Missing, frame, Found::DidNotFit];
        assert_eq!(price(3, &found(mixed)), 64_506_000);
        assert_eq!(price(4, &found(vec![frame; 4])), 224_006_000);
        assert_eq!(price(5, &found(vec![frame; 5])), CALL_CYCLES);
    }
}
