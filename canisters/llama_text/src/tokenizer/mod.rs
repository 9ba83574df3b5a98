//! Text to tokens and back, as `tokenizer.json` says.
//!
//! Byte-pair encoding of two kinds: byte-level (SmolLM2, Llama 3, Qwen2, Qwen3), and on characters
//! with a fallback to bytes (Llama 2, TinyLlama, Mistral). Everything else is refused.
//!
//! Loading takes memory in proportion to the file. Encoding n bytes takes memory in proportion to n
//! and at most n log n steps, whatever the text.

mod added;
mod bytes;
mod component;
mod error;
mod file;
mod merges;
mod packed;
mod pipeline;
mod split;
mod tables;
mod unicode;
mod vocabulary;

use added::AddedTokens;
use merges::{Merger, Merges};
use pipeline::{Form, Normalize, SPACE_MARK};
use split::Split;
use vocabulary::Vocabulary;

pub use error::TokenizerError;

/// A tokenizer.
pub struct Tokenizer {
    vocabulary: Vocabulary,
    merges: Merges,
    /// Added tokens that are looked for in the text as given.
    raw: AddedTokens,
    /// Added tokens that are looked for in the normalized text.
    normalized: AddedTokens,
    /// Special tokens, in order.
    special: Vec<u32>,
    normalize: Vec<Normalize>,
    form: Form,
    splits: Vec<Split>,
    /// Tokens of the bytes' own characters.
    bytes: Box<[Option<u32>; 256]>,
    unknown: Option<u32>,
    fuse_unknown: bool,
    fallback: Option<Box<[u32; 256]>>,
    ignore_merges: bool,
    strip: bool,
    before: Vec<u32>,
    after: Vec<u32>,
}

fn bytes_of(vocabulary: &Vocabulary) -> Box<[Option<u32>; 256]> {
    let alphabet = bytes::alphabet();
    Box::new(alphabet.map(|character| vocabulary.find(character.encode_utf8(&mut [0; 4]))))
}

impl Tokenizer {
    /// Parse `tokenizer.json`.
    ///
    /// # Errors
    /// Refuses every tokenizer that would not encode exactly as the file says.
    pub fn from_json(bytes: &[u8]) -> Result<Self, TokenizerError> {
        file::parse(bytes)
    }

    /// Turn a text into tokens, without those that the template puts around it.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut encoder =
            Encoder { tokenizer: self, merger: Merger::default(), tokens: Vec::new() };
        let mut first = true;
        self.raw.split(text, |text, token| {
            if !text.is_empty() {
                encoder.normalize(text, first);
            }
            first = false;
            encoder.tokens.extend(token);
        });
        encoder.tokens
    }

    /// Put the template's tokens around a text's tokens, such as one that begins every text.
    pub fn in_template(&self, tokens: &[u32]) -> Vec<u32> {
        [&self.before, tokens, &self.after].concat()
    }

    /// Return the token of a text that is a token as a whole.
    pub fn token(&self, text: &str) -> Option<u32> {
        let added = [&self.raw, &self.normalized];
        let found = self.vocabulary.find(text);
        found.or_else(|| added.into_iter().find_map(|added| added.find(text)))
    }

    /// Return whether a token is special: a sign to the model, no text.
    pub fn is_special(&self, token: u32) -> bool {
        self.special.binary_search(&token).is_ok()
    }

    /// Return the text of tokens as bytes, without special tokens and numbers that are no token.
    ///
    /// Tokens may end inside a character.
    pub fn decode(&self, tokens: &[u32]) -> Vec<u8> {
        let mut text = Vec::new();
        let alphabet = bytes::alphabet();
        for &token in tokens.iter().filter(|token| !self.is_special(**token)) {
            self.append(token, &alphabet, &mut text);
        }
        if self.strip && text.first() == Some(&b' ') {
            text.remove(0);
        }
        text
    }

    /// Return the bytes that a token adds to a text.
    pub fn bytes(&self, token: u32) -> Vec<u8> {
        let mut text = Vec::new();
        if !self.is_special(token) {
            self.append(token, &bytes::alphabet(), &mut text);
        }
        text
    }

    fn append(&self, token: u32, alphabet: &[char; 256], to: &mut Vec<u8>) {
        let added = self.raw.text(token).or_else(|| self.normalized.text(token));
        let Some(text) = added.or_else(|| self.vocabulary.get(token)) else { return };
        match (self.form, &self.fallback) {
            (Form::Bytes, _) => bytes::append_decoded(alphabet, text, to),
            (_, Some(fallback)) if text.len() == 6 && fallback.contains(&token) => {
                to.extend(u8::from_str_radix(&text[3..5], 16));
            }
            _ => to.extend_from_slice(text.replace(SPACE_MARK, " ").as_bytes()),
        }
    }
}

struct Encoder<'a> {
    tokenizer: &'a Tokenizer,
    merger: Merger,
    tokens: Vec<u32>,
}

impl Encoder<'_> {
    fn normalize(&mut self, text: &str, first: bool) {
        let tokenizer = self.tokenizer;
        let mut changed;
        let mut text = text;
        for step in &tokenizer.normalize {
            changed = step.apply(text, first);
            text = &changed;
        }
        tokenizer.normalized.split(text, |text, token| {
            if !text.is_empty() {
                match tokenizer.form {
                    Form::Bytes => split::split(&tokenizer.splits, text, &mut |word| {
                        self.byte_word(word);
                    }),
                    Form::Characters => self.character_word(text),
                }
            }
            self.tokens.extend(token);
        });
    }

    fn byte_word(&mut self, word: &str) {
        let tokenizer = self.tokenizer;
        if tokenizer.ignore_merges {
            let alphabet = bytes::alphabet();
            let written: String = word.bytes().map(|byte| alphabet[usize::from(byte)]).collect();
            if let Some(token) = tokenizer.vocabulary.find(&written) {
                self.tokens.push(token);
                return;
            }
        }
        let mut unknown = false;
        for byte in word.bytes() {
            unknown = self.symbol(tokenizer.bytes[usize::from(byte)], unknown);
        }
        self.merger.finish(&tokenizer.merges, &mut self.tokens);
    }

    fn character_word(&mut self, word: &str) {
        let tokenizer = self.tokenizer;
        if tokenizer.ignore_merges
            && let Some(token) = tokenizer.vocabulary.find(word)
        {
            self.tokens.push(token);
            return;
        }
        let mut unknown = false;
        for character in word.chars() {
            let mut buffer = [0; 4];
            let written = character.encode_utf8(&mut buffer);
            match (tokenizer.vocabulary.find(written), &tokenizer.fallback) {
                (None, Some(fallback)) => {
                    written.bytes().for_each(|byte| self.merger.push(fallback[usize::from(byte)]));
                }
                (token, _) => unknown = self.symbol(token, unknown),
            }
        }
        self.merger.finish(&tokenizer.merges, &mut self.tokens);
    }

    /// Push a symbol, or the unknown token; returns whether it was unknown.
    fn symbol(&mut self, token: Option<u32>, after_unknown: bool) -> bool {
        let fused = after_unknown && self.tokenizer.fuse_unknown;
        match (token, self.tokenizer.unknown) {
            (Some(token), _) => self.merger.push(token),
            (None, Some(unknown)) if !fused => self.merger.push(unknown),
            _ => {}
        }
        token.is_none()
    }
}
