//! Pre-tokenizers: how a text is cut into the pieces that merges do not cross.
//!
//! The regular expressions are matched by hand, each alternative in turn, because there are few of
//! them and a general engine would cost more than the merges.

use super::unicode::{Class, class, is_digit};

/// The expression of GPT-2, which `ByteLevel` implies.
pub(super) const GPT2: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// The expression of Llama 3.
pub(super) const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The expression of Qwen2 and Qwen3.
pub(super) const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// One way of cutting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Split {
    /// Each digit is a piece.
    Digits,
    /// `GPT2`.
    Gpt2,
    /// `LLAMA3`, or with one digit `QWEN2`.
    Tiktoken {
        /// Digits of a piece, at most.
        digits: usize,
    },
}

/// Cut a text by all splits, one after the other.
pub(super) fn split<'a>(splits: &[Split], text: &'a str, piece: &mut impl FnMut(&'a str)) {
    let Some((first, others)) = splits.split_first() else {
        piece(text);
        return;
    };
    let mut rest = text;
    while !rest.is_empty() {
        let length = match first {
            Split::Digits => digits(rest),
            Split::Gpt2 => gpt2(rest),
            Split::Tiktoken { digits } => tiktoken(rest, *digits),
        };
        let (head, tail) = rest.split_at(length);
        split(others, head, piece);
        rest = tail;
    }
}

/// Length of the run of characters that satisfy a condition, from a position on.
fn run(text: &str, from: usize, condition: impl Fn(char) -> bool) -> usize {
    let rest = &text[from..];
    from + rest.find(|character| !condition(character)).unwrap_or(rest.len())
}

fn run_of(text: &str, from: usize, of: Class) -> usize {
    run(text, from, |character| class(character) == of)
}

fn digits(text: &str) -> usize {
    match text.chars().next() {
        Some(first) if is_digit(first) => first.len_utf8(),
        _ => run(text, 0, |character| !is_digit(character)),
    }
}

fn gpt2(text: &str) -> usize {
    let contractions = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];
    if let Some(found) = contractions.iter().find(|found| text.starts_with(**found)) {
        return found.len();
    }
    let start = usize::from(text.starts_with(' '));
    match text[start..].chars().next().map(class) {
        Some(of) if of != Class::Space => run_of(text, start, of),
        _ => spaces(text),
    }
}

fn tiktoken(text: &str, digits: usize) -> usize {
    if let Some(length) = contraction(text) {
        return length;
    }
    let mut characters = text.chars();
    let (first, second) = (characters.next().unwrap_or(' '), characters.next());
    let (first_class, second_class) = (class(first), second.map(class));
    if first_class == Class::Letter {
        return run_of(text, 0, Class::Letter);
    }
    let breaks = |character| matches!(character, '\r' | '\n');
    let joins = !breaks(first) && first_class != Class::Number;
    if joins && second_class == Some(Class::Letter) {
        return run_of(text, first.len_utf8(), Class::Letter);
    }
    if first_class == Class::Number {
        let counted = text.chars().take(digits).take_while(|&c| class(c) == Class::Number);
        return counted.map(char::len_utf8).sum();
    }
    if first_class == Class::Other || (first == ' ' && second_class == Some(Class::Other)) {
        let end = run_of(text, usize::from(first == ' '), Class::Other);
        return run(text, end, breaks);
    }
    let space = &text[..run_of(text, 0, Class::Space)];
    space.rfind(breaks).map_or_else(|| spaces(text), |last| last + 1)
}

/// Length of a contraction; letters of either case match, and so does the long s.
fn contraction(text: &str) -> Option<usize> {
    let rest = text.strip_prefix('\'')?;
    let mut characters = rest.chars();
    let first = characters.next()?;
    match first {
        's' | 'S' | 'ſ' | 't' | 'T' | 'm' | 'M' | 'd' | 'D' => return Some(1 + first.len_utf8()),
        _ => {}
    }
    let second = characters.next()?;
    let pair = (first.to_ascii_lowercase(), second.to_ascii_lowercase());
    matches!(pair, ('r' | 'v', 'e') | ('l', 'l')).then_some(3)
}

/// `\s+(?!\S)|\s+`: all spaces but the last one, if something follows them.
fn spaces(text: &str) -> usize {
    let end = run_of(text, 0, Class::Space);
    if end == text.len() {
        return end;
    }
    let last = text[..end].char_indices().next_back().map_or(0, |(at, _)| at);
    if last == 0 { end } else { last }
}

#[cfg(test)]
mod tests {
    use super::{Split, split};

    fn pieces<'a>(splits: &[Split], text: &'a str) -> Vec<&'a str> {
        let mut found = Vec::new();
        split(splits, text, &mut |piece| found.push(piece));
        found
    }

    #[test]
    fn gpt2_keeps_one_space_with_the_word() {
        let found = pieces(&[Split::Gpt2], "It's  here,\n\n now \u{a0}42!  ");
        assert_eq!(
            found,
            ["It", "'s", " ", " here", ",", "\n\n", " now", " ", "\u{a0}", "42", "!", "  "]
        );
    }

    #[test]
    fn digits_come_first_for_smollm2() {
        let found = pieces(&[Split::Digits, Split::Gpt2], "in 2024!");
        assert_eq!(found, ["in", " ", "2", "0", "2", "4", "!"]);
    }

    #[test]
    fn tiktoken_takes_line_breaks_and_groups_of_digits() {
        let found =
            pieces(&[Split::Tiktoken { digits: 3 }], "(hi)\n \n  x 12345 I'LL\t\tgo !?\n\n");
        let expected = [
            "(hi", ")\n", " \n", " ", " x", " ", "123", "45", " I", "'LL", "\t", "\tgo", " !?\n\n",
        ];
        assert_eq!(found, expected);
    }
}
