//! Classes of characters and Normalization Form C.

use super::packed::{class_of, classes, forms};
use super::tables::MORE_DIGITS;

/// A character's class in the regular expressions of pre-tokenizers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// `\p{L}`
    Letter,
    /// `\p{N}`
    Number,
    /// `\s`
    Space,
    /// `[^\s\p{L}\p{N}]`
    Other,
}

/// Return the class of a character.
pub(super) fn class(character: char) -> Class {
    match character {
        'a'..='z' | 'A'..='Z' => Class::Letter,
        '0'..='9' => Class::Number,
        ' ' | '\t'..='\r' => Class::Space,
        '\0'..='\u{7f}' => Class::Other,
        _ => in_ranges(classes(), character, |row| (row.0, row.1))
            .map_or(Class::Other, |row| class_of(row.2)),
    }
}

/// Return whether `Digits` separates a character.
pub(super) fn is_digit(character: char) -> bool {
    class(character) == Class::Number || in_ranges(&MORE_DIGITS, character, |row| *row).is_some()
}

fn in_ranges<T>(table: &[T], character: char, range: impl Fn(&T) -> (u32, u32)) -> Option<&T> {
    let point = u32::from(character);
    let after = table.partition_point(|row| range(row).0 <= point);
    let row = &table[after.checked_sub(1)?];
    (point <= range(row).1).then_some(row)
}

const S: u32 = 0xac00;
const L: u32 = 0x1100;
const V: u32 = 0x1161;
const T: u32 = 0x11a7;
const L_COUNT: u32 = 19;
const V_COUNT: u32 = 21;
const T_COUNT: u32 = 28;

/// Compose a text into Normalization Form C. The result has at most four times its characters.
pub(super) fn nfc(text: &str) -> String {
    // Below the first combining mark, every text is composed already.
    if text.chars().all(|character| character < '\u{300}') {
        return text.into();
    }
    let mut characters = Vec::with_capacity(text.len());
    text.chars().for_each(|character| decompose(character, &mut characters));
    for run in characters.chunk_by_mut(|_, next| next.1 != 0) {
        // Only the first of a run can have class 0, and sorting is stable.
        run.sort_by_key(|&(_, class)| class);
    }
    compose(&characters)
}

fn combining_class(character: char) -> u8 {
    in_ranges(&forms().combining, character, |row| (row.0, row.1)).map_or(0, |row| row.2)
}

fn decompose(character: char, to: &mut Vec<(char, u8)>) {
    let point = u32::from(character);
    if (S..S + L_COUNT * V_COUNT * T_COUNT).contains(&point) {
        let index = point - S;
        let (l, v) = (index / (V_COUNT * T_COUNT), index / T_COUNT % V_COUNT);
        let parts = [L + l, V + v, T + index % T_COUNT];
        let count = if index.is_multiple_of(T_COUNT) { 2 } else { 3 };
        to.extend(parts[..count].iter().filter_map(|&part| Some((char::from_u32(part)?, 0))));
        return;
    }
    let forms = forms();
    if let Ok(row) = forms.compositions.binary_search_by_key(&point, |row| row.0) {
        let (_, first, second) = forms.compositions[row];
        [first, second].into_iter().filter_map(char::from_u32).for_each(|part| decompose(part, to));
    } else if let Ok(row) = forms.decompositions.binary_search_by_key(&point, |row| row.0) {
        let parts = forms.decompositions[row].1.chars();
        to.extend(parts.map(|part| (part, combining_class(part))));
    } else {
        to.push((character, combining_class(character)));
    }
}

fn compose(characters: &[(char, u8)]) -> String {
    let mut composed: Vec<char> = Vec::with_capacity(characters.len());
    // Index of the last character of class 0, and the class of the last one that stayed after it.
    let (mut starter, mut last_class) = (None, 0);
    for &(character, class) in characters {
        if let Some(starter) = starter {
            let adjacent = composed.len() == starter + 1;
            let blocked = !adjacent && (last_class == 0 || last_class >= class);
            if !blocked && let Some(pair) = pair(composed[starter], character) {
                composed[starter] = pair;
                continue;
            }
        }
        if class == 0 {
            starter = Some(composed.len());
        }
        last_class = class;
        composed.push(character);
    }
    composed.into_iter().collect()
}

fn pair(first: char, second: char) -> Option<char> {
    let (a, b) = (u32::from(first), u32::from(second));
    if (L..L + L_COUNT).contains(&a) && (V..V + V_COUNT).contains(&b) {
        return char::from_u32(S + ((a - L) * V_COUNT + (b - V)) * T_COUNT);
    }
    let syllable =
        (S..S + L_COUNT * V_COUNT * T_COUNT).contains(&a) && (a - S).is_multiple_of(T_COUNT);
    if syllable && (T + 1..T + T_COUNT).contains(&b) {
        return char::from_u32(a + (b - T));
    }
    let forms = forms();
    forms.seconds.binary_search(&b).ok()?;
    let row = forms.compositions.iter().find(|row| (row.1, row.2) == (a, b))?;
    char::from_u32(row.0)
}

#[cfg(test)]
mod tests {
    use super::{Class, class, is_digit, nfc};

    #[test]
    fn classes_are_those_of_unicode() {
        assert_eq!(class('é'), Class::Letter);
        assert_eq!(class('Ⅷ'), Class::Number);
        assert_eq!(class('\u{a0}'), Class::Space);
        // Alphabetic, but a mark and a symbol rather than letters.
        assert_eq!(class('\u{903}'), Class::Other);
        assert_eq!(class('Ⓐ'), Class::Other);
        assert!(is_digit('٣') && is_digit('½') && is_digit('\u{11de0}') && !is_digit('x'));
        assert_eq!(class('\u{10ffff}'), Class::Other);
    }

    #[test]
    fn nfc_composes_and_orders() {
        assert_eq!(nfc("e\u{301}"), "é");
        assert_eq!(nfc("\u{1112}\u{1161}\u{11ab}"), "한");
        assert_eq!(nfc("a\u{316}\u{301}"), nfc("a\u{301}\u{316}"));
        assert_eq!(nfc("\u{212b}\u{2126}"), "ÅΩ");
        assert_eq!(nfc("\u{958}"), "\u{915}\u{93c}");
        assert_eq!(nfc("plain"), "plain");
    }
}
