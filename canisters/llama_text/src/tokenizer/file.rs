//! `tokenizer.json` as a whole.

use std::borrow::Cow;

use super::Tokenizer;
use super::added::AddedTokens;
use super::component::{Component, Pattern};
use super::error::{TokenizerError, invalid, unsupported};
use super::merges::Merges;
use super::pipeline::{Form, Normalize, Prepend, SPACE_MARK};
use super::split::{GPT2, LLAMA3, QWEN2, Split};
use super::vocabulary::Vocabulary;
use crate::json::{JsonError, Reader};

/// Added tokens, at most.
const MAX_ADDED: usize = 1 << 14;
/// Bytes of an added token, at most: each position of a prompt is compared with so many.
const MAX_ADDED_BYTES: usize = 256;
/// Tokens of a template before and after a text, at most.
const MAX_TEMPLATE: usize = 16;

#[derive(Default)]
struct File<'a> {
    added: Vec<Added>,
    normalizer: Option<Component>,
    pre_tokenizer: Option<Component>,
    post_processor: Option<Component>,
    decoder: Option<Component>,
    model: Fields<'a>,
}

#[derive(Default)]
struct Added {
    text: String,
    token: u32,
    special: bool,
    normalized: bool,
    /// Some flag asks for more than finding the text.
    conditional: bool,
}

#[derive(Default)]
struct Fields<'a> {
    kind: String,
    unknown: Option<String>,
    fuse_unknown: bool,
    byte_fallback: bool,
    ignore_merges: bool,
    affix: bool,
    dropout: bool,
    vocabulary: Option<Vocabulary>,
    merges: Option<Merges>,
    /// Where the merges are, if they came before the vocabulary.
    deferred: Option<Reader<'a>>,
}

fn text(reader: &mut Reader<'_>) -> Result<Option<String>, JsonError> {
    if reader.null() { Ok(None) } else { Ok(Some(reader.string()?.into())) }
}

/// Read `true`; `false` and `null` are false.
fn flag(reader: &mut Reader<'_>) -> Result<bool, JsonError> {
    if reader.null() { Ok(false) } else { reader.boolean() }
}

impl<'a> File<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, TokenizerError> {
        let mut file = Self::default();
        let mut reader = Reader::new(bytes)?;
        reader.object(|key, reader| {
            match key {
                "added_tokens" => reader.array(|reader| {
                    if file.added.len() == MAX_ADDED {
                        return invalid("too many added tokens");
                    }
                    file.added.push(Added::read(reader)?);
                    Ok(())
                })?,
                "normalizer" => file.normalizer = Component::read(reader)?,
                "pre_tokenizer" => file.pre_tokenizer = Component::read(reader)?,
                "post_processor" => file.post_processor = Component::read(reader)?,
                "decoder" => file.decoder = Component::read(reader)?,
                "model" => reader.object(|key, reader| file.model.member(key, reader))?,
                _ => reader.skip()?,
            }
            Ok::<_, TokenizerError>(())
        })?;
        reader.end()?;
        Ok(file)
    }
}

impl Added {
    fn read(reader: &mut Reader<'_>) -> Result<Self, JsonError> {
        let mut added = Self::default();
        reader.object(|key, reader| {
            match key {
                "content" => added.text = reader.string()?.into(),
                "id" => added.token = reader.unsigned()?,
                "special" => added.special = flag(reader)?,
                "normalized" => added.normalized = flag(reader)?,
                "single_word" | "lstrip" | "rstrip" => added.conditional |= flag(reader)?,
                _ => reader.skip()?,
            }
            Ok::<_, JsonError>(())
        })?;
        Ok(added)
    }
}

impl<'a> Fields<'a> {
    fn member(&mut self, key: &str, reader: &mut Reader<'a>) -> Result<(), TokenizerError> {
        match key {
            "type" => self.kind = text(reader)?.unwrap_or_default(),
            "unk_token" => self.unknown = text(reader)?,
            "fuse_unk" => self.fuse_unknown = flag(reader)?,
            "byte_fallback" => self.byte_fallback = flag(reader)?,
            "ignore_merges" => self.ignore_merges = flag(reader)?,
            "continuing_subword_prefix" | "end_of_word_suffix" => {
                self.affix |= text(reader)?.is_some_and(|text| !text.is_empty());
            }
            "dropout" => {
                self.dropout = !reader.null();
                if self.dropout {
                    reader.skip()?;
                }
            }
            "vocab" => self.vocabulary = Some(read_vocabulary(reader)?),
            "merges" => match &self.vocabulary {
                Some(vocabulary) => self.merges = Some(read_merges(reader, vocabulary)?),
                None => {
                    self.deferred = Some(reader.clone());
                    reader.skip()?;
                }
            },
            _ => reader.skip()?,
        }
        Ok(())
    }

    fn check(&self) -> Result<(), TokenizerError> {
        if self.kind != "BPE" && !self.kind.is_empty() {
            return unsupported(format!("model {}", self.kind));
        }
        if self.affix {
            return unsupported("continuing_subword_prefix or end_of_word_suffix");
        }
        if self.dropout { unsupported("dropout") } else { Ok(()) }
    }

    fn finish(&mut self) -> Result<(Vocabulary, Merges), TokenizerError> {
        let Some(vocabulary) = self.vocabulary.take() else { return invalid("there is no vocab") };
        match (self.merges.take(), &mut self.deferred) {
            (Some(merges), _) => Ok((vocabulary, merges)),
            (None, Some(reader)) => {
                let merges = read_merges(reader, &vocabulary)?;
                Ok((vocabulary, merges))
            }
            (None, None) => invalid("there are no merges"),
        }
    }
}

fn read_vocabulary(reader: &mut Reader<'_>) -> Result<Vocabulary, TokenizerError> {
    let mut vocabulary = Vocabulary::default();
    reader.object(|text, reader| vocabulary.add(text, reader.unsigned()?))?;
    vocabulary.finish()?;
    Ok(vocabulary)
}

fn read_merges(reader: &mut Reader<'_>, vocabulary: &Vocabulary) -> Result<Merges, TokenizerError> {
    let mut merges = Merges::default();
    reader.array(|reader| {
        if reader.peek() != b'[' {
            let pair = reader.string()?;
            let space = pair.bytes().position(|byte| byte == b' ').unwrap_or(pair.len());
            let right = pair.get(space + 1..).unwrap_or("");
            return add_merge(&mut merges, vocabulary, [&pair[..space], right]);
        }
        let (mut pair, mut count) = ([const { Cow::Borrowed("") }; 2], 0);
        reader.array(|reader| {
            let text = reader.string()?;
            match pair.get_mut(count) {
                Some(place) => *place = text,
                None => return invalid("a merge of more than two tokens"),
            }
            count += 1;
            Ok(())
        })?;
        add_merge(&mut merges, vocabulary, [&pair[0], &pair[1]])
    })?;
    merges.finish();
    Ok(merges)
}

fn add_merge(
    merges: &mut Merges,
    vocabulary: &Vocabulary,
    pair: [&str; 2],
) -> Result<(), TokenizerError> {
    let [left, right] = pair.map(|text| vocabulary.find(text));
    match (left, right, vocabulary.find_joined(pair)) {
        (Some(left), Some(right), Some(token)) => {
            merges.add(left, right, token);
            Ok(())
        }
        _ => invalid(format!("the merge of {pair:?} has a token that is not in vocab")),
    }
}

/// Parse `tokenizer.json`.
pub(super) fn parse(bytes: &[u8]) -> Result<Tokenizer, TokenizerError> {
    let mut file = File::read(bytes)?;
    file.model.check()?;
    let (vocabulary, merges) = file.model.finish()?;
    let (mut normalize, (form, splits, prepend)) =
        (normalizers(file.normalizer.as_ref())?, pre_tokenizers(file.pre_tokenizer.as_ref())?);
    if let Some(prepend) = prepend {
        normalize.extend([Normalize::ReplaceSpace, Normalize::Prepend(prepend)]);
    }
    if form == Form::Bytes && normalize.iter().any(|step| *step != Normalize::Nfc) {
        return unsupported("ByteLevel after Prepend or Replace");
    }
    let unknown = match &file.model.unknown {
        None => None,
        Some(text) => match vocabulary.find(text) {
            None => return invalid("unk_token is not in vocab"),
            found => found,
        },
    };
    let fallback = file.model.byte_fallback.then(|| fallback(&vocabulary)).transpose()?;
    let strip = decoder(file.decoder.as_ref(), form)?;
    let (before, after) = template(file.post_processor.as_ref())?;
    let special = file.added.iter().filter(|added| added.special).map(|added| added.token);
    let mut special: Vec<u32> = special.collect();
    special.sort_unstable();
    let (raw, normalized) = added_tokens(file.added, &vocabulary, &normalize)?;
    Ok(Tokenizer {
        bytes: super::bytes_of(&vocabulary),
        vocabulary,
        merges,
        raw,
        normalized,
        special,
        normalize,
        form,
        splits,
        unknown,
        fuse_unknown: file.model.fuse_unknown,
        fallback,
        ignore_merges: file.model.ignore_merges,
        strip,
        before,
        after,
    })
}

fn normalizers(component: Option<&Component>) -> Result<Vec<Normalize>, TokenizerError> {
    let parts = component.map_or_else(Vec::new, Component::flat);
    let step = |part: &Component| match (part.kind.as_str(), &part.pattern, part.text.as_deref()) {
        ("NFC", ..) => Ok(Normalize::Nfc),
        ("Prepend", _, Some(SPACE_MARK)) => Ok(Normalize::Prepend(Prepend::Unconditional)),
        ("Replace", Some(Pattern::Text(from)), Some(SPACE_MARK)) if from == " " => {
            Ok(Normalize::ReplaceSpace)
        }
        (kind, ..) => unsupported(format!("normalizer {kind}")),
    };
    parts.into_iter().map(step).collect()
}

type PreTokenizers = (Form, Vec<Split>, Option<Prepend>);

fn pre_tokenizers(component: Option<&Component>) -> Result<PreTokenizers, TokenizerError> {
    let (mut splits, mut form, mut prepend) = (Vec::new(), Form::Characters, None);
    for part in component.map_or_else(Vec::new, Component::flat) {
        if form == Form::Bytes || prepend.is_some() {
            return unsupported(format!("pre-tokenizer {} after the last", part.kind));
        }
        match part.kind.as_str() {
            "Digits" if part.individual_digits => splits.push(Split::Digits),
            "ByteLevel" if part.add_prefix_space == Some(false) => {
                form = Form::Bytes;
                if part.use_regex != Some(false) {
                    splits.push(Split::Gpt2);
                }
            }
            "Split" if part.behavior.as_deref() == Some("Isolated") && !part.invert => {
                splits.push(match &part.pattern {
                    Some(Pattern::Regex(regex)) if regex == GPT2 => Split::Gpt2,
                    Some(Pattern::Regex(regex)) if regex == LLAMA3 => Split::Tiktoken { digits: 3 },
                    Some(Pattern::Regex(regex)) if regex == QWEN2 => Split::Tiktoken { digits: 1 },
                    _ => return unsupported("the pattern of pre-tokenizer Split"),
                });
            }
            "Metaspace"
                if part.split == Some(false) && part.text.as_deref() == Some(SPACE_MARK) =>
            {
                prepend = Some(match part.prepend_scheme.as_deref() {
                    Some("always") => Prepend::Always,
                    Some("first") => Prepend::First,
                    Some("never") => Prepend::Never,
                    _ => return unsupported("the prepend_scheme of pre-tokenizer Metaspace"),
                });
            }
            kind => return unsupported(format!("pre-tokenizer {kind} with its options")),
        }
    }
    if form == Form::Characters && !splits.is_empty() {
        return unsupported("pre-tokenizers without ByteLevel");
    }
    Ok((form, splits, prepend))
}

fn fallback(vocabulary: &Vocabulary) -> Result<Box<[u32; 256]>, TokenizerError> {
    let mut tokens = Box::new([0; 256]);
    for (byte, token) in tokens.iter_mut().enumerate() {
        match vocabulary.find(&format!("<0x{byte:02X}>")) {
            Some(found) => *token = found,
            None => return invalid(format!("byte_fallback without a token for byte {byte}")),
        }
    }
    Ok(tokens)
}

/// Check the decoder and return whether it strips one leading space.
fn decoder(component: Option<&Component>, form: Form) -> Result<bool, TokenizerError> {
    let mut strip = false;
    let parts = component.map_or_else(Vec::new, Component::flat);
    if parts.is_empty() {
        return unsupported("no decoder");
    }
    for part in parts {
        match (part.kind.as_str(), form) {
            ("ByteLevel", Form::Bytes) | ("ByteFallback" | "Fuse", Form::Characters) => {}
            ("Replace", Form::Characters) if part.text.as_deref() == Some(" ") => {}
            ("Strip", Form::Characters)
                if part.text.as_deref() == Some(" ") && (part.start, part.stop) == (1, 0) =>
            {
                strip = true;
            }
            ("Metaspace", Form::Characters) => {
                strip = part.prepend_scheme.as_deref() != Some("never");
            }
            (kind, _) => return unsupported(format!("decoder {kind} with its options")),
        }
    }
    Ok(strip)
}

type Template = (Vec<u32>, Vec<u32>);

fn template(component: Option<&Component>) -> Result<Template, TokenizerError> {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for part in component.map_or_else(Vec::new, Component::flat) {
        match part.kind.as_str() {
            "ByteLevel" => {}
            "TemplateProcessing" => {
                for (names, to) in [(&part.before, &mut before), (&part.after, &mut after)] {
                    for name in names {
                        match part.special.iter().find(|(special, _)| special == name) {
                            Some((_, tokens)) => to.extend_from_slice(tokens),
                            None => return invalid(format!("template token {name:?} is unknown")),
                        }
                    }
                }
            }
            kind => return unsupported(format!("post-processor {kind}")),
        }
    }
    if before.len() + after.len() > MAX_TEMPLATE {
        return invalid("the template is too long");
    }
    Ok((before, after))
}

fn added_tokens(
    added: Vec<Added>,
    vocabulary: &Vocabulary,
    normalize: &[Normalize],
) -> Result<(AddedTokens, AddedTokens), TokenizerError> {
    let (mut raw, mut normalized) = (Vec::new(), Vec::new());
    for Added { text, token, normalized: after, conditional, .. } in added {
        if text.is_empty() || text.len() > MAX_ADDED_BYTES {
            return invalid(format!("added token {token} has {} bytes", text.len()));
        }
        if vocabulary.find(&text).is_some_and(|found| found != token) {
            return invalid(format!("added token {text:?} has two numbers"));
        }
        if conditional {
            return unsupported(format!("added token {text:?} with single_word, lstrip or rstrip"));
        }
        let unchanged = normalize.iter().all(|step| *step == Normalize::Nfc) && text.is_ascii();
        if after && !unchanged {
            return unsupported(format!("added token {text:?} that is normalized"));
        }
        if after { &mut normalized } else { &mut raw }.push((text, token));
    }
    Ok((AddedTokens::new(raw), AddedTokens::new(normalized)))
}
