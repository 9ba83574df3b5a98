//! A strict pull parser of JSON: no tree, bounded depth, strings borrowed where they have no escape.

use std::borrow::Cow;
use std::fmt;

use crate::decimal::decimal;

/// Objects and arrays may be nested this deep.
const MAX_DEPTH: usize = 64;

/// Bytes that are not the JSON that was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// Position of the offending byte.
    pub at: usize,
    /// The value or character that was expected there.
    pub expected: &'static str,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid JSON at byte {}: expected {}", self.at, self.expected)
    }
}

impl std::error::Error for JsonError {}

/// A position in a JSON text.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// Start at the beginning of UTF-8 bytes.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, JsonError> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| JsonError { at: error.valid_up_to(), expected: "UTF-8" })?;
        Ok(Self { text, at: 0, depth: 0 })
    }

    /// Return the first byte of the next value, or 0 at the end.
    pub(crate) fn peek(&mut self) -> u8 {
        let rest = &self.text.as_bytes()[self.at..];
        for (skipped, &byte) in rest.iter().enumerate() {
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                self.at += skipped;
                return byte;
            }
        }
        self.at = self.text.len();
        0
    }

    /// Require that nothing but white space is left.
    pub(crate) fn end(&mut self) -> Result<(), JsonError> {
        self.peek();
        if self.at == self.text.len() { Ok(()) } else { self.fail("the end") }
    }

    fn fail<T>(&self, expected: &'static str) -> Result<T, JsonError> {
        Err(JsonError { at: self.at, expected })
    }

    fn take(&mut self, byte: u8, expected: &'static str) -> Result<(), JsonError> {
        if self.peek() != byte {
            return self.fail(expected);
        }
        self.at += 1;
        Ok(())
    }

    fn take_if(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte;
        self.at += usize::from(found);
        found
    }

    fn nested<E: From<JsonError>>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.depth == MAX_DEPTH {
            return Err(JsonError { at: self.at, expected: "fewer levels" }.into());
        }
        self.depth += 1;
        read(self)?;
        self.depth -= 1;
        Ok(())
    }

    /// Read an object; `member` must consume each value.
    pub(crate) fn object<E: From<JsonError>>(
        &mut self,
        mut member: impl FnMut(&str, &mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.take(b'{', "an object")?;
        if self.take_if(b'}') {
            return Ok(());
        }
        self.nested(|reader| {
            loop {
                let key = reader.string()?;
                reader.take(b':', "a colon")?;
                member(&key, reader)?;
                if !reader.take_if(b',') {
                    return Ok(reader.take(b'}', "the end of an object")?);
                }
            }
        })
    }

    /// Read an array; `element` must consume each value.
    pub(crate) fn array<E: From<JsonError>>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.take(b'[', "an array")?;
        if self.take_if(b']') {
            return Ok(());
        }
        self.nested(|reader| {
            loop {
                element(reader)?;
                if !reader.take_if(b',') {
                    return Ok(reader.take(b']', "the end of an array")?);
                }
            }
        })
    }

    /// Read a string.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.take(b'"', "a string")?;
        let start = self.at;
        self.plain();
        if self.text.as_bytes().get(self.at) == Some(&b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(&self.text[start..self.at - 1]));
        }
        let mut owned = String::from(&self.text[start..self.at]);
        loop {
            match self.text.as_bytes().get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(owned));
                }
                Some(b'\\') => {
                    self.at += 1;
                    owned.push(self.escape()?);
                }
                _ => return self.fail("the end of a string"),
            }
            let start = self.at;
            self.plain();
            owned.push_str(&self.text[start..self.at]);
        }
    }

    /// Skip characters that stand for themselves.
    fn plain(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        let plain = rest.iter().position(|&byte| byte < b' ' || byte == b'"' || byte == b'\\');
        self.at += plain.unwrap_or(rest.len());
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let byte = self.text.as_bytes().get(self.at).copied();
        self.at += 1;
        Ok(match byte {
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'u') => return self.unicode(),
            _ => return self.fail("an escape"),
        })
    }

    /// Read the digits of `\u`, and the low half of a surrogate pair after a high one.
    fn unicode(&mut self) -> Result<char, JsonError> {
        let mut code = self.hex()?;
        if (0xd800..0xdc00).contains(&code) {
            if !self.text[self.at..].starts_with("\\u") {
                return self.fail("the other half of a surrogate pair");
            }
            self.at += 2;
            let low = self.hex()?;
            if !(0xdc00..0xe000).contains(&low) {
                return self.fail("the other half of a surrogate pair");
            }
            code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }
        char::from_u32(code).map_or_else(|| self.fail("a character"), Ok)
    }

    fn hex(&mut self) -> Result<u32, JsonError> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).unwrap_or(b"");
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
            return self.fail("four hexadecimal digits");
        }
        let value = digits
            .iter()
            .fold(0, |value, &digit| value << 4 | char::from(digit).to_digit(16).unwrap_or(0));
        self.at += 4;
        Ok(value)
    }

    /// Read a number; see `decimal` for which are too long.
    pub(crate) fn number(&mut self) -> Result<f64, JsonError> {
        self.peek();
        let rest = &self.text.as_bytes()[self.at..];
        let length =
            rest.iter().take_while(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte)).count();
        match decimal(&self.text[self.at..self.at + length]) {
            Some(value) => {
                self.at += length;
                Ok(value)
            }
            None => self.fail("a number of at most 19 digits and an exponent of at most 27"),
        }
    }

    /// Read a non-negative integer.
    pub(crate) fn unsigned(&mut self) -> Result<u32, JsonError> {
        self.peek();
        let start = self.at;
        let mut value = Some(0_u32);
        while let Some(digit @ b'0'..=b'9') = self.text.as_bytes().get(self.at) {
            let digit = u32::from(digit - b'0');
            value = value.and_then(|value| value.checked_mul(10)?.checked_add(digit));
            self.at += 1;
        }
        let is_integer = !matches!(self.text.as_bytes().get(self.at), Some(b'.' | b'e' | b'E'));
        match value {
            Some(value) if self.at > start && is_integer => Ok(value),
            _ => self.fail("an integer from 0 to 4294967295"),
        }
    }

    /// Read `true` or `false`.
    pub(crate) fn boolean(&mut self) -> Result<bool, JsonError> {
        if self.word("true") {
            Ok(true)
        } else if self.word("false") {
            Ok(false)
        } else {
            self.fail("true or false")
        }
    }

    /// Read `null` if it is next.
    pub(crate) fn null(&mut self) -> bool {
        self.word("null")
    }

    fn word(&mut self, word: &str) -> bool {
        self.peek();
        let found = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        self.at += if found { word.len() } else { 0 };
        found
    }

    /// Read any value and drop it.
    pub(crate) fn skip(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            b'{' => self.object(|_, reader| reader.skip()),
            b'[' => self.array(Reader::skip),
            b'"' => self.string().map(drop),
            b't' | b'f' => self.boolean().map(drop),
            b'n' if self.null() => Ok(()),
            _ => self.number().map(drop),
        }
    }
}
