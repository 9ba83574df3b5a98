//! The tensors that a part of a model needs, under the names of Hugging Face.

use super::Config;

/// The part of a model that one canister computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// First block.
    pub first_block: usize,
    /// Block after the last one.
    pub end_block: usize,
    /// Whether it turns tokens into activations.
    pub embed: bool,
    /// Whether it turns activations into logits.
    pub head: bool,
}

impl Part {
    /// Return the whole of a model.
    pub fn whole(config: &Config) -> Self {
        Self { first_block: 0, end_block: config.blocks, embed: true, head: true }
    }
}

/// What a tensor is used as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Multiplied with activations; takes most of the room.
    Matrix,
    /// A bias or the weights of a norm; kept in f32.
    Vector,
}

/// A tensor that a part needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Name in the checkpoint.
    pub name: String,
    /// Rows; 1 for a vector.
    pub rows: usize,
    /// Columns, or the length of a vector.
    pub columns: usize,
    /// Use.
    pub kind: Kind,
}

impl TensorSpec {
    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.rows as u64 * self.columns as u64
    }
}

/// The role of a tensor inside its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockTensor {
    /// Weights of the norm before attention.
    InputNorm,
    /// Weights of the norm behind attention.
    PostNorm,
    /// Projection to queries.
    Query,
    /// Projection to keys.
    Key,
    /// Projection to values.
    Value,
    /// Bias of the queries.
    QueryBias,
    /// Bias of the keys.
    KeyBias,
    /// Bias of the values.
    ValueBias,
    /// Weights of the norm of queries.
    QueryNorm,
    /// Weights of the norm of keys.
    KeyNorm,
    /// Projection of what attention gives.
    Output,
    /// Projection to the gate.
    Gate,
    /// Projection beside the gate.
    Up,
    /// Projection back from the gate.
    Down,
}

/// The role of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The embedding of tokens.
    Embedding,
    /// Weights of the last norm.
    Norm,
    /// The head.
    Head,
    /// A tensor of a block, which is counted from the first of the part.
    Block(usize, BlockTensor),
}

impl Config {
    /// List the tensors that a part needs from the checkpoint.
    pub fn tensors(&self, part: &Part) -> Vec<TensorSpec> {
        self.roles(part).into_iter().map(|(_, spec)| spec).collect()
    }

    /// Bytes of the heap that the weights of a part take, for 16-bit checkpoints.
    pub fn weight_bytes(&self, part: &Part) -> u64 {
        let of = |spec: &TensorSpec| match spec.kind {
            Kind::Matrix => spec.rows as u64 * (2 * spec.columns.next_multiple_of(64) + 4) as u64,
            Kind::Vector => 4 * spec.columns as u64,
        };
        self.roles(part).iter().map(|(_, spec)| of(spec)).sum()
    }

    /// List the tensors that a part needs from the checkpoint, with their roles.
    pub fn roles(&self, part: &Part) -> Vec<(Role, TensorSpec)> {
        let matrix =
            |name: String, rows, columns| TensorSpec { name, rows, columns, kind: Kind::Matrix };
        let vector =
            |name: String, columns| TensorSpec { name, rows: 1, columns, kind: Kind::Vector };
        let mut roles = Vec::new();
        if part.embed || (part.head && self.tied) {
            let name = "model.embed_tokens.weight".into();
            roles.push((Role::Embedding, matrix(name, self.vocabulary, self.hidden)));
        }
        for block in part.first_block..part.end_block {
            roles.extend(self.block_tensors().into_iter().map(|(role, name, rows, columns)| {
                let name = format!("model.layers.{block}.{name}");
                let spec =
                    if rows == 0 { vector(name, columns) } else { matrix(name, rows, columns) };
                (Role::Block(block - part.first_block, role), spec)
            }));
        }
        if part.head {
            roles.push((Role::Norm, vector("model.norm.weight".into(), self.hidden)));
            if !self.tied {
                let name = "lm_head.weight".into();
                roles.push((Role::Head, matrix(name, self.vocabulary, self.hidden)));
            }
        }
        roles
    }

    /// Role, name inside the block, rows (0 for a vector) and columns.
    fn block_tensors(&self) -> Vec<(BlockTensor, &'static str, usize, usize)> {
        use BlockTensor::*;
        let (hidden, intermediate) = (self.hidden, self.intermediate);
        let (queries, keys) = (self.query_width(), self.kv_width());
        let mut tensors = vec![
            (InputNorm, "input_layernorm.weight", 0, hidden),
            (Query, "self_attn.q_proj.weight", queries, hidden),
            (Key, "self_attn.k_proj.weight", keys, hidden),
            (Value, "self_attn.v_proj.weight", keys, hidden),
            (Output, "self_attn.o_proj.weight", hidden, queries),
            (PostNorm, "post_attention_layernorm.weight", 0, hidden),
            (Gate, "mlp.gate_proj.weight", intermediate, hidden),
            (Up, "mlp.up_proj.weight", intermediate, hidden),
            (Down, "mlp.down_proj.weight", hidden, intermediate),
        ];
        if self.qkv_bias {
            tensors.extend([
                (QueryBias, "self_attn.q_proj.bias", 0, queries),
                (KeyBias, "self_attn.k_proj.bias", 0, keys),
                (ValueBias, "self_attn.v_proj.bias", 0, keys),
            ]);
        }
        if self.qk_norm {
            tensors.extend([
                (QueryNorm, "self_attn.q_norm.weight", 0, self.head_dim),
                (KeyNorm, "self_attn.k_norm.weight", 0, self.head_dim),
            ]);
        }
        tensors
    }
}
