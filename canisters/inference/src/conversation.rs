//! One text that a model continues, message by message.

use datanode_llama::{Cache, Model, PositionError, Sampler};
use datanode_store::Error;

use crate::load::Loaded;

/// Positions of a prompt that are computed between two looks at the budget.
pub const STEP: usize = 8;

/// Tokens, what was computed for them, and what was already returned.
pub struct Conversation {
    pub(crate) tokens: Vec<u32>,
    prompt_tokens: usize,
    pub(crate) cache: Cache,
    pub(crate) sampler: Sampler,
    pub(crate) finished: bool,
    /// Bytes of the generated text that earlier messages returned.
    returned_bytes: usize,
    /// Positions that all canisters of a fleet have computed.
    pub(crate) computed: usize,
    /// Number of the next hop.
    pub(crate) sequence: u64,
    /// Conversation with whose first positions the cache began; 0: none.
    pub(crate) base: u64,
    /// When it got its last turn, by the clock of all conversations.
    pub(crate) served: u64,
}

/// What one message added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    pub text: String,
    pub tokens: Vec<u32>,
}

impl Conversation {
    /// Begin a text. `begun` is another conversation, and the cache of positions that both begin with,
    /// fewer than all.
    ///
    /// # Errors
    /// The prompt has no token, or as many as the model has positions.
    pub fn new(
        model: &Model,
        prompt: Vec<u32>,
        begun: Option<(u64, Cache)>,
        sampler: Sampler,
    ) -> Result<Self, Error> {
        let most = model.config().positions;
        if prompt.is_empty() {
            return Err(Error::BadRequest("the prompt is empty".into()));
        }
        if prompt.len() >= most {
            let text = format!("the prompt has {} tokens, the model takes {most}", prompt.len());
            return Err(Error::BadRequest(text));
        }
        let (base, cache) = begun.unwrap_or_else(|| (0, model.cache()));
        Ok(Self {
            prompt_tokens: prompt.len(),
            tokens: prompt,
            computed: cache.length(),
            cache,
            sampler,
            finished: false,
            returned_bytes: 0,
            sequence: 1,
            base,
            served: 0,
        })
    }

    /// Return the tokens of the prompt.
    pub fn prompt_tokens(&self) -> usize {
        self.prompt_tokens
    }

    /// Return the positions computed so far.
    pub fn positions(&self) -> usize {
        self.cache.length()
    }

    /// Tell whether the text has come to its end.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Return the bytes of the cache.
    pub fn cache_bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// Drop the cache. The next message computes it again.
    pub fn evict(&mut self) {
        self.cache.truncate(0);
        self.computed = 0;
    }

    /// Drop all but the prompt.
    pub fn forget_answer(&mut self) {
        self.tokens.truncate(self.prompt_tokens);
        self.cache.truncate(self.prompt_tokens);
        self.computed = self.computed.min(self.prompt_tokens);
    }

    /// Tell whether nothing is generated, and no other canister knows it.
    pub fn is_new(&self) -> bool {
        self.tokens.len() == self.prompt_tokens && self.sequence == 1
    }

    /// Count the positions that the prompt has in common with another text, all but its last one.
    pub fn in_common(&self, other: &Self) -> usize {
        let most = self.prompt_tokens.saturating_sub(1);
        let pairs = self.tokens.iter().zip(&other.tokens).take(most);
        pairs.take_while(|(ours, theirs)| ours == theirs).count()
    }

    /// Begin with the first positions of another conversation, which both have in common.
    pub fn begin_with(&mut self, base: u64, cache: Cache) {
        (self.computed, self.cache, self.base) = (cache.length(), cache, base);
    }

    /// Count the computed positions that another prompt begins with; its last one is always computed.
    pub fn shared_positions(&self, prompt: &[u32]) -> usize {
        let most = self.cache.length().min(prompt.len().saturating_sub(1));
        self.tokens.iter().zip(prompt).take(most).take_while(|(ours, new)| ours == new).count()
    }

    /// Copy the cache of the first positions.
    pub fn prefix(&self, positions: usize) -> Cache {
        self.cache.prefix(positions)
    }

    /// Generate up to `most` tokens, as long as `may_go_on` says so.
    ///
    /// # Errors
    /// The loaded part cannot generate text on its own.
    pub fn generate(
        &mut self,
        loaded: &Loaded,
        most: usize,
        may_go_on: impl Fn() -> bool,
    ) -> Result<Added, Error> {
        let first = self.tokens.len();
        while !self.finished && self.tokens.len() - first < most && may_go_on() {
            self.advance(&loaded.model)?;
        }
        Ok(Added { text: self.new_text(loaded)?, tokens: self.tokens[first..].to_vec() })
    }

    /// Compute a step of positions, and choose the next token after the last one.
    pub fn advance(&mut self, model: &Model) -> Result<(), Error> {
        let position = self.cache.length();
        let batch = &self.tokens[position..self.tokens.len().min(position + STEP)];
        let mut activations = embed(model, batch)?;
        let too_long = |error: PositionError| Error::BadRequest(error.to_string());
        if position + batch.len() < self.tokens.len() {
            return model.fill(&mut self.cache, position, &mut activations).map_err(too_long);
        }
        let last = activations.len() - model.config().hidden;
        let (before, last) = activations.split_at_mut(last);
        model.fill(&mut self.cache, position, before).map_err(too_long)?;
        model.blocks(&mut self.cache, self.tokens.len() - 1, last).map_err(too_long)?;
        let logits = model.logits(last).ok_or_else(whole_only)?;
        let token = self.sampler.next(&logits);
        self.add(model, token);
        Ok(())
    }

    /// Continue the text with a token.
    pub fn add(&mut self, model: &Model, token: u32) {
        if model.config().end_tokens.contains(&token) {
            self.finished = true;
        } else {
            self.tokens.push(token);
            self.finished = self.tokens.len() >= model.config().positions;
        }
    }

    /// Return the text that no message has returned yet; before the end, whole characters only.
    pub fn new_text(&mut self, loaded: &Loaded) -> Result<String, Error> {
        let tokenizer = loaded.tokenizer.as_ref().ok_or_else(whole_only)?;
        let bytes = tokenizer.decode(&self.tokens[self.prompt_tokens..]);
        let fresh = bytes.get(self.returned_bytes..).unwrap_or(&[]);
        let end = if self.finished { fresh.len() } else { whole_characters(fresh) };
        self.returned_bytes += end;
        Ok(String::from_utf8_lossy(&fresh[..end]).into_owned())
    }
}

/// Return the activations of tokens.
pub fn embed(model: &Model, tokens: &[u32]) -> Result<Vec<f32>, Error> {
    let mut activations = Vec::with_capacity(tokens.len() * model.config().hidden);
    for &token in tokens {
        activations.extend(model.embed(token).ok_or_else(whole_only)?);
    }
    Ok(activations)
}

pub fn whole_only() -> Error {
    Error::BadRequest("this canister runs a part of a model: ask the driver of its fleet".into())
}

/// Return the length without a character that is cut off at the end.
fn whole_characters(bytes: &[u8]) -> usize {
    match bytes.utf8_chunks().last() {
        Some(chunk) if is_cut_off(chunk.invalid()) => bytes.len() - chunk.invalid().len(),
        _ => bytes.len(),
    }
}

/// Tell whether more bytes could make a character of these.
fn is_cut_off(invalid: &[u8]) -> bool {
    !invalid.is_empty()
        && core::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::whole_characters;

    #[test]
    fn text_is_cut_before_an_incomplete_character_only() {
        let text = "a é 🙂".as_bytes();
        assert_eq!(whole_characters(text), text.len());
        for cut in 1..4 {
            assert_eq!(whole_characters(&text[..text.len() - cut]), text.len() - 4);
        }
        assert_eq!(whole_characters(b"ab\xff"), 3);
        assert_eq!(whole_characters(b""), 0);
    }
}
