//! Keys and values of one conversation.
//!
//! Kept in chunks of eight positions, so that growing never moves what is there. A chunk holds, for
//! each block and key head, eight keys and then eight values, each contiguous. A position is written
//! to all of its chunk, and each page that a message touches has a price: small chunks are cheap where
//! a message computes a single position, as in a fleet.

use datanode_llama_text::Config;

/// Positions of a chunk.
pub(crate) const CHUNK_POSITIONS: usize = 8;

/// Keys and values of the positions that a part has computed.
#[derive(Clone, Debug)]
pub struct Cache {
    blocks: usize,
    kv_heads: usize,
    head_dim: usize,
    length: usize,
    chunks: Vec<Box<[f32]>>,
}

impl Cache {
    /// Make an empty cache for `blocks` blocks of a model.
    pub fn new(config: &Config, blocks: usize) -> Self {
        let Config { kv_heads, head_dim, .. } = *config;
        Self { blocks, kv_heads, head_dim, length: 0, chunks: Vec::new() }
    }

    /// Positions that are held.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Bytes of the heap that it takes.
    pub fn bytes(&self) -> usize {
        self.chunks.len() * self.chunk_elements() * size_of::<f32>()
    }

    /// Bytes of the heap that `positions` positions take.
    pub fn bytes_for(&self, positions: usize) -> usize {
        positions.div_ceil(CHUNK_POSITIONS) * self.chunk_elements() * size_of::<f32>()
    }

    /// Drop `position` and everything after it.
    pub fn truncate(&mut self, position: usize) {
        self.length = self.length.min(position);
        self.chunks.truncate(self.length.div_ceil(CHUNK_POSITIONS));
    }

    /// Copy the first `length` positions, or all if there are fewer.
    pub fn prefix(&self, length: usize) -> Self {
        let length = length.min(self.length);
        let chunks = self.chunks[..length.div_ceil(CHUNK_POSITIONS)].to_vec();
        Self { chunks, length, ..*self }
    }

    /// Make room for positions before `end`.
    pub(crate) fn reserve(&mut self, end: usize) {
        let elements = self.chunk_elements();
        let chunks = end.div_ceil(CHUNK_POSITIONS).max(self.chunks.len());
        self.chunks.resize_with(chunks, || vec![0.0; elements].into());
    }

    /// Count positions before `end` as held; every block must have stored them.
    pub(crate) fn extend_to(&mut self, end: usize) {
        self.length = end;
    }

    /// Store the keys and values of all heads at a position that has room.
    pub(crate) fn store(&mut self, block: usize, position: usize, keys: &[f32], values: &[f32]) {
        let dim = self.head_dim;
        for head in 0..self.kv_heads {
            let first = self.first_element(block, head) + position % CHUNK_POSITIONS * dim;
            let chunk = &mut self.chunks[position / CHUNK_POSITIONS];
            let from = head * dim..(head + 1) * dim;
            chunk[first..first + dim].copy_from_slice(&keys[from.clone()]);
            let first = first + CHUNK_POSITIONS * dim;
            chunk[first..first + dim].copy_from_slice(&values[from]);
        }
    }

    /// Yield keys and values of one head, a chunk at a time.
    pub(crate) fn head(
        &self,
        block: usize,
        head: usize,
    ) -> impl Iterator<Item = Chunk<'_>> + Clone {
        let (first, length) = (self.first_element(block, head), CHUNK_POSITIONS * self.head_dim);
        self.chunks.iter().map(move |chunk| {
            let (keys, values) = chunk[first..first + 2 * length].split_at(length);
            Chunk { keys, values }
        })
    }

    fn chunk_elements(&self) -> usize {
        self.first_element(self.blocks, 0)
    }

    fn first_element(&self, block: usize, head: usize) -> usize {
        (block * self.kv_heads + head) * 2 * CHUNK_POSITIONS * self.head_dim
    }
}

/// Keys and values of one head.
#[derive(Clone, Copy)]
pub(crate) struct Chunk<'a> {
    pub(crate) keys: &'a [f32],
    pub(crate) values: &'a [f32],
}
