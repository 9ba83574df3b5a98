//! The parts of `tokenizer.json` beside the model, as written.

use super::error::TokenizerError;
use crate::json::{JsonError, Reader};

/// A normalizer, pre-tokenizer, post-processor or decoder with the fields that matter here.
#[derive(Clone, Debug, Default)]
pub(super) struct Component {
    pub(super) kind: String,
    /// Of a `Sequence`.
    pub(super) parts: Vec<Component>,
    pub(super) pattern: Option<Pattern>,
    pub(super) text: Option<String>,
    pub(super) behavior: Option<String>,
    pub(super) prepend_scheme: Option<String>,
    pub(super) invert: bool,
    pub(super) add_prefix_space: Option<bool>,
    pub(super) use_regex: Option<bool>,
    pub(super) individual_digits: bool,
    pub(super) split: Option<bool>,
    pub(super) start: u32,
    pub(super) stop: u32,
    /// Of a `TemplateProcessing`: the special tokens before and after the text.
    pub(super) before: Vec<String>,
    pub(super) after: Vec<String>,
    /// Of a `TemplateProcessing`: the numbers of its special tokens.
    pub(super) special: Vec<(String, Vec<u32>)>,
}

/// A pattern of `Split` or `Replace`.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    /// Plain text.
    Text(String),
    /// A regular expression.
    Regex(String),
}

impl Component {
    /// Read a component, or nothing where there is `null`.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, TokenizerError> {
        if reader.null() {
            return Ok(None);
        }
        let mut found = Self::default();
        reader.object(|key, reader| found.member(key, reader))?;
        Ok(Some(found))
    }

    /// List the parts of sequences, from the inside out, or the component itself.
    pub(super) fn flat(&self) -> Vec<&Self> {
        if self.kind == "Sequence" {
            self.parts.iter().flat_map(Self::flat).collect()
        } else {
            vec![self]
        }
    }

    fn member(&mut self, key: &str, reader: &mut Reader<'_>) -> Result<(), TokenizerError> {
        match (key, reader.peek()) {
            ("type", _) => self.kind = reader.string()?.into(),
            ("normalizers" | "pretokenizers" | "processors" | "decoders", _) => {
                reader.array(|reader| {
                    self.parts.extend(Self::read(reader)?);
                    Ok::<_, TokenizerError>(())
                })?;
            }
            ("pattern", b'{') => reader.object(|key, reader| {
                let text = reader.string()?.into();
                self.pattern =
                    Some(if key == "Regex" { Pattern::Regex(text) } else { Pattern::Text(text) });
                Ok::<_, JsonError>(())
            })?,
            ("content" | "prepend" | "replacement", b'"') => {
                self.text = Some(reader.string()?.into());
            }
            ("behavior", b'"') => self.behavior = Some(reader.string()?.into()),
            ("prepend_scheme", b'"') => self.prepend_scheme = Some(reader.string()?.into()),
            ("invert", b't' | b'f') => self.invert = reader.boolean()?,
            ("add_prefix_space", b't' | b'f') => self.add_prefix_space = Some(reader.boolean()?),
            ("use_regex", b't' | b'f') => self.use_regex = Some(reader.boolean()?),
            ("individual_digits", b't' | b'f') => self.individual_digits = reader.boolean()?,
            ("split", b't' | b'f') => self.split = Some(reader.boolean()?),
            ("start", b'0'..=b'9') => self.start = reader.unsigned()?,
            ("stop", b'0'..=b'9') => self.stop = reader.unsigned()?,
            ("single", b'[') => self.template(reader)?,
            ("special_tokens", b'{') => reader.object(|key, reader| {
                let mut tokens = Vec::new();
                reader.object(|key, reader| {
                    if key != "ids" {
                        return reader.skip();
                    }
                    reader.array(|reader| {
                        tokens.push(reader.unsigned()?);
                        Ok::<_, JsonError>(())
                    })
                })?;
                self.special.push((key.into(), tokens));
                Ok::<_, JsonError>(())
            })?,
            _ => reader.skip()?,
        }
        Ok(())
    }

    /// Read the pieces of a template: special tokens around one sequence.
    fn template(&mut self, reader: &mut Reader<'_>) -> Result<(), JsonError> {
        let mut text_seen = false;
        reader.array(|reader| {
            reader.object(|kind, reader| {
                let mut name = String::new();
                reader.object(|key, reader| {
                    if key != "id" {
                        return reader.skip();
                    }
                    name = reader.string()?.into();
                    Ok(())
                })?;
                match (kind, text_seen) {
                    ("Sequence", _) => text_seen = true,
                    (_, false) => self.before.push(name),
                    (_, true) => self.after.push(name),
                }
                Ok(())
            })
        })
    }
}
