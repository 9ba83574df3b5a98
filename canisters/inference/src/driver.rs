//! Drives a model over several canisters: embedding, first blocks and sampling here, the further
//! blocks by hops.
//!
//! A message computes a batch of positions, sends their activations through the other canisters, and
//! so on until its tokens are generated. Between two calls other messages run; whatever they do, a
//! conversation holds a text, and how many of its positions every canister has computed. What a
//! canister lacks is computed again.

use std::future::{Future, ready};
use std::pin::Pin;

use candid::Principal;
use datanode_llama::{Model, PositionError};
use datanode_storage::state::CALL_CYCLES;
use datanode_store::{Context, Error};
use ic_cdk::call::{Call, CallFailed, RejectCode};

use crate::api::{Fleet, Generated, Hops};
use crate::conversation::{Conversation, embed, whole_only};
use crate::hop::{self, Hop, MAX_ACTIVATION_BYTES, Outcome, Reply};
use crate::load::Loaded;
use crate::reader::{Answer, Reader};
use crate::state::resume;

/// How long a call waits for its response, seconds.
const TIMEOUT_S: u32 = 120;

/// How often a call is made whose outcome is unknown, or which the network refuses.
const TRIES: u32 = 5;

/// How often canisters may lack positions before a message generates a token.
const MAX_REPLAYS: u32 = 8;

/// Instructions after which a message ends, those of all canisters and of all its calls together.
pub const FLEET_INSTRUCTIONS: u64 = 1_000_000_000_000;

/// One message that generates.
pub struct Turn {
    pub owner: Principal,
    pub is_controller: bool,
    pub number: u64,
    /// Tokens of the conversation before it.
    pub first: usize,
    pub max_tokens: usize,
    pub max_instructions: u64,
    hops: Hops,
    /// Instructions of other canisters.
    elsewhere: u64,
    replays: u32,
}

/// Positions on their way through the canisters.
struct Batch {
    fleet: Fleet,
    /// From which each hop is made.
    hop: Hop,
    count: usize,
    hidden: usize,
    blocks: usize,
}

/// Sets the conversation free when the message ends, however it does.
struct Busy(u64);

impl Drop for Busy {
    fn drop(&mut self) {
        resume(|reader| reader.conversations.release(self.0));
    }
}

/// Finish a message, with calls of other canisters or without. Boxed: the module has it once.
#[inline(never)]
pub fn finish(begun: Result<Answer, Error>) -> Pin<Box<dyn Future<Output = Said>>> {
    match begun {
        Ok(Answer::Driven(turn)) => Box::pin(run(turn)),
        Ok(Answer::Said(generated)) => Box::pin(ready(Ok(generated))),
        Err(error) => Box::pin(ready(Err(error))),
    }
}

type Said = Result<Generated, Error>;

/// Generate in a conversation, which is busy until this ends.
async fn run(mut turn: Turn) -> Said {
    let _busy = Busy(turn.number);
    while let Some(mut batch) = resume(|reader| reader.batch(&turn))? {
        let outcome = send(&mut batch, &mut turn).await?;
        let has_token = resume(|reader| reader.take(&turn, &batch, outcome))?;
        turn.replays = if has_token { 0 } else { turn.replays };
    }
    resume(|reader| reader.said(&turn))
}

/// Send a batch through all canisters; the outcome is that of the last one, or the first gap.
async fn send(batch: &mut Batch, turn: &mut Turn) -> Result<Outcome, Error> {
    let activations = std::mem::take(&mut batch.hop.activations);
    let mut outcome = Outcome::Activations(activations);
    for at in 0..batch.fleet.blocks.len() {
        let member = batch.fleet.blocks[at];
        let Outcome::Activations(activations) = outcome else { return Err(misplaced(member)) };
        outcome = pass(member, batch, activations, turn).await?;
        if let Outcome::Gap { .. } = outcome {
            turn.replays += 1;
            if turn.replays > MAX_REPLAYS {
                let text = "drops the conversation again and again: end other conversations first";
                return Err(member_error(member, text));
            }
            return Ok(outcome);
        }
    }
    if batch.hop.first_block as usize == batch.blocks { Ok(outcome) } else { Err(incomplete()) }
}

/// Have one canister compute its blocks for a batch, in as many hops as it takes.
async fn pass(
    member: Principal,
    batch: &mut Batch,
    activations: Vec<f32>,
    turn: &mut Turn,
) -> Result<Outcome, Error> {
    let (mut rest, mut results) = (activations, Vec::new());
    let mut hop = batch.hop.clone();
    if rest.len() != batch.count * batch.hidden {
        return Err(misplaced(member));
    }
    loop {
        hop.activations = rest;
        hop.sequence = batch.hop.sequence;
        batch.hop.sequence += 1;
        let reply = call(member, &hop, turn).await?;
        let left = hop.activations.len() / batch.hidden;
        let computed = (reply.positions as usize).min(left);
        let (outcome, is_done) = (reply.outcome, computed == left);
        match outcome {
            Outcome::Activations(some) if computed > 0 => results.extend(some),
            Outcome::Token(..) if is_done => {
                batch.hop.first_block = reply.end_block;
                return Ok(outcome);
            }
            Outcome::Gap { held } if held < u64::from(hop.position) => return Ok(outcome),
            Outcome::Stale { sequence } => {
                batch.hop.sequence = sequence.saturating_add(1);
                rest = hop.activations;
                continue;
            }
            Outcome::Refused(why) => return Err(member_error(member, &why)),
            _ => return Err(member_error(member, "gave no sensible reply")),
        }
        if is_done {
            batch.hop.first_block = reply.end_block;
            return Ok(Outcome::Activations(results));
        }
        rest = hop.activations.split_off(computed * batch.hidden);
        hop.position += computed as u32;
    }
}

/// Make one hop: again, unchanged, while its outcome is unknown.
async fn call(member: Principal, hop: &Hop, turn: &mut Turn) -> Result<Reply, Error> {
    let argument = hop.encode();
    let mut reason = String::new();
    for _ in 0..TRIES {
        turn.hops.count += 1;
        turn.hops.bytes += argument.len() as u64;
        let call = Call::bounded_wait(member, hop::METHOD)
            .with_raw_args(&argument)
            .with_cycles(CALL_CYCLES)
            .change_timeout(TIMEOUT_S);
        match call.await {
            Ok(response) => {
                let bytes = response.into_bytes();
                turn.hops.bytes += bytes.len() as u64;
                let reply = Reply::decode(&bytes);
                let reply = reply.ok_or_else(|| member_error(member, "gave no sensible reply"))?;
                turn.elsewhere = turn.elsewhere.saturating_add(reply.instructions);
                return Ok(reply);
            }
            Err(CallFailed::CallRejected(rejected)) => {
                reason = rejected.reject_message().into();
                match rejected.reject_code() {
                    Ok(RejectCode::SysTransient | RejectCode::SysUnknown) => {}
                    _ => break,
                }
            }
            Err(CallFailed::InsufficientLiquidCycleBalance(_)) => {
                let needed = call_cost(hop::METHOD.len(), argument.len());
                let balance = ic_cdk::api::canister_liquid_cycle_balance();
                let balance = turn.is_controller.then(|| balance.into());
                return Err(Error::LowCycles { balance, needed: needed.into() });
            }
            Err(CallFailed::CallPerformFailed(_)) => {
                reason = "too many calls are under way".into();
                break;
            }
        }
    }
    Err(member_error(member, &format!("does not answer: {reason}")))
}

fn call_cost(method: usize, argument: usize) -> u128 {
    CALL_CYCLES + ic_cdk::api::cost_call(method as u64, argument as u64)
}

fn member_error(member: Principal, why: &str) -> Error {
    Error::Conflict(format!("member {member} of the fleet {why}"))
}

fn misplaced(member: Principal) -> Error {
    member_error(member, "is listed behind the last blocks")
}

fn incomplete() -> Error {
    Error::Conflict("the members that are configured do not have all blocks of the model".into())
}

impl Reader {
    /// Tell whether the model that is configured is on several canisters, driven by this one.
    pub fn is_driver(&self) -> bool {
        self.fleet().is_some_and(|fleet| !fleet.blocks.is_empty())
    }

    /// Begin a message that generates in a conversation.
    pub fn turn(
        &mut self,
        context: &Context,
        number: u64,
        max_tokens: u32,
        max_instructions: Option<u64>,
    ) -> Result<Turn, Error> {
        let conversation = self.conversations.begin(context.caller, number)?;
        Ok(Turn {
            owner: context.caller,
            is_controller: context.controller,
            number,
            first: conversation.tokens.len(),
            max_tokens: max_tokens as usize,
            max_instructions: max_instructions.unwrap_or(FLEET_INSTRUCTIONS),
            hops: Hops::default(),
            elsewhere: 0,
            replays: 0,
        })
    }

    /// Compute this canister's share of the next positions; none when the message is done.
    fn batch(&mut self, turn: &Turn) -> Result<Option<Batch>, Error> {
        let mode = self.configuration().map(|configuration| configuration.mode);
        let (Some(mode), Some(fleet)) = (mode, self.fleet().cloned()) else {
            return Err(incomplete());
        };
        let loaded = self.stage.loaded()?;
        let conversation = self.conversations.get(turn.owner, turn.number)?;
        let added = conversation.tokens.len() - turn.first;
        if conversation.finished
            || added >= turn.max_tokens
            || instructions(turn) >= turn.max_instructions
        {
            return Ok(None);
        }
        let (position, activations) = conversation.compute(loaded)?;
        let hidden = loaded.model.config().hidden;
        let count = activations.len() / hidden;
        let hop = Hop {
            mode,
            wants_result: position + count == conversation.tokens.len(),
            first_block: loaded.part.end_block as u32,
            whole: fleet.whole.as_slice().try_into().unwrap_or_default(),
            conversation: turn.number,
            sequence: conversation.sequence,
            base: conversation.base,
            position: position as u32,
            temperature: conversation.sampler.temperature(),
            sampling: conversation.sampler.state(),
            activations,
        };
        // What follows may be lost with a trap: no number is used for two hops.
        conversation.sequence += SEQUENCES_A_BATCH;
        let blocks = loaded.model.config().blocks;
        Ok(Some(Batch { fleet, hop, count, hidden, blocks }))
    }

    /// Take what came of a batch; tells whether it gave a token.
    fn take(&mut self, turn: &Turn, batch: &Batch, outcome: Outcome) -> Result<bool, Error> {
        let loaded = self.stage.loaded()?;
        let conversation = self.conversations.get(turn.owner, turn.number)?;
        conversation.sequence = conversation.sequence.max(batch.hop.sequence);
        let end = batch.hop.position as usize + batch.count;
        let computed = match &outcome {
            Outcome::Gap { held } => *held as usize,
            _ => end,
        };
        // Others may have had the cache dropped meanwhile.
        conversation.computed = computed.min(conversation.cache.length());
        let token = match outcome {
            Outcome::Gap { .. } => return Ok(false),
            _ if !batch.hop.wants_result => return Ok(false),
            Outcome::Token(token, state) => {
                conversation.sampler.set_state(state);
                token
            }
            Outcome::Activations(last) => {
                let logits = loaded.model.logits(&last).ok_or_else(incomplete)?;
                conversation.sampler.next(&logits)
            }
            _ => return Err(incomplete()),
        };
        conversation.add(&loaded.model, token);
        self.conversations.fit(turn.number);
        Ok(true)
    }

    /// Tell what a message has generated.
    fn said(&mut self, turn: &Turn) -> Said {
        let loaded = self.stage.loaded()?;
        let conversation = self.conversations.get(turn.owner, turn.number)?;
        Ok(Generated {
            conversation: turn.number,
            text: conversation.new_text(loaded)?,
            tokens: conversation.tokens[turn.first..].to_vec(),
            prompt_tokens: conversation.prompt_tokens() as u32,
            positions: conversation.computed as u32,
            finished: conversation.finished,
            instructions: instructions(turn),
            hops: Some(turn.hops),
        })
    }

    /// Compute a hop of a driver.
    pub fn hop(&mut self, caller: Principal, argument: &[u8], used: impl Fn() -> u64) -> Vec<u8> {
        let refused = |why: &str| {
            let outcome = Outcome::Refused(why.into());
            Reply { positions: 0, end_block: 0, instructions: used(), outcome }.encode()
        };
        let Some(mut hop) = Hop::decode(argument) else {
            return refused("does not know this kind of hop: upgrade all members to one release");
        };
        let Some(configuration) = self.configuration() else { return refused(NOT_LOADED) };
        let whole = configuration.fleet.as_ref().map(|fleet| fleet.whole.as_slice());
        if configuration.mode != hop.mode || whole != Some(&hop.whole) {
            return refused("is configured with another version or mode of the model");
        }
        let Ok(loaded) = self.stage.loaded() else { return refused(NOT_LOADED) };
        let hidden = loaded.model.config().hidden;
        if loaded.part.first_block != hop.first_block as usize {
            return refused("has other blocks than the driver expects");
        }
        if hop.activations.is_empty() || !hop.activations.len().is_multiple_of(hidden) {
            return refused("got activations of another size");
        }
        self.guests.answer((caller, hop.conversation), &mut hop, loaded, &used)
    }

    /// Tell whether a canister may have hops computed.
    pub fn admits_driver(&self, caller: Principal) -> bool {
        self.fleet().is_some_and(|fleet| fleet.drivers.contains(&caller))
    }

    fn fleet(&self) -> Option<&Fleet> {
        self.configuration().and_then(|configuration| configuration.fleet.as_ref())
    }
}

const NOT_LOADED: &str = "has not loaded its part: run `datanode load` on the fleet";

/// More hops than a batch makes, unless canisters answer in pieces.
const SEQUENCES_A_BATCH: u64 = 1 << 16;

/// Instructions of a message so far, here and elsewhere.
fn instructions(turn: &Turn) -> u64 {
    ic_cdk::api::performance_counter(1).saturating_add(turn.elsewhere)
}

impl Conversation {
    /// Compute this canister's blocks for the next positions that other canisters lack; returns the
    /// first one and the activations.
    fn compute(&mut self, loaded: &Loaded) -> Result<(usize, Vec<f32>), Error> {
        let (model, hidden): (&Model, usize) = (&loaded.model, loaded.model.config().hidden);
        self.cache.truncate(self.computed);
        let position = self.cache.length();
        let most = loaded.batch.min(MAX_ACTIVATION_BYTES / (4 * hidden)).max(1);
        let batch = &self.tokens[position..self.tokens.len().min(position + most)];
        let mut activations = embed(model, batch)?;
        let too_long = |error: PositionError| Error::BadRequest(error.to_string());
        model.blocks(&mut self.cache, position, &mut activations).map_err(too_long)?;
        if activations.is_empty() { Err(whole_only()) } else { Ok((position, activations)) }
    }
}
