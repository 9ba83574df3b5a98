//! Models of every architecture against the golden files of `tests/inference/tiny_models.py`.

mod support;

use datanode_llama::{Mode, Part, greedy};
use support::{Golden, NAMES, model, model_of_part, relative_error};

fn logits_error(name: &str, mode: Mode, batch: usize) -> f64 {
    let golden = Golden::read(name);
    let model = model(&golden.config, mode);
    let mut cache = model.cache();
    let mut worst = 0.0_f64;
    for (index, tokens) in golden.tokens.chunks(batch).enumerate() {
        let mut x: Vec<f32> =
            tokens.iter().flat_map(|&token| model.embed(token).unwrap()).collect();
        model.blocks(&mut cache, index * batch, &mut x).unwrap();
        for (offset, x) in x.chunks(golden.config.hidden).enumerate() {
            let logits = model.logits(x).unwrap();
            worst = worst.max(relative_error(&logits, golden.logits(index * batch + offset)));
        }
    }
    worst
}

#[test]
fn exact_logits_are_within_1e_5_of_float64() {
    for name in NAMES {
        let error = logits_error(name, Mode::Exact, 1);
        assert!(error < 1e-5, "{name}: {error:e}");
    }
}

#[test]
fn fast_logits_are_within_1e_3_of_float64() {
    for name in NAMES {
        let error = logits_error(name, Mode::Fast, 1);
        assert!(error < 1e-3, "{name}: {error:e}");
    }
}

#[test]
fn batches_of_positions_give_the_same_logits() {
    for name in NAMES {
        for batch in [7, 40] {
            let error = logits_error(name, Mode::Exact, batch);
            assert!(error < 1e-5, "{name}, {batch} positions: {error:e}");
        }
    }
}

#[test]
fn filled_positions_and_copied_caches_give_the_same_logits() {
    for name in NAMES {
        let golden = Golden::read(name);
        let model = model(&golden.config, Mode::Fast);
        let embed = |tokens: &[u32]| -> Vec<f32> {
            tokens.iter().flat_map(|&token| model.embed(token).unwrap()).collect()
        };
        let (last, first) = golden.tokens.split_last().unwrap();
        let (mut plain, mut filled) = (model.cache(), model.cache());
        model.blocks(&mut plain, 0, &mut embed(first)).unwrap();
        model.fill(&mut filled, 0, &mut embed(first)).unwrap();
        let mut expected = embed(&[*last]);
        model.blocks(&mut plain, first.len(), &mut expected).unwrap();
        for kept in [0, 1, first.len() / 2, first.len()] {
            let mut cache = filled.prefix(kept);
            assert_eq!(cache.length(), kept);
            if kept < first.len() {
                model.fill(&mut cache, kept, &mut embed(&first[kept..])).unwrap();
            }
            let mut x = embed(&[*last]);
            model.blocks(&mut cache, first.len(), &mut x).unwrap();
            assert_eq!(x, expected, "{name}: {kept} positions kept");
        }
    }
}

#[test]
fn greedy_tokens_are_those_of_float64() {
    for name in NAMES {
        for mode in [Mode::Fast, Mode::Exact] {
            let golden = Golden::read(name);
            let model = model(&golden.config, mode);
            let mut cache = model.cache();
            let (mut tokens, mut found) = (golden.tokens.clone(), Vec::new());
            while found.len() < golden.greedy.len() {
                let mut x: Vec<f32> =
                    tokens.iter().flat_map(|&token| model.embed(token).unwrap()).collect();
                let position = cache.length();
                model.blocks(&mut cache, position, &mut x).unwrap();
                let last = &x[x.len() - golden.config.hidden..];
                found.push(greedy(&model.logits(last).unwrap()));
                tokens = found[found.len() - 1..].to_vec();
            }
            assert_eq!(found, golden.greedy, "{name} {mode:?}");
        }
    }
}

#[test]
fn parts_compute_what_the_whole_computes() {
    for name in NAMES {
        let golden = Golden::read(name);
        let config = &golden.config;
        let whole = Part::whole(config);
        let first = model_of_part(config, Part { end_block: 1, head: false, ..whole }, Mode::Fast);
        let last =
            model_of_part(config, Part { first_block: 1, embed: false, ..whole }, Mode::Fast);
        let all = model(config, Mode::Fast);
        let (mut a, mut b, mut c) = (first.cache(), last.cache(), all.cache());
        for (position, &token) in golden.tokens.iter().enumerate() {
            let mut x = first.embed(token).unwrap();
            let mut y = x.clone();
            first.blocks(&mut a, position, &mut x).unwrap();
            last.blocks(&mut b, position, &mut x).unwrap();
            all.blocks(&mut c, position, &mut y).unwrap();
            assert_eq!(x, y);
            assert_eq!(last.logits(&x), all.logits(&y));
        }
        assert!(first.logits(&vec![0.0; config.hidden]).is_none());
        assert!(last.embed(0).is_none() || config.tied);
    }
}
