//! A model of three blocks for tests.

use datanode_llama::{Config, Dtype, Kind, Mode, Part, Weights};

use crate::conversations::MAX_CACHE_BYTES;
use crate::load::Loaded;

pub const HIDDEN: usize = 8;

/// Load a part of it.
pub fn loaded(part: Part) -> Loaded {
    let json = br#"{"model_type": "llama", "hidden_size": 8, "intermediate_size": 8,
        "num_hidden_layers": 3, "num_attention_heads": 1, "vocab_size": 16}"#;
    let config = Config::from_json(json).unwrap();
    let mut weights = Weights::new(&config, part, Mode::Exact);
    for spec in config.tensors(&part) {
        let seed: u64 = spec.name.bytes().map(u64::from).sum();
        let value = |at: u64| match spec.kind {
            Kind::Vector => 1.0,
            Kind::Matrix => ((at * 7 + seed * 3) % 11) as f32 / 8.0 - 0.6,
        };
        let bytes: Vec<u8> = (0..spec.elements()).flat_map(|at| value(at).to_le_bytes()).collect();
        weights.place(&spec.name, 0, &bytes, Dtype::F32).unwrap();
    }
    let (model, cache_bytes) = (weights.finish().unwrap(), MAX_CACHE_BYTES);
    Loaded { model, part, batch: 8, step: 2, cache_bytes, tokenizer: None }
}
