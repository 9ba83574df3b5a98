//! The conversations that a canister holds, within bounds of number and memory.

use std::collections::BTreeMap;

use candid::Principal;
use datanode_llama::Cache;
use datanode_store::Error;

use crate::conversation::Conversation;

/// Most conversations; the least recently used one ends for a new one.
pub const MAX_CONVERSATIONS: usize = 256;

/// Bytes of all caches beside the largest and beside small weights. Beyond its bound the least
/// recently used caches are dropped, and computed again when their conversations go on.
pub const MIN_CACHE_BYTES: usize = 512 << 20;
pub const MAX_CACHE_BYTES: usize = 1 << 30;

struct Entry {
    owner: Principal,
    used: u64,
    /// It is kept for its prompt, with which the owner's next one may begin.
    has_ended: bool,
    /// A message that waits for another canister is generating.
    is_busy: bool,
    conversation: Conversation,
}

/// Conversations by their numbers.
#[derive(Default)]
pub struct Conversations {
    entries: BTreeMap<u64, Entry>,
    clock: u64,
}

impl Conversations {
    /// Keep a new conversation of `owner`, and return its number. Numbers begin with the time, so
    /// that one from before an upgrade is not taken for another.
    pub fn insert(&mut self, owner: Principal, now_ns: u64, conversation: Conversation) -> u64 {
        if self.entries.len() >= MAX_CONVERSATIONS
            && let Some(oldest) = self.oldest(|_| true)
        {
            self.entries.remove(&oldest);
        }
        let last = self.entries.last_key_value().map_or(0, |(last, _)| *last);
        let number = now_ns.max(last + 1);
        self.clock += 1;
        let (used, has_ended, is_busy) = (self.clock, false, false);
        self.entries.insert(number, Entry { owner, used, has_ended, is_busy, conversation });
        number
    }

    /// Return a conversation of `owner`.
    ///
    /// # Errors
    /// There is none of this number, or it is somebody else's.
    pub fn get(&mut self, owner: Principal, number: u64) -> Result<&mut Conversation, Error> {
        self.clock += 1;
        match self.entries.get_mut(&number) {
            Some(entry) if entry.owner == owner && !entry.has_ended => {
                entry.used = self.clock;
                Ok(&mut entry.conversation)
            }
            _ => Err(no_such_conversation()),
        }
    }

    /// Return a conversation for a message that will wait for other canisters.
    ///
    /// # Errors
    /// As `get`; or another message is generating.
    pub fn begin(&mut self, owner: Principal, number: u64) -> Result<&mut Conversation, Error> {
        self.get(owner, number)?;
        match self.entries.get_mut(&number) {
            Some(entry) if !entry.is_busy => {
                entry.is_busy = true;
                Ok(&mut entry.conversation)
            }
            _ => Err(Error::Conflict("another message continues this conversation: wait".into())),
        }
    }

    /// Let other messages continue a conversation, if it is still there.
    pub fn release(&mut self, number: u64) {
        if let Some(entry) = self.entries.get_mut(&number) {
            entry.is_busy = false;
        }
    }

    /// End a conversation; one that is not there is no error. The computed positions of its prompt
    /// stay until the owner ends another one: prompts of one template begin alike.
    pub fn end(&mut self, owner: Principal, number: u64) {
        let is_own = self.entries.get(&number).is_some_and(|entry| entry.owner == owner);
        if !is_own {
            return;
        }
        self.entries
            .retain(|other, entry| *other == number || entry.owner != owner || !entry.has_ended);
        if let Some(entry) = self.entries.get_mut(&number) {
            entry.has_ended = true;
            entry.conversation.forget_answer();
        }
    }

    /// Copy the cache of the longest beginning of a prompt that a conversation of `owner` has
    /// computed. Those of others are left alone: their cost would tell what others ask.
    /// Returns the number of that conversation as well.
    pub fn prefix(&self, owner: Principal, prompt: &[u32]) -> Option<(u64, Cache)> {
        let own = self.entries.iter().filter(|(_, entry)| entry.owner == owner);
        let shared =
            own.map(|(number, entry)| (entry.conversation.shared_positions(prompt), number, entry));
        let (positions, number, entry) = shared.max_by_key(|(positions, ..)| *positions)?;
        (positions > 0).then(|| (*number, entry.conversation.prefix(positions)))
    }

    /// Drop caches until all fit, that of `kept` last.
    pub fn fit(&mut self, kept: u64, most_bytes: usize) {
        while self.cache_bytes() > most_bytes {
            let oldest = self
                .oldest(|(number, entry)| **number != kept && entry.conversation.cache_bytes() > 0);
            let Some(oldest) = oldest else { return };
            match self.entries.get_mut(&oldest) {
                Some(entry) if !entry.has_ended => entry.conversation.evict(),
                _ => drop(self.entries.remove(&oldest)),
            }
        }
    }

    /// Advance the clock that tells which conversation was used or served before another.
    pub fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Look at a conversation, whosever it is.
    pub fn peek(&self, number: u64) -> Option<&Conversation> {
        self.entries.get(&number).map(|entry| &entry.conversation)
    }

    /// The same, to change it.
    pub fn peek_mut(&mut self, number: u64) -> Option<&mut Conversation> {
        self.entries.get_mut(&number).map(|entry| &mut entry.conversation)
    }

    /// Return the bytes of the cache of a conversation; 0 if there is none.
    pub fn cache_bytes_of(&self, number: u64) -> usize {
        self.entries.get(&number).map_or(0, |entry| entry.conversation.cache_bytes())
    }

    /// Return how many have not ended.
    pub fn len(&self) -> usize {
        self.entries.values().filter(|entry| !entry.has_ended).count()
    }

    /// Return the bytes of all caches.
    pub fn cache_bytes(&self) -> usize {
        self.entries.values().map(|entry| entry.conversation.cache_bytes()).sum()
    }

    fn oldest(&self, allowed: impl Fn(&(&u64, &Entry)) -> bool) -> Option<u64> {
        let candidates = self.entries.iter().filter(|entry| allowed(entry));
        candidates.min_by_key(|(_, entry)| entry.used).map(|(number, _)| *number)
    }
}

fn no_such_conversation() -> Error {
    let text =
        "no such conversation: an upgrade or newer conversations have ended it; start it again";
    Error::NotFound(text.into())
}
