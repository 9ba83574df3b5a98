//! Tiny models whose weights derive from their names, as in `tests/inference/tiny_models.py`.
#![allow(dead_code, missing_docs)]

use std::path::PathBuf;

use datanode_llama::{Config, Dtype, Kind, Mode, Model, Part, TensorSpec, Weights};

pub const NAMES: [&str; 6] = ["smollm2", "llama2", "llama3", "mistral", "qwen2", "qwen3"];

/// A golden file.
pub struct Golden {
    pub config: Config,
    pub tokens: Vec<u32>,
    pub greedy: Vec<u32>,
    logits: Vec<f32>,
}

impl Golden {
    pub fn read(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/llama");
        let json = std::fs::read(folder.join(format!("{name}.json"))).unwrap();
        let bytes = std::fs::read(folder.join(format!("{name}.bin"))).unwrap();
        let words = bytes.as_chunks::<4>().0;
        let integers: Vec<_> = words.iter().map(|&word| u32::from_le_bytes(word)).collect();
        let (tokens, greedy) = (integers[0] as usize, integers[1] as usize);
        let logits = &words[2 + tokens + greedy..];
        Self {
            config: Config::from_json(&json).unwrap(),
            tokens: integers[2..2 + tokens].to_vec(),
            greedy: integers[2 + tokens..2 + tokens + greedy].to_vec(),
            logits: logits.iter().map(|&word| f32::from_le_bytes(word)).collect(),
        }
    }

    /// Logits after the token at a position.
    pub fn logits(&self, position: usize) -> &[f32] {
        let size = self.config.vocabulary;
        &self.logits[position * size..(position + 1) * size]
    }
}

/// Return the greatest error relative to the greatest magnitude.
pub fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let greatest = expected.iter().fold(0.0, |greatest, x| f64::max(greatest, f64::from(x.abs())));
    let differences =
        found.iter().zip(expected).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
    differences.fold(0.0, |worst, error| if error <= worst { worst } else { error }) / greatest
}

pub struct SplitMix64(pub u64);

impl SplitMix64 {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |value, byte| {
        (value ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// Make the elements of a tensor and their type in the checkpoint.
pub fn tensor(spec: &TensorSpec) -> (Vec<f32>, Dtype) {
    let mut random = SplitMix64(fnv1a(&spec.name));
    let scale = match spec.kind {
        Kind::Vector => 0.25,
        Kind::Matrix if spec.name.contains("embed") => 1.0 / 64.0,
        Kind::Matrix => 2.0_f32.powi(-(spec.columns.ilog2() as i32 / 2)),
    };
    let shift = if spec.name.contains("norm") { 1.0 } else { 0.0 };
    let values = (0..spec.rows * spec.columns)
        .map(|_| {
            let draw = random.next();
            let sum: u64 = [0, 6, 12, 18].into_iter().map(|bits| (draw >> bits) % 64).sum();
            (sum as f32 - 126.0) / 64.0 * scale + shift
        })
        .collect();
    (values, if spec.kind == Kind::Matrix { Dtype::Bf16 } else { Dtype::F32 })
}

/// Encode elements that the type holds exactly.
pub fn encode(values: &[f32], dtype: Dtype) -> Vec<u8> {
    match dtype {
        Dtype::Bf16 => values.iter().flat_map(|x| bf16(*x).to_le_bytes()).collect(),
        Dtype::F16 => values.iter().flat_map(|x| f16(*x).to_le_bytes()).collect(),
        Dtype::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
    }
}

fn bf16(value: f32) -> u16 {
    assert_eq!(value.to_bits() & 0xffff, 0, "{value} is not a BF16");
    (value.to_bits() >> 16) as u16
}

/// Convert a value that F16 holds exactly.
pub fn f16(value: f32) -> u16 {
    let sign = (value.to_bits() >> 16) as u16 & 0x8000;
    let magnitude = f64::from(value.abs()) * 2.0_f64.powi(24);
    let exponent = if magnitude < 1024.0 { 0 } else { magnitude.log2() as i32 - 10 };
    let mantissa = magnitude / 2.0_f64.powi(exponent);
    assert!(mantissa.fract() == 0.0 && mantissa < 2048.0 && exponent < 30, "{value}");
    sign | ((exponent as u16) << 10).wrapping_add(mantissa as u16)
}

/// Load the whole of a tiny model.
pub fn model(config: &Config, mode: Mode) -> Model {
    model_of_part(config, Part::whole(config), mode)
}

/// Load a part of a tiny model.
pub fn model_of_part(config: &Config, part: Part, mode: Mode) -> Model {
    let mut weights = Weights::new(config, part, mode);
    for spec in config.tensors(&part) {
        let (values, dtype) = tensor(&spec);
        assert!(weights.place(&spec.name, 0, &encode(&values, dtype), dtype).unwrap());
    }
    weights.finish().unwrap()
}
