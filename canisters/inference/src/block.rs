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
