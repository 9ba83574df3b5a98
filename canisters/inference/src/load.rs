//! From a stored checkpoint to a model in the heap, chunk by chunk.

use datanode_llama::{Config, Mode, Model, Part, Tokenizer, Weights};
use datanode_store::Error;

use crate::api;
use crate::checkpoint::Checkpoint;
use crate::conversations::{MAX_CACHE_BYTES, MIN_CACHE_BYTES};
use crate::plan::Plan;

/// Heap that weights may take, bytes: 4 GiB less room for caches, buffers and the tokenizer.
pub const MAX_WEIGHT_BYTES: u64 = 3_400 << 20;

/// Instructions that must be left in a step before the tokenizer is read. A vocabulary of 128,000
/// takes some 1.3e9.
const TOKENIZER_INSTRUCTIONS: u64 = 3_000_000_000;

/// Instructions that the positions of a hop take, about, and their most.
const BATCH_INSTRUCTIONS: u64 = 20_000_000_000;
const MAX_BATCH: u64 = 64;

/// The same for positions between two looks at the instructions.
const STEP_INSTRUCTIONS: u64 = 5_000_000_000;

/// A model on its way into the heap.
pub struct Loading {
    checkpoint: Checkpoint,
    plan: Plan,
    weights: Option<Weights>,
    model: Option<Model>,
    heap_bytes: u64,
    has_text: bool,
    part: Part,
    mode: Mode,
    next: usize,
    placed: u64,
}

/// A model that can be run.
pub struct Loaded {
    pub model: Model,
    /// What it has of the whole model.
    pub part: Part,
    /// Most positions that a hop begins with, those of all its conversations together.
    pub batch: usize,
    /// Most positions that are computed between two looks at the instructions.
    pub step: usize,
    /// Most bytes of the caches.
    pub cache_bytes: usize,
    /// None for a part that does not speak.
    pub tokenizer: Option<Tokenizer>,
}

impl Loading {
    /// Plan the loading of a stored checkpoint.
    ///
    /// # Errors
    /// The checkpoint is not of a supported architecture, lacks tensors, or does not fit the heap.
    pub fn plan(
        checkpoint: Checkpoint,
        mode: api::Mode,
        part: Option<api::Part>,
        is_driver: bool,
    ) -> Result<Self, Error> {
        let Some(json) = checkpoint.file("config.json")? else {
            return Err(Error::Conflict("the model has no config.json".into()));
        };
        let config =
            Config::from_json(&json).map_err(|error| Error::Conflict(error.to_string()))?;
        let part = part.map_or(Ok(Part::whole(&config)), |part| checked(part, &config))?;
        let heap_bytes = config.weight_bytes(&part);
        if heap_bytes > MAX_WEIGHT_BYTES {
            return Err(Error::Conflict(too_large(&config, &part, heap_bytes)));
        }
        let specs = config.tensors(&part);
        let plan =
            Plan::new(&checkpoint.head, &checkpoint.tensors()?, &checkpoint.chunk_lens, &specs)?;
        let mode = match mode {
            api::Mode::Fast => Mode::Fast,
            api::Mode::Exact => Mode::Exact,
        };
        let has_text = part.embed && (part.head || is_driver);
        let weights = Some(Weights::new(&config, part, mode));
        let (next, placed) = (0, 0);
        let model = None;
        Ok(Self {
            checkpoint,
            plan,
            weights,
            model,
            heap_bytes,
            has_text,
            part,
            mode,
            next,
            placed,
        })
    }

    /// Tell what loading takes.
    pub fn summary(&self) -> api::LoadPlan {
        let (chunks, weights) = (self.plan.jobs.len() as u32, self.plan.weights);
        let (version, heap_bytes) = (self.checkpoint.version, self.heap_bytes);
        api::LoadPlan { version, chunks, weights, heap_bytes }
    }

    /// Return the chunks decoded, the chunks to decode and the weights placed.
    pub fn progress(&self) -> (u32, u32, u64) {
        (self.next as u32, self.plan.jobs.len() as u32, self.placed)
    }

    /// Decode and place chunks until `used` says that `most` instructions are used; return the model
    /// when it is complete.
    ///
    /// # Errors
    /// A chunk is missing or damaged, or holds infinities or NaN.
    pub fn step(&mut self, most: u64, used: impl Fn() -> u64) -> Result<Option<Loaded>, Error> {
        while let Some(job) = self.plan.jobs.get(self.next) {
            if used() >= most {
                return Ok(None);
            }
            let (targets, weights) = (&self.plan.targets, &mut self.weights);
            self.placed += self.checkpoint.chunk(job.chunk, |raw| {
                let mut placed = 0;
                for piece in &job.pieces {
                    let target = &targets[piece.target];
                    let bytes = raw.get(piece.start..piece.end).ok_or_else(|| {
                        Error::Conflict(format!("chunk {} is too short", job.chunk))
                    })?;
                    if let Some(weights) = weights {
                        weights
                            .place(&target.name, piece.first_element, bytes, target.dtype)
                            .map_err(|error| Error::Conflict(error.to_string()))?;
                    }
                    placed += (bytes.len() / target.dtype.bytes()) as u64;
                }
                Ok(placed)
            })?;
            self.next += 1;
        }
        if let Some(weights) = self.weights.take() {
            let model = weights.finish().map_err(|error| Error::Conflict(error.to_string()))?;
            self.model = Some(model);
        }
        if self.has_text
            && used() > most.saturating_sub(TOKENIZER_INSTRUCTIONS)
            && used() > most / 4
        {
            return Ok(None);
        }
        let tokenizer = if self.has_text { Some(self.tokenizer()?) } else { None };
        let positions = |instructions| positions(instructions, self.plan.weights, self.mode);
        let (batch, step) = (positions(BATCH_INSTRUCTIONS), positions(STEP_INSTRUCTIONS));
        let (part, cache_bytes) = (self.part, cache_bytes(self.heap_bytes));
        let loaded = |model| Loaded { model, part, batch, step, cache_bytes, tokenizer };
        self.model
            .take()
            .map(loaded)
            .map(Some)
            .ok_or_else(|| Error::Conflict("the model was loaded before".into()))
    }

    fn tokenizer(&self) -> Result<Tokenizer, Error> {
        let Some(json) = self.checkpoint.file("tokenizer.json")? else {
            return Err(Error::Conflict("the model has no tokenizer.json".into()));
        };
        Tokenizer::from_json(&json).map_err(|error| Error::Conflict(error.to_string()))
    }
}

/// Return how many positions some instructions compute, at most `MAX_BATCH`.
fn positions(instructions: u64, weights: u64, mode: Mode) -> usize {
    let four_weights = match mode {
        Mode::Fast => 3,
        Mode::Exact => 12,
    };
    (4 * instructions / (weights * four_weights).max(1)).clamp(1, MAX_BATCH) as usize
}

/// Return the bytes that caches may take beside the weights.
fn cache_bytes(weight_bytes: u64) -> usize {
    let free = MAX_WEIGHT_BYTES.saturating_sub(weight_bytes) as usize;
    (MIN_CACHE_BYTES + free).min(MAX_CACHE_BYTES)
}

/// Say how many canisters a part of a model takes that does not fit one heap.
fn too_large(config: &Config, part: &Part, heap_bytes: u64) -> String {
    let needed = match canisters(config, part) {
        Some(count) => format!("give {count} canisters a part each"),
        None => "a single block of it does not fit either".into(),
    };
    let (got, most) = (heap_bytes >> 20, MAX_WEIGHT_BYTES >> 20);
    format!("the weights take {got} MiB of heap, a canister holds {most} MiB: {needed}")
}

/// Return the least number of canisters whose heaps hold a part: embedding and head with the first
/// blocks on one, the other blocks in turn on further ones. None if one of them does not fit.
fn canisters(config: &Config, part: &Part) -> Option<usize> {
    let bytes = |part: &Part| config.weight_bytes(part);
    let empty = Part { first_block: 0, end_block: 0, embed: false, head: false };
    let mut held = bytes(&Part { embed: part.embed, head: part.head, ..empty });
    let mut count = 1;
    for block in part.first_block..part.end_block {
        let added = bytes(&Part { first_block: block, end_block: block + 1, ..empty });
        if held + added > MAX_WEIGHT_BYTES {
            (held, count) = (0, count + 1);
        }
        held += added;
        if held > MAX_WEIGHT_BYTES {
            return None;
        }
    }
    (held <= MAX_WEIGHT_BYTES).then_some(count)
}

fn checked(part: api::Part, config: &Config) -> Result<Part, Error> {
    let (first_block, end_block) = (part.first_block as usize, part.end_block as usize);
    if first_block > end_block || end_block > config.blocks {
        let text = format!("the model has {} blocks", config.blocks);
        return Err(Error::BadRequest(text));
    }
    Ok(Part { first_block, end_block, embed: part.embed, head: part.head })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(blocks: usize, hidden: usize, intermediate: usize) -> Config {
        let json = format!(
            r#"{{"model_type": "llama", "hidden_size": {hidden}, "intermediate_size": {intermediate},
                "num_hidden_layers": {blocks}, "num_attention_heads": 32,
                "num_key_value_heads": 8, "vocab_size": 128256}}"#
        );
        Config::from_json(json.as_bytes()).unwrap()
    }

    #[test]
    fn says_how_many_canisters_llama_3_8b_takes() {
        let config = config(32, 4096, 14_336);
        let whole = Part::whole(&config);
        let text = too_large(&config, &whole, config.weight_bytes(&whole));
        assert_eq!(
            text,
            "the weights take 15323 MiB of heap, a canister holds 3400 MiB: \
             give 5 canisters a part each"
        );
        assert_eq!(
            canisters(&config, &Part { end_block: 8, embed: false, head: false, ..whole }),
            Some(1)
        );
    }

    #[test]
    fn says_that_a_block_is_too_large() {
        let config = config(1, 65_536, 65_536);
        let whole = Part::whole(&config);
        assert_eq!(canisters(&config, &whole), None);
        assert!(
            too_large(&config, &whole, 1 << 40)
                .ends_with("a single block of it does not fit either")
        );
    }
}
