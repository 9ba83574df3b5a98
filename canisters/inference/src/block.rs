//! Blocks for the drivers of models over several canisters: hops are answered from what is kept.
//!
//! The activations of a position follow from the text before it alone, so every hop of a conversation
//! is right whenever it comes: one that is repeated gets the kept reply, a late one is told so.

use std::collections::BTreeMap;

use datanode_llama::{Cache, PositionError, Sampler};

use crate::conversations::{MAX_CACHE_BYTES, MAX_CONVERSATIONS};
use crate::hop::{Guest, Hop, Outcome, Reply};
use crate::load::Loaded;

/// Instructions after which a hop ends with the positions that it has computed.
const HOP_INSTRUCTIONS: u64 = 20_000_000_000;

/// A conversation of a driver.
struct Entry {
    cache: Cache,
    /// Number of the last hop, and the reply to it.
    sequence: u64,
    reply: Vec<u8>,
    used: u64,
}

impl Entry {
    fn bytes(&self) -> usize {
        self.cache.bytes() + self.reply.len()
    }
}

/// Conversations of drivers, within the bounds of conversations of users.
#[derive(Default)]
pub struct Guests {
    entries: BTreeMap<Guest, Entry>,
    clock: u64,
}

impl Guests {
    /// Answer a hop of a conversation.
    pub fn answer(
        &mut self,
        guest: Guest,
        hop: &mut Hop,
        loaded: &Loaded,
        used: impl Fn() -> u64,
    ) -> Vec<u8> {
        self.clock += 1;
        let (clock, end_block) = (self.clock, loaded.part.end_block as u32);
        let reply = |positions, outcome| {
            Reply { positions, end_block, instructions: used(), outcome }.encode()
        };
        let held = self.entries.get_mut(&guest);
        if let Some(entry) = held {
            entry.used = clock;
            if entry.sequence == hop.sequence {
                return entry.reply.clone();
            }
            if entry.sequence > hop.sequence {
                return reply(0, Outcome::Stale { sequence: entry.sequence });
            }
        }
        let mut cache = match self.cache(guest, hop, loaded) {
            Ok(cache) => cache,
            Err(held) => return reply(0, Outcome::Gap { held: held as u64 }),
        };
        let (positions, outcome) = match compute(loaded, &mut cache, hop, &used) {
            Ok(done) => done,
            Err(error) => return reply(0, Outcome::Refused(error.to_string())),
        };
        let bytes = reply(positions as u32, outcome);
        let entry = Entry { cache, sequence: hop.sequence, reply: bytes.clone(), used: clock };
        self.entries.insert(guest, entry);
        self.fit(guest);
        bytes
    }

    /// Take the cache of the positions before a hop, that of the conversation that it is based on for
    /// a new one; or tell how many of them are held.
    fn cache(&mut self, guest: Guest, hop: &Hop, loaded: &Loaded) -> Result<Cache, usize> {
        let position = hop.position as usize;
        if let Some(entry) = self.entries.get_mut(&guest) {
            if entry.cache.length() < position {
                return Err(entry.cache.length());
            }
            return Ok(std::mem::replace(&mut entry.cache, loaded.model.cache()));
        }
        let base = self.entries.get(&(guest.0, hop.base));
        match base.map_or(0, |base| base.cache.length()) {
            held if held < position => Err(held),
            _ => Ok(base.map_or_else(|| loaded.model.cache(), |base| base.cache.prefix(position))),
        }
    }

    /// Drop conversations until all fit, that of `kept` last.
    fn fit(&mut self, kept: Guest) {
        while self.entries.len() > MAX_CONVERSATIONS || self.cache_bytes() > MAX_CACHE_BYTES {
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

/// Compute positions of a hop, all or those that its instructions pay for, and what they give.
fn compute(
    loaded: &Loaded,
    cache: &mut Cache,
    hop: &mut Hop,
    used: impl Fn() -> u64,
) -> Result<(usize, Outcome), PositionError> {
    let (model, hidden) = (&loaded.model, loaded.model.config().hidden);
    let is_last = loaded.part.end_block == model.config().blocks;
    let (mut position, mut done) = (hop.position as usize, 0);
    let count = hop.activations.len() / hidden;
    // The last canister gives nothing but the result of the last position.
    let plain = if is_last && hop.wants_result { count - 1 } else { count };
    for batch in hop.activations[..plain * hidden].chunks_mut(loaded.batch * hidden) {
        if done > 0 && used() > HOP_INSTRUCTIONS {
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
        hop.activations.truncate(done * hidden);
        return Ok((done, Outcome::Activations(std::mem::take(&mut hop.activations))));
    }
    if done < plain || plain == count {
        return Ok((done, Outcome::Activations(Vec::new())));
    }
    let last = &mut hop.activations[plain * hidden..];
    model.blocks(cache, position, last)?;
    let outcome = match model.logits(last) {
        Some(logits) => {
            let mut sampler = Sampler::new(hop.temperature, hop.sampling);
            Outcome::Token(sampler.next(&logits), sampler.state())
        }
        None => Outcome::Activations(last.to_vec()),
    };
    Ok((count, outcome))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candid::Principal;
    use datanode_llama::{Config, Dtype, Kind, Mode, Part, Weights};

    use crate::api;

    const HIDDEN: usize = 8;
    const CALLER: Principal = Principal::management_canister();

    /// A part of a model of three blocks.
    fn loaded(first_block: usize, end_block: usize, head: bool) -> Loaded {
        let json = br#"{"model_type": "llama", "hidden_size": 8, "intermediate_size": 8,
            "num_hidden_layers": 3, "num_attention_heads": 1, "vocab_size": 16}"#;
        let config = Config::from_json(json).unwrap();
        let part = Part { first_block, end_block, embed: false, head };
        let mut weights = Weights::new(&config, part, Mode::Exact);
        for (number, spec) in config.tensors(&part).iter().enumerate() {
            let value = |at: u64| match spec.kind {
                Kind::Vector => 1.0,
                Kind::Matrix => ((at * 7 + number as u64 * 3) % 11) as f32 / 8.0 - 0.6,
            };
            let bytes: Vec<u8> =
                (0..spec.elements()).flat_map(|at| value(at).to_le_bytes()).collect();
            weights.place(&spec.name, 0, &bytes, Dtype::F32).unwrap();
        }
        Loaded { model: weights.finish().unwrap(), part, batch: 2, tokenizer: None }
    }

    fn inputs(position: usize) -> Vec<f32> {
        (0..HIDDEN).map(|at| ((position * 5 + at) % 7) as f32 / 4.0 - 0.7).collect()
    }

    fn hop(conversation: u64, sequence: u64, positions: std::ops::Range<usize>) -> Hop {
        Hop {
            mode: api::Mode::Exact,
            wants_result: true,
            first_block: 1,
            whole: [0; 32],
            conversation,
            sequence,
            base: 0,
            position: positions.start as u32,
            temperature: 0.0,
            sampling: 0,
            activations: positions.flat_map(inputs).collect(),
        }
    }

    fn answer(guests: &mut Guests, loaded: &Loaded, mut hop: Hop) -> Reply {
        let guest = (CALLER, hop.conversation);
        Reply::decode(&guests.answer(guest, &mut hop, loaded, || 0)).unwrap()
    }

    #[test]
    fn hops_in_any_pieces_give_what_one_hop_gives() {
        for (end_block, head) in [(2, false), (3, false), (3, true)] {
            let loaded = loaded(1, end_block, head);
            let mut guests = Guests::default();
            let whole = answer(&mut guests, &loaded, hop(1, 1, 0..7));
            assert_eq!((whole.positions, whole.end_block), (7, end_block as u32));
            answer(&mut guests, &loaded, hop(2, 1, 0..3));
            answer(&mut guests, &loaded, hop(2, 2, 3..6));
            let last = answer(&mut guests, &loaded, hop(2, 3, 6..7));
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
        let first = answer(&mut guests, &loaded, hop(1, 1, 0..4));
        let second = answer(&mut guests, &loaded, hop(1, 2, 4..5));
        assert_eq!(answer(&mut guests, &loaded, hop(1, 2, 4..5)), second);
        let late = answer(&mut guests, &loaded, hop(1, 1, 0..4));
        assert_eq!(late.outcome, Outcome::Stale { sequence: 2 });
        let third = answer(&mut guests, &loaded, hop(1, 3, 5..6));
        assert_eq!(third.positions, 1);
        // Asked again from the start, with a new number: computed again, to the same.
        let again = answer(&mut guests, &loaded, hop(1, 4, 0..4));
        assert_eq!(again, first);
    }

    #[test]
    fn missing_positions_are_told_and_a_conversation_begins_as_another() {
        let loaded = loaded(1, 3, true);
        let mut guests = Guests::default();
        answer(&mut guests, &loaded, hop(1, 1, 0..4));
        let gap = answer(&mut guests, &loaded, hop(1, 2, 5..6));
        assert_eq!((gap.positions, gap.outcome), (0, Outcome::Gap { held: 4 }));
        let whole = answer(&mut guests, &loaded, hop(2, 1, 0..4));
        let based = Hop { base: 1, ..hop(3, 1, 3..4) };
        assert_eq!(answer(&mut guests, &loaded, based).outcome, whole.outcome);
        let unknown = Hop { base: 9, ..hop(4, 1, 3..4) };
        assert_eq!(answer(&mut guests, &loaded, unknown).outcome, Outcome::Gap { held: 0 });
        assert_eq!(guests.len(), 3);
    }

    #[test]
    fn the_least_recently_used_conversation_gives_way() {
        let loaded = loaded(1, 3, true);
        let mut guests = Guests::default();
        for conversation in 1..=MAX_CONVERSATIONS as u64 {
            answer(&mut guests, &loaded, hop(conversation, 1, 0..1));
        }
        answer(&mut guests, &loaded, hop(1, 2, 1..2));
        answer(&mut guests, &loaded, hop(1_000, 1, 0..1));
        assert_eq!(guests.len(), MAX_CONVERSATIONS);
        let evicted = answer(&mut guests, &loaded, hop(2, 2, 1..2));
        assert_eq!(evicted.outcome, Outcome::Gap { held: 0 });
        assert_eq!(answer(&mut guests, &loaded, hop(1, 3, 2..3)).positions, 1);
    }

    #[test]
    fn a_hop_ends_when_its_instructions_are_used() {
        let loaded = loaded(1, 2, false);
        let mut guests = Guests::default();
        let mut sent = hop(1, 1, 0..7);
        let bytes = guests.answer((CALLER, 1), &mut sent, &loaded, || HOP_INSTRUCTIONS + 1);
        let reply = Reply::decode(&bytes).unwrap();
        assert_eq!(reply.positions, 2);
        assert!(matches!(reply.outcome, Outcome::Activations(some) if some.len() == 2 * HIDDEN));
    }
}
