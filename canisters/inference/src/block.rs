//! Blocks for the drivers of models over several canisters: hops are answered from what is kept.
//!
//! The activations of a position follow from the text before it alone, so every hop of a conversation
//! is right whenever it comes: one that is repeated gets the kept reply, a late one is told so. The
//! conversations of a hop share nothing but the message, and with it the touched weights.

use std::collections::BTreeMap;

use candid::Principal;
use datanode_llama::{Cache, PositionError, Sampler};

use crate::conversations::MAX_CONVERSATIONS;
use crate::hop::{Answer, Guest, Leg, Outcome, Reply};
use crate::load::Loaded;

/// Instructions after which a hop ends with the positions that it has computed.
const HOP_INSTRUCTIONS: u64 = 28_000_000_000;

/// Instructions of a message, and those that it had used before a leg.
struct Meter<'a> {
    used: &'a dyn Fn() -> u64,
    before: u64,
}

impl Meter<'_> {
    fn is_used_up(&self) -> bool {
        (self.used)() > HOP_INSTRUCTIONS
    }

    fn answer(&self, positions: usize, outcome: Outcome) -> Vec<u8> {
        let instructions = (self.used)() - self.before;
        Answer { positions: positions as u32, instructions, outcome }.encode()
    }
}

/// A conversation of a driver.
struct Entry {
    cache: Cache,
    /// Number of the last hop, and the answer to it.
    sequence: u64,
    answer: Vec<u8>,
    used: u64,
}

impl Entry {
    fn bytes(&self) -> usize {
        self.cache.bytes() + self.answer.len()
    }
}

/// Conversations of drivers, within the bounds of conversations of users.
#[derive(Default)]
pub struct Guests {
    entries: BTreeMap<Guest, Entry>,
    clock: u64,
}

impl Guests {
    /// Answer a hop of some conversations of a caller.
    pub fn answer(
        &mut self,
        caller: Principal,
        legs: &mut [Leg],
        loaded: &Loaded,
        used: impl Fn() -> u64,
    ) -> Vec<u8> {
        let mut answers: Vec<Vec<u8>> = Vec::with_capacity(legs.len());
        let mut before = 0;
        for leg in legs {
            let meter = Meter { used: &used, before };
            // What the instructions do not pay for is left to the next hop.
            answers.push(if !answers.is_empty() && meter.is_used_up() {
                meter.answer(0, Outcome::Activations(Vec::new()))
            } else {
                self.answer_leg((caller, leg.conversation), leg, loaded, &meter)
            });
            before = used();
        }
        Reply::of(loaded.part.end_block as u32, &answers)
    }

    fn answer_leg(
        &mut self,
        guest: Guest,
        leg: &mut Leg,
        loaded: &Loaded,
        meter: &Meter<'_>,
    ) -> Vec<u8> {
        self.clock += 1;
        let clock = self.clock;
        if let Some(entry) = self.entries.get_mut(&guest) {
            entry.used = clock;
            if entry.sequence == leg.sequence {
                return entry.answer.clone();
            }
            if entry.sequence > leg.sequence {
                return meter.answer(0, Outcome::Stale { sequence: entry.sequence });
            }
        }
        let mut cache = match self.cache(guest, leg, loaded) {
            Ok(cache) => cache,
            Err(held) => return meter.answer(0, Outcome::Gap { held: held as u64 }),
        };
        let sequence = leg.sequence;
        let (positions, outcome) = match compute(loaded, &mut cache, leg, meter) {
            Ok(done) => done,
            Err(error) => return meter.answer(0, Outcome::Refused(error.to_string())),
        };
        let answer = meter.answer(positions, outcome);
        let entry = Entry { cache, sequence, answer: answer.clone(), used: clock };
        self.entries.insert(guest, entry);
        self.fit(guest, loaded.cache_bytes);
        answer
    }

    /// Take the cache of the positions before a hop, that of the conversation that it is based on for
    /// a new one; or tell how many of them are held.
    fn cache(&mut self, guest: Guest, leg: &Leg, loaded: &Loaded) -> Result<Cache, usize> {
        let position = leg.position as usize;
        if let Some(entry) = self.entries.get_mut(&guest) {
            if entry.cache.length() < position {
                return Err(entry.cache.length());
            }
            return Ok(std::mem::replace(&mut entry.cache, loaded.model.cache()));
        }
        let base = self.entries.get(&(guest.0, leg.base));
        match base.map_or(0, |base| base.cache.length()) {
            held if held < position => Err(held),
            _ => Ok(base.map_or_else(|| loaded.model.cache(), |base| base.cache.prefix(position))),
        }
    }

    /// Drop conversations until all fit, that of `kept` last.
    fn fit(&mut self, kept: Guest, most_bytes: usize) {
        while self.entries.len() > MAX_CONVERSATIONS || self.cache_bytes() > most_bytes {
            let others = self.entries.iter().filter(|(guest, _)| **guest != kept);
            let Some((&oldest, _)) = others.min_by_key(|(_, entry)| entry.used) else { return };
            self.entries.remove(&oldest);
        }
    }

    /// Return how many are held.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Return the bytes of all caches and replies.
    pub fn cache_bytes(&self) -> usize {
        self.entries.values().map(Entry::bytes).sum()
    }
}

/// Compute positions of a leg, all or those that the instructions pay for, and what they give.
fn compute(
    loaded: &Loaded,
    cache: &mut Cache,
    leg: &mut Leg,
    meter: &Meter<'_>,
) -> Result<(usize, Outcome), PositionError> {
    let (model, hidden) = (&loaded.model, loaded.model.config().hidden);
    let is_last = loaded.part.end_block == model.config().blocks;
    let (mut position, mut done) = (leg.position as usize, 0);
    let count = leg.positions;
    // The last canister gives nothing but the result of the last position.
    let plain = if is_last && leg.wants_result { count - 1 } else { count };
    for batch in leg.activations[..plain * hidden].chunks_mut(loaded.step * hidden) {
        if done > 0 && meter.is_used_up() {
            break;
        }
        if is_last {
            model.fill(cache, position, batch)?;
        } else {
            model.blocks(cache, position, batch)?;
        }
        let computed = batch.len() / hidden;
        (position, done) = (position + computed, done + computed);
    }
    if !is_last {
        leg.activations.truncate(done * hidden);
        return Ok((done, Outcome::Activations(std::mem::take(&mut leg.activations))));
    }
    if done < plain || plain == count {
        return Ok((done, Outcome::Activations(Vec::new())));
    }
    let last = &mut leg.activations[plain * hidden..];
    model.blocks(cache, position, last)?;
    let outcome = match model.logits(last) {
        Some(logits) => {
            let mut sampler = Sampler::new(leg.temperature, leg.sampling);
            Outcome::Token(sampler.next(&logits), sampler.state())
        }
        None => Outcome::Activations(last.to_vec()),
    };
    Ok((count, outcome))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiny::{self, HIDDEN};
    use datanode_llama::Part;

    const CALLER: Principal = Principal::management_canister();

    fn loaded(first_block: usize, end_block: usize, head: bool) -> Loaded {
        tiny::loaded(Part { first_block, end_block, embed: false, head })
    }

    fn inputs(position: usize) -> Vec<f32> {
        (0..HIDDEN).map(|at| ((position * 5 + at) % 7) as f32 / 4.0 - 0.7).collect()
    }

    fn leg(conversation: u64, sequence: u64, positions: std::ops::Range<usize>) -> Leg {
        Leg {
            conversation,
            sequence,
            base: 0,
            position: positions.start as u32,
            temperature: 0.0,
            sampling: 0,
            wants_result: true,
            positions: positions.len(),
            activations: positions.flat_map(inputs).collect(),
        }
    }

    fn hop(guests: &mut Guests, loaded: &Loaded, mut legs: Vec<Leg>, used: u64) -> Vec<Answer> {
        match Reply::decode(&guests.answer(CALLER, &mut legs, loaded, || used)) {
            Some(Reply::Outcomes { end_block, answers }) => {
                assert_eq!(
                    (end_block as usize, answers.len()),
                    (loaded.part.end_block, legs.len())
                );
                answers
            }
            other => panic!("{other:?}"),
        }
    }

    fn answer(guests: &mut Guests, loaded: &Loaded, leg: Leg) -> Answer {
        hop(guests, loaded, vec![leg], 0).remove(0)
    }

    #[test]
    fn hops_in_any_pieces_give_what_one_hop_gives() {
        for (end_block, head) in [(2, false), (3, false), (3, true)] {
            let loaded = loaded(1, end_block, head);
            let mut guests = Guests::default();
            let whole = answer(&mut guests, &loaded, leg(1, 1, 0..7));
            assert_eq!(whole.positions, 7);
            answer(&mut guests, &loaded, leg(2, 1, 0..3));
            answer(&mut guests, &loaded, leg(2, 2, 3..6));
            let last = answer(&mut guests, &loaded, leg(2, 3, 6..7));
            match (whole.outcome, last.outcome) {
                (Outcome::Activations(all), Outcome::Activations(one)) => {
                    assert!(!head && one.len() == HIDDEN);
                    assert_eq!(all[all.len() - HIDDEN..], one);
                    assert_eq!(all.len(), if end_block == 3 { HIDDEN } else { 7 * HIDDEN });
                }
                (whole, last) => assert!(head && whole == last, "{whole:?} {last:?}"),
            }
        }
    }

    #[test]
    fn a_doubled_hop_gets_the_kept_reply_and_a_late_one_changes_nothing() {
        let loaded = loaded(1, 3, true);
        let mut guests = Guests::default();
        let first = answer(&mut guests, &loaded, leg(1, 1, 0..4));
        let second = answer(&mut guests, &loaded, leg(1, 2, 4..5));
        assert_eq!(answer(&mut guests, &loaded, leg(1, 2, 4..5)), second);
        let late = answer(&mut guests, &loaded, leg(1, 1, 0..4));
        assert_eq!(late.outcome, Outcome::Stale { sequence: 2 });
        let third = answer(&mut guests, &loaded, leg(1, 3, 5..6));
        assert_eq!(third.positions, 1);
        // Asked again from the start, with a new number: computed again, to the same.
        let again = answer(&mut guests, &loaded, leg(1, 4, 0..4));
        assert_eq!(again, first);
    }

    #[test]
    fn missing_positions_are_told_and_a_conversation_begins_as_another() {
        let loaded = loaded(1, 3, true);
        let mut guests = Guests::default();
        answer(&mut guests, &loaded, leg(1, 1, 0..4));
        let gap = answer(&mut guests, &loaded, leg(1, 2, 5..6));
        assert_eq!((gap.positions, gap.outcome), (0, Outcome::Gap { held: 4 }));
        let whole = answer(&mut guests, &loaded, leg(2, 1, 0..4));
        let based = Leg { base: 1, ..leg(3, 1, 3..4) };
        assert_eq!(answer(&mut guests, &loaded, based).outcome, whole.outcome);
        let unknown = Leg { base: 9, ..leg(4, 1, 3..4) };
        assert_eq!(answer(&mut guests, &loaded, unknown).outcome, Outcome::Gap { held: 0 });
        assert_eq!(guests.len(), 3);
    }

    #[test]
    fn the_least_recently_used_conversation_gives_way() {
        let loaded = loaded(1, 3, true);
        let mut guests = Guests::default();
        for conversation in 1..=MAX_CONVERSATIONS as u64 {
            answer(&mut guests, &loaded, leg(conversation, 1, 0..1));
        }
        answer(&mut guests, &loaded, leg(1, 2, 1..2));
        answer(&mut guests, &loaded, leg(1_000, 1, 0..1));
        assert_eq!(guests.len(), MAX_CONVERSATIONS);
        let evicted = answer(&mut guests, &loaded, leg(2, 2, 1..2));
        assert_eq!(evicted.outcome, Outcome::Gap { held: 0 });
        assert_eq!(answer(&mut guests, &loaded, leg(1, 3, 2..3)).positions, 1);
    }

    #[test]
    fn a_hop_ends_when_its_instructions_are_used() {
        let loaded = loaded(1, 2, false);
        let mut guests = Guests::default();
        let legs = vec![leg(1, 1, 0..7), leg(2, 1, 0..1)];
        let [first, second] = &hop(&mut guests, &loaded, legs, HOP_INSTRUCTIONS + 1)[..] else {
            panic!()
        };
        assert_eq!(first.positions, 2);
        assert!(matches!(&first.outcome, Outcome::Activations(some) if some.len() == 2 * HIDDEN));
        assert_eq!((second.positions, &second.outcome), (0, &Outcome::Activations(Vec::new())));
        // What was left out is not kept: the same hop again computes it.
        let alone = answer(&mut Guests::default(), &loaded, leg(2, 1, 0..1));
        assert_eq!(answer(&mut guests, &loaded, leg(2, 1, 0..1)), alone);
    }

    #[test]
    fn conversations_of_one_hop_get_what_each_gets_alone() {
        for (end_block, head) in [(2, false), (3, false), (3, true)] {
            let loaded = loaded(1, end_block, head);
            let mut together = Guests::default();
            answer(&mut together, &loaded, leg(2, 1, 0..3));
            answer(&mut together, &loaded, leg(4, 7, 0..1));
            let legs = || vec![leg(1, 1, 0..5), leg(2, 2, 3..4), leg(3, 1, 2..3), leg(4, 6, 1..2)];
            let answers = hop(&mut together, &loaded, legs(), 0);
            let mut alone = Guests::default();
            answer(&mut alone, &loaded, leg(2, 1, 0..3));
            answer(&mut alone, &loaded, leg(4, 7, 0..1));
            let each: Vec<_> =
                legs().into_iter().map(|leg| answer(&mut alone, &loaded, leg)).collect();
            assert_eq!(answers, each);
            assert_eq!(answers[2].outcome, Outcome::Gap { held: 0 });
            assert_eq!(answers[3].outcome, Outcome::Stale { sequence: 7 });
            // Doubled: what was computed is answered from what is kept.
            assert_eq!(hop(&mut together, &loaded, legs(), 0), answers);
        }
    }

    #[test]
    fn instructions_of_a_hop_are_divided_among_its_conversations() {
        let (loaded, clock) = (loaded(1, 2, false), std::cell::Cell::new(0));
        let mut legs = vec![leg(1, 1, 0..1), leg(2, 1, 0..4), leg(3, 1, 1..2)];
        let used = || {
            clock.set(clock.get() + 1);
            clock.get()
        };
        let bytes = Guests::default().answer(CALLER, &mut legs, &loaded, used);
        let Some(Reply::Outcomes { answers, .. }) = Reply::decode(&bytes) else { panic!() };
        let told: u64 = answers.iter().map(|answer| answer.instructions).sum();
        assert!(answers.iter().all(|answer| answer.instructions > 0) && told <= clock.get());
    }
}
