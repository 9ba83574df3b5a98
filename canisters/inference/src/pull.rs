//! Frames of a node of anybody, fetched by a call of its `get_frames`.
//!
//! A controller asks for frames that its lease lacks; what it holds is not fetched again. The frames
//! are stored as if the controller had put them, each under the digest of its bytes, or not at all: a
//! message whose source gives other frames than were asked for traps, and leaves nothing.

use candid::{CandidType, Principal};
use datanode_idl::Idl;
use datanode_storage::argument::{Argument, Cursor, Ranges};
use datanode_storage::get::{DID_NOT_FIT, FRAME, OK, TABLE};
use datanode_storage::state::{change, context, write};
use datanode_store::api::{FrameRef, Hash, PutResult};
use datanode_store::limits::MAX_MESSAGE_FRAMES;
use datanode_store::{Context, Error, Incoming};
use serde::Deserialize;

use crate::bounded_call::{self, Request};

const METHOD: &str = "get_frames";
const TABLE_BYTES: usize = TABLE.len();

/// Argument of `model_pull`.
#[derive(CandidType, Deserialize, Idl, Clone, Debug)]
pub struct Pull {
    /// The node that has the frames; this canister may read the model there.
    pub source: Principal,
    /// The caller's lease on this canister.
    pub lease: u64,
    /// Where the frames are.
    pub wanted: FrameRef,
    /// Their digests.
    pub frames: Vec<Hash>,
}

/// What a source gives for chunks.
#[derive(Debug, PartialEq, Eq)]
struct Given {
    /// Positions of the chunks that it gives a frame for, rising.
    came: Vec<usize>,
    /// Offset and length of those frames in the reply.
    ranges: Vec<(usize, usize)>,
    /// What it says of the others.
    others: Vec<(usize, PutResult)>,
}

/// What is wrong with a reply.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    /// The source refuses.
    Refusal,
    /// It is no reply of `get_frames` to the call.
    Nonsense,
}

/// Fetch frames and store them: a result for each, `no_room` for those that a further message gets.
pub async fn pull(pull: Pull) -> Result<Vec<PutResult>, Error> {
    let Pull { source, lease, mut wanted, frames } = pull;
    if wanted.chunks.len() != frames.len() {
        return Err(Error::BadRequest("there is not a digest for each chunk".into()));
    }
    let caller = context();
    // A call sends cycles to a canister that the caller names, which only controllers may do.
    let missing = write(|store| match caller.controller {
        true => store.missing_frames(&caller, lease, &frames),
        false => Err(Error::Unauthorized),
    })?;
    let asked: Vec<usize> = (0..frames.len()).filter(|at| is_set(&missing, *at)).collect();
    let mut results = vec![PutResult::AlreadyStored; frames.len()];
    if asked.is_empty() {
        return Ok(results);
    }
    Error::bound(MAX_MESSAGE_FRAMES as u64, asked.len() as u64)?;
    wanted.chunks = asked.iter().map(|at| wanted.chunks[*at]).collect();
    let digests: Vec<Hash> = asked.iter().map(|at| frames[*at]).collect();
    let argument = datanode_idl::encode(&wanted);
    let request = Request { callee: source, method: METHOD, argument: &argument };
    let kept = bounded_call::call(
        request,
        || (),
        |reply| match parse(reply, digests.len()) {
            Ok(given) => keep(&caller, lease, reply, given, &digests),
            Err(Fault::Refusal) => {
                Err(refused(source, "does not let this canister read the model"))
            }
            Err(Fault::Nonsense) => Err(refused(source, "gave no sensible reply")),
        },
    );
    let kept = kept
        .await
        .map_err(|failure| failure.into_error(caller.controller, |why| refused(source, why)))??;
    for (at, result) in kept {
        results[asked[at]] = result;
    }
    Ok(results)
}

/// Store the frames of a reply for the caller that the message began with.
fn keep(
    caller: &Context,
    lease: u64,
    reply: &impl Argument,
    given: Given,
    digests: &[Hash],
) -> Result<Vec<(usize, PutResult)>, Error> {
    let now = Context { caller: caller.caller, controller: caller.controller, ..context() };
    let Given { came, ranges, others: mut results } = given;
    let digests: Vec<Hash> = came.iter().map(|at| digests[*at]).collect();
    let frames = Ranges { argument: reply, count: came.len(), ranges };
    let put = change(|store| {
        let results = store.put_frames(&now, lease, &frames as &dyn Incoming)?;
        let missing = store.missing_frames(&now, lease, &digests)?;
        let is_kept =
            |result: &PutResult| matches!(result, PutResult::Stored | PutResult::AlreadyStored);
        if results.iter().enumerate().any(|(at, result)| is_kept(result) && is_set(&missing, at)) {
            ic_cdk::api::trap("the source gives other frames than were asked for");
        }
        Ok(results)
    })?;
    results.extend(came.into_iter().zip(put));
    Ok(results)
}

fn is_set(bits: &[u8], at: usize) -> bool {
    bits[at / 8] >> (at % 8) & 1 == 1
}

fn refused(source: Principal, why: &str) -> Error {
    Error::Conflict(format!("{source} {why}"))
}

/// Find the frames in a reply of `get_frames` to a call that named so many chunks.
fn parse<A: Argument>(reply: &A, asked: usize) -> Result<Given, Fault> {
    let mut cursor = Cursor::new(reply);
    if cursor.take::<TABLE_BYTES>().is_none_or(|table| table != TABLE) {
        return Err(Fault::Nonsense);
    }
    match cursor.take() {
        Some([OK]) => answers(cursor, asked).ok_or(Fault::Nonsense),
        _ => Err(Fault::Refusal),
    }
}

fn answers<A: Argument>(mut cursor: Cursor<'_, A>, asked: usize) -> Option<Given> {
    if cursor.length()? != asked {
        return None;
    }
    let mut given = Given { came: Vec::new(), ranges: Vec::new(), others: Vec::new() };
    for at in 0..asked {
        let [kind] = cursor.take()?;
        if kind == FRAME {
            let length = cursor.length()?;
            given.came.push(at);
            given.ranges.push((cursor.pass(length)?, length));
        } else {
            let result = match kind {
                DID_NOT_FIT => PutResult::NoRoom,
                _ => PutResult::Bad("the source has lost it".into()),
            };
            given.others.push((at, result));
        }
    }
    cursor.is_at_end().then_some(given)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datanode_store::api::FrameAnswer;
    use serde_bytes::ByteBuf;

    fn encoded(answer: &Result<Vec<FrameAnswer>, Error>) -> Vec<u8> {
        candid::encode_one(answer).unwrap()
    }

    fn frame(length: usize) -> FrameAnswer {
        FrameAnswer::Frame(ByteBuf::from(vec![7; length]))
    }

    #[test]
    fn replies_are_read_as_candid_writes_them() {
        let answers = vec![
            frame(3),
            FrameAnswer::DidNotFit,
            FrameAnswer::Elsewhere,
            FrameAnswer::Missing,
            frame(70_000),
        ];
        let reply = encoded(&Ok(answers));
        let given = parse(&reply, 5).unwrap();
        let lost = || PutResult::Bad("the source has lost it".into());
        assert_eq!(given.came, [0, 4]);
        assert_eq!(given.others, [(1, PutResult::NoRoom), (2, lost()), (3, lost())]);
        let frames = Ranges { argument: &reply, count: 2, ranges: given.ranges };
        for (index, length) in [3, 70_000].into_iter().enumerate() {
            assert_eq!(frames.length(index), length);
            let mut bytes = vec![0; length];
            frames.read(index, 0, &mut bytes);
            assert_eq!(bytes, vec![7; length]);
        }
        assert_eq!(parse(&encoded(&Err(Error::LeaseLost)), 5), Err(Fault::Refusal));
        assert!(parse(&encoded(&Ok(Vec::new())), 0).unwrap().came.is_empty());
    }

    #[test]
    fn every_cut_and_every_trailing_byte_is_refused() {
        let reply = encoded(&Ok(vec![frame(300)]));
        for end in 0..reply.len() {
            assert!(parse(&reply[..end].to_vec(), 1).is_err(), "cut at {end}");
        }
        assert_eq!(parse(&[reply.as_slice(), &[0]].concat(), 1), Err(Fault::Nonsense));
    }

    #[test]
    fn another_count_than_that_of_the_chunks_is_refused_before_it_is_believed() {
        for count in [0, 1, 3, 1_000] {
            let reply = encoded(&Ok(vec![FrameAnswer::Missing; count]));
            assert_eq!(parse(&reply, 2), Err(Fault::Nonsense), "{count}");
        }
        let many = [TABLE, &[OK, 0xff, 0xff, 0xff, 0x7f]].concat();
        assert_eq!(parse(&many, 2), Err(Fault::Nonsense));
        let long = [TABLE, &[OK, 1, FRAME, 0xff, 0xff, 0xff, 0x7f]].concat();
        assert_eq!(parse(&long, 1), Err(Fault::Nonsense));
    }
}
