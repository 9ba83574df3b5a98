//! Prompts of one message that begin alike: the first one computes the beginning, the others wait for
//! it and copy it.
//!
//! A position's result does not depend on how it was reached, so the texts are the same to the bit.
//! A turn waits for an earlier one only, and only while that one is active: the first never waits.

use crate::conversation::Conversation;
use crate::group::{Group, Turn};
use crate::reader::Reader;

/// The beginning of a turn that an earlier turn computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// The earlier turn.
    pub turn: usize,
    /// Positions that both begin with.
    pub positions: usize,
}

impl Reader {
    /// Find for each new conversation the first one before it whose prompt has most in common.
    pub fn find_beginnings(&self, group: &mut Group) {
        for index in 1..group.turns.len() {
            let Some(own) = self.of_turn(group, index).filter(|own| own.is_new()) else { continue };
            let (mut found, mut most) = (None, own.positions());
            for turn in 0..index {
                let positions = self.of_turn(group, turn).map_or(0, |other| own.in_common(other));
                if positions > most {
                    (found, most) = (Some(Beginning { turn, positions }), positions);
                }
            }
            if let Ok(turn) = &mut group.turns[index] {
                turn.beginning = found;
            }
        }
    }

    /// Tell whether a turn has to wait for its beginning.
    pub fn waits(&self, group: &Group, index: usize) -> bool {
        let Some(Ok(turn)) = group.turns.get(index) else { return false };
        let Some(beginning) = turn.beginning else { return false };
        let is_active = group.turns[beginning.turn].as_ref().is_ok_and(Turn::is_active);
        is_active && self.held(group, beginning.turn) < beginning.positions
    }

    /// Copy the beginning of a turn that waits no longer; of an earlier turn that has ended early, what
    /// it has, so that the turn advances in any case.
    pub fn copy_beginning(&mut self, group: &mut Group, index: usize) {
        let Some(Ok(turn)) = group.turns.get_mut(index) else { return };
        let (number, Some(beginning)) = (turn.number, turn.beginning.take()) else { return };
        let positions = self.held(group, beginning.turn).min(beginning.positions);
        let Ok(leader) = &group.turns[beginning.turn] else { return };
        let Some(other) = self.conversations.peek(leader.number) else { return };
        let cache = other.prefix(positions);
        if let Some(own) = self.conversations.peek_mut(number)
            && own.positions() < cache.length()
        {
            own.begin_with(leader.number, cache);
        }
    }

    /// Count the positions of a turn that all canisters have computed.
    fn held(&self, group: &Group, index: usize) -> usize {
        let conversation = self.of_turn(group, index);
        let is_driver = self.is_driver();
        conversation.map_or(0, |each| if is_driver { each.computed } else { each.positions() })
    }

    fn of_turn(&self, group: &Group, index: usize) -> Option<&Conversation> {
        let turn = group.turns[index].as_ref().ok()?;
        self.conversations.peek(turn.number)
    }
}
