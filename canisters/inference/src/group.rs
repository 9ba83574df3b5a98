//! Conversations that one message continues together, and which of them have their turn.
//!
//! Each conversation has a turn, which ends on its own: with its text, its tokens, its instructions or
//! an error. Turns wait in a queue. One whose cache has no room beside those of the others is parked
//! until another turn ends.

use std::collections::VecDeque;

use candid::Principal;
use datanode_store::{Context, Error};

use crate::alike::Beginning;
use crate::api::{Generated, GeneratedMany, Hops};
use crate::conversation::Conversation;
use crate::driver::member_error;

/// Most conversations of a message.
pub const MAX_TOGETHER: usize = 64;

/// How often canisters may lack positions before a conversation gets a token.
const MAX_REPLAYS: u32 = 8;

/// What a message does for one conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    pub number: u64,
    /// Tokens of the conversation before it.
    pub first: usize,
    /// What an earlier turn computes for it.
    pub beginning: Option<Beginning>,
    max_tokens: usize,
    max_instructions: u64,
    /// How often other canisters have lacked positions since the last token.
    replays: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Active,
    Parked,
    Ended,
}

/// The conversations of a message.
pub struct Group {
    pub owner: Principal,
    pub is_controller: bool,
    /// In the order of the argument.
    pub turns: Vec<Result<Turn, Error>>,
    queue: VecDeque<usize>,
    /// Calls of other canisters; none: the model is on one.
    pub hops: Option<Hops>,
    /// Instructions of other canisters.
    pub elsewhere: u64,
    /// Instructions when the message had ended.
    pub instructions: u64,
    /// What came of each turn.
    pub said: Vec<Result<Generated, Error>>,
}

impl Turn {
    /// Begin a turn of a conversation.
    pub fn new(
        number: u64,
        conversation: &Conversation,
        max_tokens: u32,
        max_instructions: u64,
    ) -> Self {
        let (first, max_tokens) = (conversation.tokens.len(), max_tokens as usize);
        let (beginning, replays, state) = (None, 0, State::Active);
        Self { number, first, beginning, max_tokens, max_instructions, replays, state }
    }

    /// Tell whether the turn is neither parked nor ended.
    pub fn is_active(&self) -> bool {
        self.state == State::Active
    }

    /// Tell whether the turn has given what it can.
    pub fn is_done(&self, conversation: &Conversation, instructions: u64) -> bool {
        conversation.is_finished()
            || conversation.tokens.len() - self.first >= self.max_tokens
            || instructions >= self.max_instructions
    }
}

impl Default for Group {
    fn default() -> Self {
        Self {
            owner: Principal::anonymous(),
            is_controller: false,
            turns: Vec::new(),
            queue: VecDeque::new(),
            hops: None,
            elsewhere: 0,
            instructions: 0,
            said: Vec::new(),
        }
    }
}

impl Group {
    /// Begin a message of a caller, whose turns follow.
    pub fn new(context: &Context, hops: Option<Hops>) -> Self {
        let Context { caller: owner, controller: is_controller, .. } = *context;
        Self { owner, is_controller, hops, ..Self::default() }
    }

    /// Add a turn, or why there is none.
    pub fn add(&mut self, turn: Result<Turn, Error>) {
        if turn.is_ok() {
            self.queue.push_back(self.turns.len());
        }
        self.turns.push(turn);
    }

    /// Return the numbers of the conversations.
    pub fn numbers(&self) -> Vec<u64> {
        self.turns.iter().flatten().map(|turn| turn.number).collect()
    }

    /// Sort the queue, turns of equal keys as they are.
    pub fn order(&mut self, key: impl Fn(&Turn) -> u64) {
        let turns = &self.turns;
        let key = |index: &usize| turns[*index].as_ref().map_or(0, &key);
        self.queue.make_contiguous().sort_by_key(key);
    }

    /// Take the next turn from the queue.
    pub fn next(&mut self) -> Option<usize> {
        self.queue.pop_front()
    }

    /// Count the turns in the queue.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Put a turn back into the queue.
    pub fn requeue(&mut self, index: usize) {
        self.queue.push_back(index);
    }

    /// Return the conversations that have caches beside that of a turn.
    pub fn active_beside(&self, index: usize) -> impl Iterator<Item = u64> {
        let turns = self.turns.iter().enumerate().filter(move |(other, _)| *other != index);
        let active = turns.filter_map(|(_, turn)| turn.as_ref().ok());
        active.filter(|turn| turn.state == State::Active).map(|turn| turn.number)
    }

    /// Let a turn wait until another one has ended.
    pub fn park(&mut self, index: usize) {
        if let Some(Ok(turn)) = self.turns.get_mut(index) {
            turn.state = State::Parked;
        }
    }

    /// End a turn; parked ones get another chance.
    pub fn end(&mut self, index: usize) {
        if let Some(Ok(turn)) = self.turns.get_mut(index) {
            turn.state = State::Ended;
        }
        for (index, turn) in self.turns.iter_mut().enumerate() {
            if let Ok(turn) = turn
                && turn.state == State::Parked
            {
                turn.state = State::Active;
                self.queue.push_back(index);
            }
        }
    }

    /// End a turn with an error.
    pub fn fail(&mut self, index: usize, error: Error) {
        self.end(index);
        self.turns[index] = Err(error);
    }

    /// Put a turn back that got a token, or whose next positions were computed.
    pub fn advanced(&mut self, index: usize, has_token: bool) {
        if has_token && let Some(Ok(turn)) = self.turns.get_mut(index) {
            turn.replays = 0;
        }
        self.requeue(index);
    }

    /// Put a turn back for which a canister lacks positions. It is parked if that canister is full of
    /// the others.
    pub fn lacking(&mut self, index: usize, is_full: bool, member: Principal) {
        let has_others = self.active_beside(index).next().is_some();
        let Some(Ok(turn)) = self.turns.get_mut(index) else { return };
        if is_full && has_others {
            return self.park(index);
        }
        turn.replays += 1;
        if turn.replays <= MAX_REPLAYS {
            return self.requeue(index);
        }
        let text = "drops the conversation again and again: end other conversations first";
        self.fail(index, member_error(member, text));
    }

    /// Return what came of a message of several conversations.
    pub fn many(self) -> GeneratedMany {
        let Self { said: answers, instructions, hops, .. } = self;
        GeneratedMany { answers, instructions, hops }
    }

    /// Return what came of a message of one conversation.
    ///
    /// # Errors
    /// What went wrong with it.
    pub fn one(mut self) -> Result<Generated, Error> {
        let said = self.said.pop().unwrap_or_else(|| Err(Error::BadRequest(String::new())));
        said.map(|said| Generated { instructions: self.instructions, hops: self.hops, ..said })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBER: Principal = Principal::management_canister();

    fn group(turns: u64) -> Group {
        let mut group = Group::default();
        for number in 0..turns {
            group.add(Ok(Turn {
                number,
                first: 0,
                beginning: None,
                max_tokens: 1,
                max_instructions: 1,
                replays: 0,
                state: State::Active,
            }));
        }
        group
    }

    fn drain(group: &mut Group) -> Vec<usize> {
        std::iter::from_fn(|| group.next()).collect()
    }

    #[test]
    fn turns_are_served_in_order_and_errors_have_none() {
        let mut group = group(2);
        group.add(Err(Error::Unauthorized));
        group.add(Ok(group.turns[0].clone().unwrap()));
        assert_eq!(drain(&mut group), [0, 1, 3]);
        group.advanced(1, true);
        group.advanced(0, false);
        assert_eq!(drain(&mut group), [1, 0]);
    }

    #[test]
    fn the_queue_is_sorted_by_a_key() {
        let mut group = group(5);
        group.order(|turn| [7, 0, 3, 0, 1][turn.number as usize]);
        assert_eq!(drain(&mut group), [1, 3, 4, 2, 0]);
    }

    #[test]
    fn a_parked_turn_waits_until_another_ends() {
        let mut group = group(3);
        drain(&mut group);
        group.park(1);
        assert_eq!(group.active_beside(0).collect::<Vec<_>>(), [2]);
        group.advanced(0, true);
        assert_eq!(drain(&mut group), [0]);
        group.fail(0, Error::Unauthorized);
        assert_eq!(drain(&mut group), [1]);
        assert_eq!(group.active_beside(0).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(group.turns[0], Err(Error::Unauthorized));
    }

    #[test]
    fn a_turn_that_lacks_positions_is_parked_for_others_and_fails_after_many_replays() {
        let mut group = group(2);
        drain(&mut group);
        group.lacking(0, true, MEMBER);
        assert!(drain(&mut group).is_empty());
        // The last one that is active is never parked.
        group.lacking(1, true, MEMBER);
        assert_eq!(drain(&mut group), [1]);
        group.end(1);
        assert_eq!(drain(&mut group), [0]);
        for _ in 0..MAX_REPLAYS {
            group.lacking(0, false, MEMBER);
            assert_eq!(drain(&mut group), [0]);
        }
        group.lacking(0, false, MEMBER);
        assert!(matches!(&group.turns[0], Err(Error::Conflict(text)) if text.contains("again")));
    }
}
