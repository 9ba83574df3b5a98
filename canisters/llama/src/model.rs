//! The forward pass.

use std::fmt;

use crate::attention::attend;
use crate::cache::Cache;
use crate::matrix::{Dtype, Matrix, Mode, Scratch, multiply_all};
use crate::vector::{add, rms_norm, rms_norm_heads, rotate, silu_multiply};
use datanode_llama_text::Config;

/// Positions that cannot be computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PositionError {
    /// The cache holds fewer positions than come before this one.
    Gap {
        /// Positions that the cache holds.
        held: usize,
    },
    /// The model has no more positions.
    TooLong {
        /// Positions that the model has.
        positions: usize,
    },
}

impl fmt::Display for PositionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { held } => write!(f, "the cache holds only {held} positions"),
            Self::TooLong { positions } => write!(f, "the model has only {positions} positions"),
        }
    }
}

impl std::error::Error for PositionError {}

/// Weights of one block. Biases and head norms are empty where the model has none.
pub(crate) struct Block {
    pub(crate) input_norm: Vec<f32>,
    pub(crate) post_norm: Vec<f32>,
    pub(crate) query: Matrix,
    pub(crate) key: Matrix,
    pub(crate) value: Matrix,
    pub(crate) output: Matrix,
    pub(crate) gate: Matrix,
    pub(crate) up: Matrix,
    pub(crate) down: Matrix,
    pub(crate) query_bias: Vec<f32>,
    pub(crate) key_bias: Vec<f32>,
    pub(crate) value_bias: Vec<f32>,
    pub(crate) query_norm: Vec<f32>,
    pub(crate) key_norm: Vec<f32>,
}

/// A part of a model with its weights.
pub struct Model {
    config: Config,
    frequencies: Vec<f64>,
    pub(crate) embedding: Option<Matrix>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) norm: Vec<f32>,
    pub(crate) head: Option<Matrix>,
}

impl Model {
    pub(crate) fn empty(config: Config, blocks: usize) -> Self {
        let matrix = || Matrix::new(0, 0, Mode::Exact, Dtype::Bf16);
        let block = || Block {
            input_norm: Vec::new(),
            post_norm: Vec::new(),
            query: matrix(),
            key: matrix(),
            value: matrix(),
            output: matrix(),
            gate: matrix(),
            up: matrix(),
            down: matrix(),
            query_bias: Vec::new(),
            key_bias: Vec::new(),
            value_bias: Vec::new(),
            query_norm: Vec::new(),
            key_norm: Vec::new(),
        };
        Self {
            frequencies: config.rope.frequencies(config.head_dim),
            config,
            embedding: None,
            blocks: std::iter::repeat_with(block).take(blocks).collect(),
            norm: Vec::new(),
            head: None,
        }
    }

    /// The configuration that the model was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Make an empty cache for the blocks of this part.
    pub fn cache(&self) -> Cache {
        Cache::new(&self.config, self.blocks.len())
    }

    /// Return the activations of a token, or nothing if there is no such token or no embedding.
    pub fn embed(&self, token: u32) -> Option<Vec<f32>> {
        let embedding = self.embedding.as_ref()?;
        if token as usize >= self.config.vocabulary {
            return None;
        }
        let mut activations = vec![0.0; self.config.hidden];
        embedding.row(token as usize, &mut activations);
        Some(activations)
    }

    /// Compute the blocks of this part for consecutive positions, in place.
    ///
    /// `activations` holds `hidden` elements a position. A position that the cache holds already is
    /// computed again, and everything after it is dropped.
    ///
    /// # Errors
    /// Refuses a gap and a position that the model does not have; the cache stays as it was.
    ///
    /// # Panics
    /// If `activations` holds a fraction of a position.
    pub fn blocks(
        &self,
        cache: &mut Cache,
        position: usize,
        activations: &mut [f32],
    ) -> Result<(), PositionError> {
        self.advance(cache, position, activations, true)
    }

    /// As `blocks`, for positions whose successors are given: computes only what later positions
    /// attend to. The last block's output is left out, and `activations` hold its input.
    ///
    /// # Errors
    /// As `blocks`.
    ///
    /// # Panics
    /// As `blocks`.
    pub fn fill(
        &self,
        cache: &mut Cache,
        position: usize,
        activations: &mut [f32],
    ) -> Result<(), PositionError> {
        self.advance(cache, position, activations, false)
    }

    fn advance(
        &self,
        cache: &mut Cache,
        position: usize,
        activations: &mut [f32],
        has_output: bool,
    ) -> Result<(), PositionError> {
        assert!(activations.len().is_multiple_of(self.config.hidden), "whole positions");
        if position > cache.length() {
            return Err(PositionError::Gap { held: cache.length() });
        }
        let end = position + activations.len() / self.config.hidden;
        if end > self.config.positions {
            return Err(PositionError::TooLong { positions: self.config.positions });
        }
        cache.truncate(position);
        cache.reserve(end);
        let angles: Vec<_> = (position..end).map(|position| self.angles(position)).collect();
        let mut run = Run::new(&self.config);
        for (index, block) in self.blocks.iter().enumerate() {
            let is_used = has_output || index + 1 < self.blocks.len();
            for (offset, x) in activations.chunks_exact_mut(self.config.hidden).enumerate() {
                let (position, angles) = (position + offset, &angles[offset]);
                run.project(block, x, is_used);
                run.remember(block, index, position, angles, cache);
                if is_used {
                    run.attention(block, index, position, angles, cache, x);
                    run.feed_forward(block, x);
                }
            }
        }
        cache.extend_to(end);
        Ok(())
    }

    /// Return the logits after one position's activations, or nothing if this part has no head.
    pub fn logits(&self, activations: &[f32]) -> Option<Vec<f32>> {
        let head = self.head.as_ref().or(self.embedding.as_ref())?;
        if self.norm.len() != activations.len() {
            return None;
        }
        let mut x = vec![0.0; activations.len()];
        rms_norm(activations, &self.norm, self.config.norm_epsilon, &mut x);
        let mut logits = vec![0.0; self.config.vocabulary];
        head.multiply(&x, &mut logits, &mut Scratch::default());
        Some(logits)
    }

    /// Cosines and sines of a position.
    fn angles(&self, position: usize) -> (Vec<f32>, Vec<f32>) {
        let angles = self.frequencies.iter().map(|frequency| position as f64 * frequency);
        angles.map(|angle| (angle.cos() as f32, angle.sin() as f32)).unzip()
    }
}

/// Buffers of a forward pass.
struct Run<'a> {
    config: &'a Config,
    scratch: Scratch,
    normed: Vec<f32>,
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    attended: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    delta: Vec<f32>,
    scores: Vec<f32>,
}

impl<'a> Run<'a> {
    fn new(config: &'a Config) -> Self {
        let zeros = |length| vec![0.0; length];
        Self {
            config,
            scratch: Scratch::default(),
            normed: zeros(config.hidden),
            query: zeros(config.query_width()),
            key: zeros(config.kv_width()),
            value: zeros(config.kv_width()),
            attended: zeros(config.query_width()),
            gate: zeros(config.intermediate),
            up: zeros(config.intermediate),
            delta: zeros(config.hidden),
            scores: Vec::new(),
        }
    }

    /// Compute keys and values, and the query if it is used.
    fn project(&mut self, block: &Block, x: &[f32], is_used: bool) {
        let Self { normed, query, key, value, scratch, .. } = self;
        rms_norm(x, &block.input_norm, self.config.norm_epsilon, normed);
        // The query counts for the quantizing even where it is not used, so that keys and values do
        // not depend on that.
        let query = if is_used { &mut query[..] } else { &mut [] };
        let all = [(&block.key, &mut key[..]), (&block.value, value), (&block.query, query)];
        multiply_all(normed, all, scratch);
    }

    /// Store the keys and values of a position, which `project` has computed.
    fn remember(
        &mut self,
        block: &Block,
        index: usize,
        position: usize,
        (cosines, sines): &(Vec<f32>, Vec<f32>),
        cache: &mut Cache,
    ) {
        add(&mut self.key, &block.key_bias);
        add(&mut self.value, &block.value_bias);
        if !block.key_norm.is_empty() {
            rms_norm_heads(&mut self.key, &block.key_norm, self.config.norm_epsilon);
        }
        rotate(&mut self.key, cosines, sines);
        cache.store(index, position, &self.key, &self.value);
    }

    /// Attend to all positions up to this one, which `remember` has stored.
    fn attention(
        &mut self,
        block: &Block,
        index: usize,
        position: usize,
        (cosines, sines): &(Vec<f32>, Vec<f32>),
        cache: &Cache,
        x: &mut [f32],
    ) {
        let Config { norm_epsilon, head_dim, heads, kv_heads, .. } = *self.config;
        add(&mut self.query, &block.query_bias);
        if !block.query_norm.is_empty() {
            rms_norm_heads(&mut self.query, &block.query_norm, norm_epsilon);
        }
        rotate(&mut self.query, cosines, sines);
        let heads_in_turn =
            self.query.chunks_exact(head_dim).zip(self.attended.chunks_exact_mut(head_dim));
        for (head, (query, to)) in heads_in_turn.enumerate() {
            let chunks = cache.head(index, head / (heads / kv_heads));
            attend(query, chunks, position + 1, &mut self.scores, to);
        }
        block.output.multiply(&self.attended, &mut self.delta, &mut self.scratch);
        add(x, &self.delta);
    }

    fn feed_forward(&mut self, block: &Block, x: &mut [f32]) {
        rms_norm(x, &block.post_norm, self.config.norm_epsilon, &mut self.normed);
        let gate_and_up = [(&block.gate, &mut self.gate[..]), (&block.up, &mut self.up[..])];
        multiply_all(&self.normed, gate_and_up, &mut self.scratch);
        silu_multiply(&mut self.gate, &self.up);
        block.down.multiply(&self.gate, &mut self.delta, &mut self.scratch);
        add(x, &self.delta);
    }
}
