//! Text of other canisters, cut to a bound before it becomes a part of an error.
//!
//! A reply to one caller carries the errors of up to 64 conversations, and has 2 MB; so may each text
//! with which a canister refuses a call.

/// Most characters that are kept of a text.
pub const MAX_CHARACTERS: usize = 400;

/// As many bytes of a text as contain them in any case.
pub const MAX_BYTES: usize = 4 * MAX_CHARACTERS;

/// Return a text whose first bytes are `start`, and which has `length` bytes. A longer one is cut after
/// a whole character, and says so. What is not UTF-8 is replaced.
pub fn bounded(start: &[u8], length: usize) -> String {
    let start = &start[..start.len().min(MAX_BYTES)];
    let mut text = String::from_utf8_lossy(start).into_owned();
    let end = text.char_indices().nth(MAX_CHARACTERS).map(|(end, _)| end);
    if end.is_some() || length > start.len() {
        text.truncate(end.unwrap_or(text.len()));
        text.push_str("... (cut off)");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> String {
        bounded(text.as_bytes(), text.len())
    }

    #[test]
    fn short_texts_are_kept() {
        let longest = "🙂".repeat(MAX_CHARACTERS);
        for text in ["", "why", "é", &longest, &"x".repeat(MAX_CHARACTERS)] {
            assert_eq!(whole(text), text);
        }
    }

    #[test]
    fn long_texts_are_cut_after_a_character_and_say_so() {
        for character in ["x", "é", "€", "🙂"] {
            let kept = character.repeat(MAX_CHARACTERS) + "... (cut off)";
            for more in [1, 2, 1_500_000] {
                // A byte in front shifts where the kept bytes end.
                let text = character.repeat(MAX_CHARACTERS + more);
                assert_eq!(whole(&text), kept, "{character} and {more}");
                let shifted = format!("x{text}");
                assert!(whole(&shifted).starts_with(&format!("x{character}")));
                assert_eq!(whole(&shifted).chars().count(), kept.chars().count());
                let start = &text.as_bytes()[..text.len().min(MAX_BYTES)];
                assert_eq!(bounded(start, text.len()), kept);
            }
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(bounded(b"a\xffb", 3), "a\u{fffd}b");
        assert_eq!(bounded(&[0xff; MAX_BYTES], 2_000_000).chars().count(), MAX_CHARACTERS + 13);
    }
}
