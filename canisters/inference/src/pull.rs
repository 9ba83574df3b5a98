//! Frames of a node of anybody, fetched by a call of its `get_frames`.
//!
//! A controller asks for frames that its lease lacks; what it holds is not fetched again. The frames
//! are stored as if the controller had put them, each under the digest of its bytes, or not at all: a
//! message whose source gives other frames than were asked for traps, and leaves nothing.

use candid::{CandidType, Principal};
use datanode_idl::Idl;
use datanode_storage::get::{DID_NOT_FIT, FRAME, OK, TABLE};
use datanode_storage::state::{CALL_CYCLES, change, context, write};
use datanode_store::api::{FrameRef, Hash, PutResult};
use datanode_store::{Context, Error};
use ic_cdk::call::{Call, CallFailed, RejectCode};
use serde::Deserialize;

const METHOD: &str = "get_frames";

/// How long a call waits for its response, seconds.
const TIMEOUT_S: u32 = 120;

/// How often a call is made whose outcome is unknown: it only reads.
const TRIES: u32 = 5;

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

/// An answer to one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found<'a> {
    Frame(&'a [u8]),
    DidNotFit,
    Missing,
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
    wanted.chunks = asked.iter().map(|at| wanted.chunks[*at]).collect();
    let reply = call(source, &wanted, caller.controller).await?;
    let found = parse(&reply).filter(|found| found.len() == asked.len());
    let found =
        found.ok_or_else(|| refused(source, "does not let this canister read the model"))?;
    let (mut came, mut bytes) = (Vec::new(), Vec::new());
    for (at, found) in asked.into_iter().zip(found) {
        match found {
            Found::Frame(frame) => {
                came.push(at);
                bytes.push(frame);
            }
            Found::DidNotFit => results[at] = PutResult::NoRoom,
            Found::Missing => results[at] = PutResult::Bad("the source has lost it".into()),
        }
    }
    let digests: Vec<Hash> = came.iter().map(|at| frames[*at]).collect();
    for (at, result) in came.into_iter().zip(keep(&caller, lease, bytes, &digests)?) {
        results[at] = result;
    }
    Ok(results)
}

/// Store frames for the caller that the message began with.
fn keep(
    caller: &Context,
    lease: u64,
    bytes: Vec<&[u8]>,
    digests: &[Hash],
) -> Result<Vec<PutResult>, Error> {
    let now = Context { caller: caller.caller, controller: caller.controller, ..context() };
    change(|store| {
        let results = store.put_frames(&now, lease, &bytes)?;
        let missing = store.missing_frames(&now, lease, digests)?;
        let is_kept =
            |result: &PutResult| matches!(result, PutResult::Stored | PutResult::AlreadyStored);
        if results.iter().enumerate().any(|(at, result)| is_kept(result) && is_set(&missing, at)) {
            ic_cdk::api::trap("the source gives other frames than were asked for");
        }
        Ok(results)
    })
}

fn is_set(bits: &[u8], at: usize) -> bool {
    bits[at / 8] >> (at % 8) & 1 == 1
}

/// Ask a node for frames; again while the outcome is unknown.
async fn call(source: Principal, wanted: &FrameRef, is_controller: bool) -> Result<Vec<u8>, Error> {
    let argument = datanode_idl::encode(wanted);
    let mut reason = String::new();
    for _ in 0..TRIES {
        let call = Call::bounded_wait(source, METHOD)
            .with_raw_args(&argument)
            .with_cycles(CALL_CYCLES)
            .change_timeout(TIMEOUT_S);
        match call.await {
            Ok(response) => return Ok(response.into_bytes()),
            Err(CallFailed::CallRejected(rejected)) => {
                reason = rejected.reject_message().into();
                match rejected.reject_code() {
                    Ok(RejectCode::SysTransient | RejectCode::SysUnknown) => {}
                    _ => break,
                }
            }
            Err(CallFailed::InsufficientLiquidCycleBalance(_)) => {
                let needed = CALL_CYCLES
                    + ic_cdk::api::cost_call(METHOD.len() as u64, argument.len() as u64);
                let balance = ic_cdk::api::canister_liquid_cycle_balance();
                let balance = is_controller.then_some(balance);
                return Err(Error::LowCycles { balance, needed });
            }
            Err(CallFailed::CallPerformFailed(_)) => {
                reason = "too many calls are under way".into();
                break;
            }
        }
    }
    Err(refused(source, &format!("does not answer: {reason}")))
}

fn refused(source: Principal, why: &str) -> Error {
    Error::Conflict(format!("{source} {why}"))
}

/// Take a reply of `get_frames` apart; none if it is an error, or no such reply.
fn parse(reply: &[u8]) -> Option<Vec<Found<'_>>> {
    let mut rest = reply.strip_prefix(TABLE)?.strip_prefix(&[OK])?;
    let count = length(&mut rest)?;
    let mut found = Vec::new();
    for _ in 0..count {
        let (kind, after) = rest.split_first()?;
        rest = after;
        found.push(match *kind {
            FRAME => {
                let length = length(&mut rest)?;
                let (frame, after) = rest.split_at_checked(length)?;
                rest = after;
                Found::Frame(frame)
            }
            DID_NOT_FIT => Found::DidNotFit,
            _ => Found::Missing,
        });
    }
    rest.is_empty().then_some(found)
}

/// Take a LEB128 number of at most four groups.
fn length(rest: &mut &[u8]) -> Option<usize> {
    let mut number = 0;
    for shift in [0, 7, 14, 21] {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= usize::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use datanode_store::api::FrameAnswer;
    use serde_bytes::ByteBuf;

    fn encoded(answer: &Result<Vec<FrameAnswer>, Error>) -> Vec<u8> {
        candid::encode_one(answer).unwrap()
    }

    #[test]
    fn replies_are_read_as_candid_writes_them() {
        let frame = |length| FrameAnswer::Frame(ByteBuf::from(vec![7; length]));
        let answers = vec![
            frame(3),
            FrameAnswer::DidNotFit,
            FrameAnswer::Elsewhere,
            FrameAnswer::Missing,
            frame(70_000),
        ];
        let reply = encoded(&Ok(answers));
        let found = parse(&reply).unwrap();
        let (short, long) = (vec![7; 3], vec![7; 70_000]);
        assert_eq!(
            found,
            [
                Found::Frame(&short),
                Found::DidNotFit,
                Found::Missing,
                Found::Missing,
                Found::Frame(&long)
            ]
        );
        assert_eq!(parse(&encoded(&Err(Error::LeaseLost))), None);
        assert_eq!(parse(&encoded(&Ok(Vec::new()))), Some(Vec::new()));
    }

    #[test]
    fn every_cut_and_every_trailing_byte_is_refused() {
        let reply = encoded(&Ok(vec![FrameAnswer::Frame(ByteBuf::from(vec![7; 300]))]));
        for end in 0..reply.len() {
            assert_eq!(parse(&reply[..end]), None, "cut at {end}");
        }
        assert_eq!(parse(&[reply.as_slice(), &[0]].concat()), None);
        let many = [TABLE, &[OK, 0xff, 0xff, 0xff, 0x7f]].concat();
        assert_eq!(parse(&many), None);
    }
}
