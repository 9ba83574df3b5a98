//! Messages that generate in one or several conversations: on this canister alone, or as the driver
//! of a fleet, one batch of positions after the other.

use datanode_llama::PositionError;
use datanode_store::{Context, Error};

use crate::api::{Continue, Fleet, Generated, Hops, Wanted};
use crate::batch::{Batch, Passenger};
use crate::conversation::{Conversation, STEP, embed, whole_only};
use crate::driver::{incomplete, member_error};
use crate::group::{Group, MAX_TOGETHER, Turn};
use crate::hop::{Head, Leg, MAX_ACTIVATION_BYTES, MAX_LEGS, Outcome};
use crate::load::Loaded;
use crate::reader::Reader;

/// Instructions after which an update generates no further token; a message has 40e9.
const UPDATE_INSTRUCTIONS: u64 = 30_000_000_000;

/// The same for a message of a driver: those of all canisters and of all its calls.
const FLEET_INSTRUCTIONS: u64 = 1_000_000_000_000;

/// More hops than a batch makes, unless canisters answer in pieces.
const SEQUENCES_A_BATCH: u64 = 1 << 16;

impl Reader {
    /// Begin or continue conversations, and generate if that takes no other canister. An error of one
    /// of them leaves the others as they are.
    pub fn generate(
        &mut self,
        context: &Context,
        wanted: Vec<Wanted>,
        used: impl Fn() -> u64,
    ) -> Result<Group, Error> {
        self.require_runner(context)?;
        if wanted.is_empty() || wanted.len() > MAX_TOGETHER {
            let text = format!("a message continues 1 to {MAX_TOGETHER} conversations");
            return Err(Error::BadRequest(text));
        }
        self.stage.loaded()?;
        let mut group = Group::new(context, self.is_driver().then(Hops::default));
        for each in wanted {
            let turn = self.turn(context, each);
            group.add(turn);
        }
        self.find_beginnings(&mut group);
        // A message may end before all had a turn: those that wait longest come first.
        group.order(|turn| self.conversations.peek(turn.number).map_or(0, |each| each.served));
        if group.hops.is_none() {
            let numbers = group.numbers();
            self.generate_here(&mut group, &used);
            for number in numbers {
                self.conversations.release(number);
            }
            self.say(&mut group, used());
        }
        Ok(group)
    }

    fn turn(&mut self, context: &Context, wanted: Wanted) -> Result<Turn, Error> {
        let Continue { conversation: number, max_tokens, max_instructions } = match wanted {
            Wanted::Start(prompt) => {
                let begun = self.converse(context, &prompt)?;
                let (caller, now_ns) = (context.caller, context.now_ns);
                let conversation = self.conversations.insert(caller, now_ns, begun);
                // It may begin with a copy of another one's cache.
                self.conversations.fit(conversation, self.stage.loaded()?.cache_bytes);
                let (max_tokens, max_instructions) = (prompt.max_tokens, prompt.max_instructions);
                Continue { conversation, max_tokens, max_instructions }
            }
            Wanted::Continue(wanted) => wanted,
        };
        let most = if self.is_driver() {
            max_instructions.unwrap_or(FLEET_INSTRUCTIONS)
        } else {
            max_instructions.unwrap_or(UPDATE_INSTRUCTIONS).min(UPDATE_INSTRUCTIONS)
        };
        let conversation = self.conversations.begin(context.caller, number)?;
        Ok(Turn::new(number, conversation, max_tokens, most))
    }

    /// Generate without other canisters, a step of each conversation in turn.
    fn generate_here(&mut self, group: &mut Group, used: &dyn Fn() -> u64) {
        while let Some(index) = group.next() {
            if self.waits(group, index) {
                group.requeue(index);
                continue;
            }
            let advanced = match self.next_turn(group, index, STEP, used()) {
                Ok(Some((_, conversation, loaded))) => conversation.advance(&loaded.model),
                Ok(None) => continue,
                Err(error) => Err(error),
            };
            match advanced {
                Ok(()) => {
                    self.fit(group, index);
                    group.requeue(index);
                }
                Err(error) => group.fail(index, error),
            }
        }
    }

    /// Return the conversation of a turn for further positions; none if the turn has ended, or the
    /// cache has no room beside those of the others.
    fn next_turn(
        &mut self,
        group: &mut Group,
        index: usize,
        positions: usize,
        instructions: u64,
    ) -> Result<Option<(u64, &mut Conversation, &Loaded)>, Error> {
        self.copy_beginning(group, index);
        let loaded = self.stage.loaded()?;
        let Ok(turn) = &group.turns[index] else { return Ok(None) };
        let number = turn.number;
        let others = group.active_beside(index);
        let others: usize = others.map(|each| self.conversations.cache_bytes_of(each)).sum();
        let served = self.conversations.tick();
        let conversation = self.conversations.get(group.owner, number)?;
        if turn.is_done(conversation, instructions) {
            group.end(index);
            return Ok(None);
        }
        let needed = conversation.cache.bytes_for(conversation.cache.length() + positions);
        if others > 0 && others + needed > loaded.cache_bytes {
            conversation.evict();
            group.park(index);
            return Ok(None);
        }
        conversation.served = served;
        Ok(Some((number, conversation, loaded)))
    }

    /// Drop caches of other conversations until that of a turn fits.
    fn fit(&mut self, group: &Group, index: usize) {
        if let (Ok(turn), Ok(loaded)) = (&group.turns[index], self.stage.loaded()) {
            self.conversations.fit(turn.number, loaded.cache_bytes);
        }
    }

    /// Compute this canister's share of the next positions; none when all turns have ended. `used`
    /// are this canister's instructions so far.
    pub fn batch(&mut self, group: &mut Group, used: u64) -> Option<(Fleet, Batch)> {
        while group.waiting() > 0 {
            match self.empty_batch() {
                Ok((fleet, mut batch, left)) => {
                    self.board(group, &mut batch, left, used);
                    if !batch.passengers.is_empty() {
                        return Some((fleet, batch));
                    }
                }
                Err(error) => {
                    while let Some(index) = group.next() {
                        group.fail(index, error.clone());
                    }
                }
            }
        }
        None
    }

    /// Let the turns of the queue travel with a batch, at most `left` positions together.
    fn board(&mut self, group: &mut Group, batch: &mut Batch, mut left: usize, used: u64) {
        let instructions = used.saturating_add(group.elsewhere);
        let queue: Vec<_> = std::iter::from_fn(|| group.next()).collect();
        let (mut unserved, ready): (Vec<_>, Vec<_>) =
            queue.into_iter().partition(|index| self.waits(group, *index));
        ready.into_iter().for_each(|index| group.requeue(index));
        while let Some(index) = group.next() {
            if left == 0 || batch.passengers.len() == MAX_LEGS {
                unserved.push(index);
                continue;
            }
            let most = (left / (group.waiting() + 1)).max(1);
            let passenger = match self.next_turn(group, index, most, instructions) {
                Ok(Some((number, conversation, loaded))) => {
                    conversation.passenger(loaded, (index, number), most)
                }
                Ok(None) => continue,
                Err(error) => Err(error),
            };
            match passenger {
                Ok(passenger) => {
                    self.fit(group, index);
                    left -= passenger.positions();
                    batch.passengers.push(passenger);
                }
                Err(error) => group.fail(index, error),
            }
        }
        unserved.into_iter().for_each(|index| group.requeue(index));
    }

    /// Return a batch without conversations, and the most positions that it takes.
    fn empty_batch(&self) -> Result<(Fleet, Batch, usize), Error> {
        let (Some(configuration), Some(fleet)) = (self.configuration(), self.fleet()) else {
            return Err(incomplete());
        };
        let loaded = self.stage.loaded()?;
        let (hidden, blocks) = (loaded.model.config().hidden, loaded.model.config().blocks);
        let head = Head {
            mode: configuration.mode,
            first_block: loaded.part.end_block as u32,
            whole: fleet.whole.as_slice().try_into().unwrap_or_default(),
        };
        let most = loaded.batch.min(MAX_ACTIVATION_BYTES / (4 * hidden)).max(1);
        Ok((fleet.clone(), Batch { head, hidden, blocks, passengers: Vec::new() }, most))
    }

    /// Take what came of a batch.
    pub fn take(&mut self, group: &mut Group, batch: Batch, sent: Result<(), Error>) {
        // A canister that lacks all of them was loaded anew; one that lacks some has no room for them.
        let is_full = batch.passengers.iter().any(|passenger| !passenger.has_gap());
        for passenger in batch.passengers {
            let (index, is_new) = (passenger.turn, passenger.is_new);
            let member = passenger.member();
            let taken = match &sent {
                Err(error) if passenger.is_aboard() => Err(error.clone()),
                _ => self.take_one(group, passenger),
            };
            match (taken, member) {
                (Ok(Taken::Gap), Some(member)) => group.lacking(index, is_full && !is_new, member),
                (Ok(taken), _) => group.advanced(index, matches!(taken, Taken::Token)),
                (Err(error), _) => group.fail(index, error),
            }
        }
    }

    fn take_one(&mut self, group: &Group, passenger: Passenger) -> Result<Taken, Error> {
        let loaded = self.stage.loaded()?;
        let turn = group.turns[passenger.turn].as_ref().map_err(Error::clone)?;
        let conversation = self.conversations.get(group.owner, turn.number)?;
        conversation.sequence = conversation.sequence.max(passenger.sequence);
        let (end, wants_result) = (passenger.end(), passenger.wants_result());
        let (outcome, member) = passenger.outcome();
        let computed = if let Outcome::Gap { held } = outcome { held as usize } else { end };
        // Others may have had the cache dropped meanwhile.
        conversation.computed = computed.min(conversation.cache.length());
        let token = match (outcome, member) {
            (Outcome::Gap { .. }, _) => return Ok(Taken::Gap),
            (Outcome::Refused(why), Some(member)) => return Err(member_error(member, &why)),
            _ if !wants_result => return Ok(Taken::Positions),
            (Outcome::Token(token, state), _) => {
                conversation.sampler.set_state(state);
                token
            }
            (Outcome::Activations(last), _) => {
                let logits = loaded.model.logits(&last).ok_or_else(incomplete)?;
                conversation.sampler.next(&logits)
            }
            _ => return Err(incomplete()),
        };
        conversation.add(&loaded.model, token);
        Ok(Taken::Token)
    }

    /// Tell what a message has generated.
    pub fn say(&mut self, group: &mut Group, used: u64) {
        group.instructions = used.saturating_add(group.elsewhere);
        let turns = std::mem::take(&mut group.turns);
        let said = turns.into_iter().map(|turn| self.say_one(group, &turn?));
        group.said = said.collect();
    }

    fn say_one(&mut self, group: &Group, turn: &Turn) -> Result<Generated, Error> {
        let loaded = self.stage.loaded()?;
        let conversation = self.conversations.get(group.owner, turn.number)?;
        let positions = match group.hops {
            Some(_) => conversation.computed,
            None => conversation.positions(),
        };
        Ok(Generated {
            conversation: turn.number,
            text: conversation.new_text(loaded)?,
            tokens: conversation.tokens[turn.first..].to_vec(),
            prompt_tokens: conversation.prompt_tokens() as u32,
            positions: positions as u32,
            finished: conversation.is_finished(),
            instructions: 0,
            hops: None,
        })
    }
}

/// What a conversation got from a batch.
enum Taken {
    Token,
    /// Positions of a text whose next token is known.
    Positions,
    /// A canister lacks positions.
    Gap,
}

impl Conversation {
    /// Compute this canister's blocks for the next positions that other canisters lack, at most
    /// `most`.
    fn passenger(
        &mut self,
        loaded: &Loaded,
        (turn, number): (usize, u64),
        most: usize,
    ) -> Result<Passenger, Error> {
        let model = &loaded.model;
        self.cache.truncate(self.computed);
        let first = self.cache.length();
        let end = self.tokens.len().min(first + most);
        let mut activations = embed(model, &self.tokens[first..end])?;
        let too_long = |error: PositionError| Error::BadRequest(error.to_string());
        model.blocks(&mut self.cache, first, &mut activations).map_err(too_long)?;
        if activations.is_empty() {
            return Err(whole_only());
        }
        let leg = Leg {
            conversation: number,
            sequence: self.sequence,
            base: self.base,
            position: first as u32,
            temperature: self.sampler.temperature(),
            sampling: self.sampler.state(),
            wants_result: end == self.tokens.len(),
            positions: end - first,
            activations,
        };
        let is_new = self.sequence == 1;
        // What follows may be lost with a trap: no number is used for two hops.
        self.sequence += SEQUENCES_A_BATCH;
        Ok(Passenger::new(turn, is_new, leg))
    }
}

#[cfg(test)]
mod tests;
