//! Placing weights: any pieces in any order, and what is refused.

mod support;

use datanode_llama::{Config, Dtype, Kind, Mode, Model, Part, PlaceError, Weights};
use proptest::prelude::*;
use support::{Golden, SplitMix64, encode, model, tensor};

fn logits(model: &Model) -> Vec<f32> {
    let mut cache = model.cache();
    let mut x: Vec<f32> =
        [3, 1, 4].into_iter().flat_map(|token| model.embed(token).unwrap()).collect();
    model.blocks(&mut cache, 0, &mut x).unwrap();
    model.logits(&x[2 * model.config().hidden..]).unwrap()
}

fn config() -> Config {
    Golden::read("mistral").config
}

fn weights(config: &Config, mode: Mode) -> Weights {
    Weights::new(config, Part::whole(config), mode)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn pieces_in_any_order_make_the_same_model(seed in any::<u64>(), fast in any::<bool>()) {
        let mode = if fast { Mode::Fast } else { Mode::Exact };
        let config = config();
        let mut random = SplitMix64(seed);
        let mut pieces = Vec::new();
        for spec in config.tensors(&Part::whole(&config)) {
            let (values, dtype) = tensor(&spec);
            let bytes = encode(&values, dtype);
            let mut first = 0;
            while first < values.len() {
                // Pieces overlap by up to half.
                let count = (1 + random.next() as usize % 500).min(values.len() - first);
                let range = first * dtype.bytes()..(first + count) * dtype.bytes();
                pieces.push((spec.name.clone(), first as u64, bytes[range].to_vec(), dtype));
                first += count - (random.next() as usize % (count / 2 + 1)).min(count - 1);
            }
        }
        pieces.sort_by_cached_key(|_| random.next());
        let again = pieces[..pieces.len() / 3].to_vec();
        let mut loading = weights(&config, mode);
        for (name, first, bytes, dtype) in pieces.iter().chain(&again) {
            prop_assert!(loading.place(name, *first, bytes, *dtype).unwrap());
        }
        prop_assert_eq!(loading.missing(), None);
        prop_assert_eq!(logits(&loading.finish().unwrap()), logits(&model(&config, mode)));
    }
}

#[test]
fn names_what_is_missing() {
    let config = config();
    let mut loading = weights(&config, Mode::Fast);
    let spec = &config.tensors(&Part::whole(&config))[1];
    let (values, dtype) = tensor(spec);
    let bytes = encode(&values[..values.len() - 1], dtype);
    assert!(loading.place(&spec.name, 0, &bytes, dtype).unwrap());
    for spec in config.tensors(&Part::whole(&config)) {
        let missing = loading.missing().unwrap();
        assert!(missing.rows > 0 && !missing.name.is_empty());
        let (values, dtype) = tensor(&spec);
        loading.place(&spec.name, 0, &encode(&values, dtype), dtype).unwrap();
    }
    assert_eq!(loading.missing(), None);
    let missing = weights(&config, Mode::Fast).finish().err().unwrap();
    assert!(missing.to_string().contains("rows are missing"));
}

#[test]
fn ignores_tensors_that_the_part_does_not_need() {
    let config = config();
    let part = Part { first_block: 1, embed: false, ..Part::whole(&config) };
    let mut loading = Weights::new(&config, part, Mode::Exact);
    assert!(!loading.place("model.layers.0.mlp.up_proj.weight", 0, &[0; 2], Dtype::Bf16).unwrap());
    assert!(loading.place("model.layers.1.mlp.up_proj.weight", 0, &[0; 2], Dtype::Bf16).unwrap());
    assert!(!loading.place("model.embed_tokens.weight", 0, &[0; 2], Dtype::Bf16).unwrap());
}

#[test]
fn refuses_bytes_that_do_not_fit() {
    let config = config();
    let name = "lm_head.weight";
    let elements = (config.vocabulary * config.hidden) as u64;
    let mut loading = weights(&config, Mode::Fast);
    let outside = Err(PlaceError::OutOfRange(name.into()));
    assert_eq!(loading.place(name, 0, &[0; 3], Dtype::Bf16), outside);
    assert_eq!(loading.place(name, elements, &[0; 2], Dtype::Bf16), outside);
    assert_eq!(loading.place(name, u64::MAX, &[0; 2], Dtype::Bf16), outside);
    assert_eq!(loading.place(name, elements - 1, &[0; 2], Dtype::Bf16), Ok(true));
    let other = Err(PlaceError::Dtype(name.into()));
    assert_eq!(loading.place(name, 0, &[0; 2], Dtype::F16), other);
}

#[test]
fn refuses_infinities_and_nan_of_every_type() {
    let config = config();
    for (dtype, bad) in [
        (Dtype::Bf16, vec![0x7f80_u32, 0xff80, 0x7fc0, 0xffff]),
        (Dtype::F16, vec![0x7c00, 0xfc00, 0x7e00, 0xffff]),
        (Dtype::F32, vec![0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0xffff_ffff, 0x7f80_0001]),
    ] {
        for spec in config.tensors(&Part::whole(&config)) {
            for word in &bad {
                for column in [0, spec.columns / 2, spec.columns - 1] {
                    let size = dtype.bytes();
                    let mut row = vec![0; spec.columns * size];
                    row[column * size..][..size].copy_from_slice(&word.to_le_bytes()[..size]);
                    for mode in [Mode::Fast, Mode::Exact] {
                        let placed = weights(&config, mode).place(&spec.name, 0, &row, dtype);
                        let expected = Err(PlaceError::NotFinite(spec.name.clone(), 0));
                        assert_eq!(placed, expected, "{dtype:?} {word:x}");
                    }
                }
            }
        }
    }
}

/// The error of a matrix's products relative to the products of magnitudes.
fn worst_error(values: &[f32], rows: usize, mode: Mode, dtype: Dtype, words: &[u8]) -> f64 {
    let columns = values.len() / rows;
    let json = format!(
        r#"{{"model_type": "llama", "hidden_size": {columns}, "intermediate_size": 8,
        "num_hidden_layers": 1, "num_attention_heads": 1, "head_dim": 8, "vocab_size": {rows}}}"#
    );
    let config = Config::from_json(json.as_bytes()).unwrap();
    let part = Part { first_block: 0, end_block: 0, embed: false, head: true };
    let mut loading = Weights::new(&config, part, mode);
    loading.place("lm_head.weight", 0, words, dtype).unwrap();
    let ones = encode(&vec![1.0; columns], Dtype::F32);
    loading.place("model.norm.weight", 0, &ones, Dtype::F32).unwrap();
    let model = loading.finish().unwrap();
    let mut random = SplitMix64(9);
    let x: Vec<f32> = (0..columns).map(|_| (random.next() % 2001) as f32 / 1000.0 - 1.0).collect();
    let square: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
    let factor = 1.0 / (square / columns as f64 + f64::from(config.norm_epsilon)).sqrt();
    let found = model.logits(&x).unwrap();
    found.iter().zip(values.chunks(columns)).fold(0.0, |worst, (found, row)| {
        let products = row.iter().zip(&x).map(|(w, x)| f64::from(*w) * f64::from(*x) * factor);
        let (sum, magnitude) =
            products.fold((0.0, 0.0), |(sum, size), each| (sum + each, size + each.abs()));
        assert!(magnitude > 0.0 || *found == 0.0);
        f64::max(worst, (f64::from(*found) - sum).abs() / magnitude.max(f64::MIN_POSITIVE))
    })
}

#[test]
fn every_width_type_and_magnitude_is_multiplied() {
    let mut random = SplitMix64(4);
    for columns in [4, 60, 64, 200, 256, 320, 576, 896, 1000, 1100, 1536, 2048, 4864] {
        for (dtype, exponents) in [
            (Dtype::Bf16, [-110, 0, 110]),
            (Dtype::F16, [-17, 0, 14]),
            (Dtype::F32, [-110, 0, 110]),
        ] {
            for exponent in exponents {
                let rows = 5;
                // Row 2 is zero.
                let values: Vec<f32> = (0..rows * columns)
                    .map(|at| match at / columns {
                        2 => 0.0,
                        _ => {
                            ((random.next() % 255) as f32 - 127.0) / 128.0 * 2.0_f32.powi(exponent)
                        }
                    })
                    .collect();
                let words = encode(&values, dtype);
                let exact = worst_error(&values, rows, Mode::Exact, dtype, &words);
                assert!(exact < 2e-6, "{dtype:?} {columns} 2^{exponent}: {exact:e}");
                let fast = worst_error(&values, rows, Mode::Fast, dtype, &words);
                assert!(fast < 2e-4, "{dtype:?} {columns} 2^{exponent}: {fast:e}");
            }
        }
    }
}

#[test]
fn subnormal_rows_are_close_in_absolute_terms() {
    let values: Vec<f32> = (0..256).map(|at| f32::from_bits(at % 7 * 0x1_0000)).collect();
    let words = encode(&values, Dtype::Bf16);
    assert!(worst_error(&values, 2, Mode::Fast, Dtype::Bf16, &words).is_finite());
}

#[test]
fn part_lists_the_tensors_of_its_blocks() {
    let config = Golden::read("qwen2").config;
    let part = Part { first_block: 1, end_block: 2, embed: false, head: false };
    let specs = config.tensors(&part);
    assert_eq!(specs.len(), 12);
    assert!(specs.iter().all(|spec| spec.name.starts_with("model.layers.1.")));
    assert_eq!(specs.iter().filter(|spec| spec.kind == Kind::Vector).count(), 5);
    // A tied head needs the embedding.
    let head = Part { first_block: 0, end_block: 0, embed: false, head: true };
    let names: Vec<_> = config.tensors(&head).into_iter().map(|spec| spec.name).collect();
    assert_eq!(names, ["model.embed_tokens.weight", "model.norm.weight"]);
}
