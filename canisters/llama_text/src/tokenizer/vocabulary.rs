//! Tokens by number and by text.
//!
//! Texts lie in one buffer and are found by their hashes, in order. A table leads to the few hashes
//! that begin alike; among them the search is binary, so that no choice of texts makes it slow.

use std::cmp::Ordering;

use super::error::{TokenizerError, invalid};

/// Numbers of tokens are below this.
const MAX_TOKENS: u32 = 1 << 20;
const ABSENT: (u32, u32) = (u32::MAX, 0);

/// Texts of tokens in the form that `tokenizer.json` gives them.
#[derive(Default)]
pub(super) struct Vocabulary {
    texts: Vec<u8>,
    /// Start and length by number.
    spans: Vec<(u32, u32)>,
    /// Hashes and tokens, in order of hashes, and of texts where hashes are equal.
    order: Vec<(u64, u32)>,
    /// For each beginning of a hash, how many hashes have a lower one; and how many there are.
    starts: Vec<u32>,
    /// Bits of a hash behind its beginning.
    shift: u32,
}

/// Hash the bytes of two texts, one behind the other (FNV-1a with its halves mixed at the end).
fn hash([left, right]: [&str; 2]) -> u64 {
    let add = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    let hash = left.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, add);
    let hash = right.as_bytes().iter().fold(hash, add);
    (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Vocabulary {
    /// Add a token.
    pub(super) fn add(&mut self, text: &str, token: u32) -> Result<(), TokenizerError> {
        if token >= MAX_TOKENS {
            return invalid(format!("token number {token} is not below {MAX_TOKENS}"));
        }
        let index = token as usize;
        if index >= self.spans.len() {
            self.spans.resize(index + 1, ABSENT);
        }
        if self.spans[index] != ABSENT {
            return invalid(format!("two tokens have the number {token}"));
        }
        self.spans[index] = (self.texts.len() as u32, text.len() as u32);
        self.texts.extend_from_slice(text.as_bytes());
        self.order.push((hash([text, ""]), token));
        Ok(())
    }

    /// Prepare for searches after the last token was added.
    pub(super) fn finish(&mut self) -> Result<(), TokenizerError> {
        if self.order.is_empty() {
            return invalid("vocab is empty");
        }
        let mut order = std::mem::take(&mut self.order);
        let compare = |a: &(u64, u32), b: &(u64, u32)| {
            a.0.cmp(&b.0).then_with(|| self.text(a.1).cmp(self.text(b.1)))
        };
        order.sort_unstable_by(compare);
        let twice = order.windows(2).find(|pair| compare(&pair[0], &pair[1]).is_eq());
        if let Some(pair) = twice {
            return invalid(format!("tokens {} and {} have one text", pair[0].1, pair[1].1));
        }
        self.order = order;
        self.index();
        Ok(())
    }

    fn index(&mut self) {
        let bits = (self.order.len() + 2).next_power_of_two().ilog2();
        self.shift = u64::BITS - bits;
        let mut begun = 0;
        self.starts = Vec::with_capacity((1 << bits) + 1);
        for (index, (hash, _)) in self.order.iter().enumerate() {
            while begun <= hash >> self.shift {
                self.starts.push(index as u32);
                begun += 1;
            }
        }
        self.starts.resize((1 << bits) + 1, self.order.len() as u32);
    }

    fn text(&self, token: u32) -> &[u8] {
        let (start, length) = self.spans.get(token as usize).copied().unwrap_or(ABSENT);
        let rest = self.texts.get(start as usize..).unwrap_or(b"");
        rest.get(..length as usize).unwrap_or(b"")
    }

    /// Return the text of a token.
    pub(super) fn get(&self, token: u32) -> Option<&str> {
        let known = self.spans.get(token as usize).is_some_and(|span| *span != ABSENT);
        if known { std::str::from_utf8(self.text(token)).ok() } else { None }
    }

    /// Return the token of a text.
    pub(super) fn find(&self, text: &str) -> Option<u32> {
        self.find_joined([text, ""])
    }

    /// Return the token of two texts, one behind the other.
    pub(super) fn find_joined(&self, parts: [&str; 2]) -> Option<u32> {
        let hash = hash(parts);
        let begin = (hash >> self.shift) as usize;
        let from = *self.starts.get(begin)? as usize;
        let alike = self.order.get(from..*self.starts.get(begin + 1)? as usize)?;
        let found = alike.binary_search_by(|(each, token)| {
            each.cmp(&hash).then_with(|| order_of(self.text(*token), parts))
        });
        Some(alike[found.ok()?].1)
    }
}

/// Compare a text with two texts, one behind the other.
fn order_of(text: &[u8], [left, right]: [&str; 2]) -> Ordering {
    let (head, tail) = text.split_at(left.len().min(text.len()));
    head.cmp(left.as_bytes()).then_with(|| tail.cmp(right.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::Vocabulary;
    use proptest::prelude::*;

    #[test]
    fn refuses_doubles_huge_numbers_and_nothing() {
        assert!(Vocabulary::default().finish().is_err());
        let mut vocabulary = Vocabulary::default();
        vocabulary.add("a", 3).unwrap();
        assert!(vocabulary.add("b", 3).is_err());
        assert!(vocabulary.add("b", u32::MAX).is_err());
        vocabulary.add("a", 4).unwrap();
        assert!(vocabulary.finish().is_err());
    }

    proptest! {
        #[test]
        fn finds_what_was_added(texts in prop::collection::btree_set("[ab\0é]{0,20}", 1..60)) {
            let mut vocabulary = Vocabulary::default();
            for (number, text) in texts.iter().rev().enumerate() {
                vocabulary.add(text, 2 * number as u32).unwrap();
            }
            vocabulary.finish().unwrap();
            for (number, text) in texts.iter().rev().enumerate() {
                prop_assert_eq!(vocabulary.find(text), Some(2 * number as u32));
                for cut in (0..=text.len()).filter(|cut| text.is_char_boundary(*cut)) {
                    let parts = text.split_at(cut).into();
                    prop_assert_eq!(vocabulary.find_joined(parts), Some(2 * number as u32));
                }
                prop_assert_eq!(vocabulary.get(2 * number as u32), Some(text.as_str()));
                prop_assert_eq!(vocabulary.get(2 * number as u32 + 1), None);
            }
            prop_assert_eq!(vocabulary.find("c"), None);
        }
    }
}
