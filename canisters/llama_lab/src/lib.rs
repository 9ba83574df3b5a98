//! Exports the crates to a host that has no IC: for tests of the WebAssembly form and its counts.
//!
//! The host writes into memory from `allocate`, calls, and reads what `output` and `output_bytes`
//! say. A call that returns 1 has failed, and the output is a message.
#![allow(missing_docs, reason = "the host is tests/inference/lab.py")]

use std::cell::RefCell;
use std::fmt::Display;

use datanode_decode::Decoder;
use datanode_llama::{Cache, Config, Dtype, Mode, Model, Part, Tokenizer, Weights, greedy};

#[derive(Default)]
struct Lab {
    output: Vec<u8>,
    floats: Vec<f32>,
    config: Option<Config>,
    weights: Option<Weights>,
    model: Option<Model>,
    cache: Option<Cache>,
    tokenizer: Option<Tokenizer>,
    decoder: Decoder,
    raw: (usize, usize),
}

thread_local! {
    static LAB: RefCell<Lab> = RefCell::default();
}

fn with_lab<R>(work: impl FnOnce(&mut Lab) -> R) -> R {
    LAB.with_borrow_mut(work)
}

impl Lab {
    fn tell<T, E: Display>(&mut self, result: Result<T, E>) -> Result<T, u32> {
        result.map_err(|error| {
            self.output = error.to_string().into_bytes();
            1
        })
    }

    fn output_words(&mut self, words: impl IntoIterator<Item = [u8; 4]>) {
        self.output = words.into_iter().flatten().collect();
    }
}

fn code(result: Result<(), u32>) -> u32 {
    result.err().unwrap_or(0)
}

/// View bytes that the host wrote into memory from `allocate`.
fn given<'a>(start: *const u8, length: usize) -> &'a [u8] {
    // SAFETY: the host passes memory from `allocate` and releases none while a call runs.
    unsafe { std::slice::from_raw_parts(start, length) }
}

/// View f32 that the host wrote into memory from `allocate`.
fn given_floats<'a>(start: *const u8, length: usize) -> &'a [f32] {
    let start: *const f32 = start.cast();
    assert!(start.is_aligned(), "the allocator aligns to more than four bytes");
    // SAFETY: as in `given`; every bit pattern is an f32.
    unsafe { std::slice::from_raw_parts(start, length / 4) }
}

#[unsafe(no_mangle)]
pub extern "C" fn allocate(length: usize) -> *mut u8 {
    Box::leak(vec![0; length].into_boxed_slice()).as_mut_ptr()
}

/// Release memory from `allocate`.
///
/// # Safety
/// `start` and `length` must be of one call of `allocate`, and released once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn release(start: *mut u8, length: usize) {
    // SAFETY: the caller passes a whole allocation.
    drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(start, length)) });
}

#[unsafe(no_mangle)]
pub extern "C" fn output() -> *const u8 {
    with_lab(|lab| lab.output.as_ptr())
}

#[unsafe(no_mangle)]
pub extern "C" fn output_bytes() -> usize {
    with_lab(|lab| lab.output.len())
}

/// Decode a frame. Its raw bytes lie in the decoder, until the next frame, or in the frame.
#[unsafe(no_mangle)]
pub extern "C" fn decode_frame(frame: *const u8, length: usize) -> u32 {
    with_lab(|lab| {
        let decoded = lab.decoder.decode(given(frame, length));
        let place = decoded.map(|(_, raw)| (raw.as_ptr().addr(), raw.len()));
        code(lab.tell(place).map(|place| lab.raw = place))
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn raw() -> usize {
    with_lab(|lab| lab.raw.0)
}

#[unsafe(no_mangle)]
pub extern "C" fn raw_bytes() -> usize {
    with_lab(|lab| lab.raw.1)
}

/// Load `tokenizer.json`.
#[unsafe(no_mangle)]
pub extern "C" fn load_tokenizer(json: *const u8, length: usize) -> u32 {
    with_lab(|lab| {
        let loaded = lab.tell(Tokenizer::from_json(given(json, length)));
        code(loaded.map(|tokenizer| lab.tokenizer = Some(tokenizer)))
    })
}

/// Encode texts, each with a zero byte behind it. The output is each one's number of tokens and
/// then its tokens, u32.
#[unsafe(no_mangle)]
pub extern "C" fn encode(texts: *const u8, length: usize) -> u32 {
    with_lab(|lab| {
        let tokenizer = lab.tokenizer.as_ref().expect("a tokenizer");
        let texts = std::str::from_utf8(given(texts, length)).expect("UTF-8");
        let words: Vec<_> = texts
            .split_terminator('\0')
            .flat_map(|text| {
                let tokens = tokenizer.encode(text);
                let count = tokens.len() as u32;
                std::iter::once(count).chain(tokens).map(u32::to_le_bytes)
            })
            .collect();
        lab.output_words(words);
        0
    })
}

/// Decode u32 tokens.
#[unsafe(no_mangle)]
pub extern "C" fn decode(tokens: *const u8, length: usize) -> u32 {
    with_lab(|lab| {
        let tokens: Vec<_> = given(tokens, length)
            .as_chunks()
            .0
            .iter()
            .map(|&word| u32::from_le_bytes(word))
            .collect();
        lab.output = lab.tokenizer.as_ref().expect("a tokenizer").decode(&tokens);
        0
    })
}

/// Begin with the weights of blocks and, if wanted, embedding and head.
#[unsafe(no_mangle)]
pub extern "C" fn configure(
    json: *const u8,
    length: usize,
    exact: u32,
    first_block: usize,
    end_block: usize,
    embed: u32,
    head: u32,
) -> u32 {
    with_lab(|lab| {
        let config = lab.tell(Config::from_json(given(json, length)));
        code(config.map(|config| {
            let mode = if exact == 0 { Mode::Fast } else { Mode::Exact };
            let part = Part { first_block, end_block, embed: embed != 0, head: head != 0 };
            lab.weights = Some(Weights::new(&config, part, mode));
            lab.config = Some(config);
        }))
    })
}

/// Place elements of a tensor: 0 BF16, 1 F16, 2 F32.
#[unsafe(no_mangle)]
pub extern "C" fn place(
    name: *const u8,
    name_length: usize,
    first: u64,
    words: *const u8,
    length: usize,
    dtype: u32,
) -> u32 {
    with_lab(|lab| {
        let name = std::str::from_utf8(given(name, name_length)).expect("UTF-8");
        let dtype = [Dtype::Bf16, Dtype::F16, Dtype::F32][dtype as usize];
        let weights = lab.weights.as_mut().expect("a configuration");
        let placed = weights.place(name, first, given(words, length), dtype);
        code(lab.tell(placed).map(|_| ()))
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn finish() -> u32 {
    with_lab(|lab| {
        let finished = lab.weights.take().expect("weights").finish();
        code(lab.tell(finished).map(|model| {
            lab.cache = Some(model.cache());
            lab.model = Some(model);
        }))
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn floats() -> *const f32 {
    with_lab(|lab| lab.floats.as_ptr())
}

#[unsafe(no_mangle)]
pub extern "C" fn floats_bytes() -> usize {
    with_lab(|lab| size_of_val(lab.floats.as_slice()))
}

/// Compute the blocks for u32 tokens at a position; `floats` are their activations.
#[unsafe(no_mangle)]
pub extern "C" fn forward(position: usize, tokens: *const u8, length: usize) -> u32 {
    with_lab(|lab| {
        let model = lab.model.as_ref().expect("a model");
        let tokens = given(tokens, length).as_chunks().0.iter();
        let mut x: Vec<f32> = tokens
            .flat_map(|&word| model.embed(u32::from_le_bytes(word)).expect("a token"))
            .collect();
        let done = model.blocks(lab.cache.as_mut().expect("a cache"), position, &mut x);
        code(lab.tell(done).map(|()| lab.floats = x))
    })
}

/// Compute the blocks for the position of activations that are given; `floats` are the new ones.
#[unsafe(no_mangle)]
pub extern "C" fn forward_activations(position: usize, x: *const u8, length: usize) -> u32 {
    with_lab(|lab| {
        let mut x = given_floats(x, length).to_vec();
        let model = lab.model.as_ref().expect("a model");
        let done = model.blocks(lab.cache.as_mut().expect("a cache"), position, &mut x);
        code(lab.tell(done).map(|()| lab.floats = x))
    })
}

/// Compute the logits after one position's activations; `floats` are the logits.
#[unsafe(no_mangle)]
pub extern "C" fn logits(x: *const u8, length: usize) -> u32 {
    with_lab(|lab| {
        let x = given_floats(x, length);
        lab.floats = lab.model.as_ref().expect("a model").logits(x).expect("a head");
        0
    })
}

/// Generate tokens after u32 tokens, until the count or a token that ends the text. The output is
/// the tokens, u32.
#[unsafe(no_mangle)]
pub extern "C" fn generate(tokens: *const u8, length: usize, count: usize) -> u32 {
    with_lab(|lab| {
        let model = lab.model.as_ref().expect("a model");
        let mut cache = model.cache();
        let mut ahead: Vec<_> = given(tokens, length)
            .as_chunks()
            .0
            .iter()
            .map(|&word| u32::from_le_bytes(word))
            .collect();
        let mut found = Vec::new();
        while found.len() < count {
            let mut x: Vec<f32> =
                ahead.iter().flat_map(|&token| model.embed(token).expect("a token")).collect();
            let position = cache.length();
            model.blocks(&mut cache, position, &mut x).expect("a position");
            let last = &x[x.len() - model.config().hidden..];
            let token = greedy(&model.logits(last).expect("a head"));
            found.push(token);
            if model.config().end_tokens.contains(&token) {
                break;
            }
            ahead = vec![token];
        }
        lab.output_words(found.into_iter().map(u32::to_le_bytes));
        0
    })
}
