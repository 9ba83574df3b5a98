//! The alphabet of byte-level tokenizers: a printable character for every byte.

/// Return whether a byte stands for itself.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

/// Return the character of each byte.
pub(super) fn alphabet() -> [char; 256] {
    let mut next = 0x100_u32;
    std::array::from_fn(|byte| {
        let byte = byte as u8;
        if is_plain(byte) {
            return char::from(byte);
        }
        next += 1;
        char::from_u32(next - 1).unwrap_or_default()
    })
}

/// Append the bytes of a token; a token with other characters stands for its own text.
pub(super) fn append_decoded(alphabet: &[char; 256], token: &str, to: &mut Vec<u8>) {
    let start = to.len();
    for character in token.chars() {
        let byte = match u32::from(character) {
            code @ 0..=0xff if is_plain(code as u8) => Some(code as u8),
            code @ 0x100.. => alphabet.iter().position(|&c| u32::from(c) == code).map(|b| b as u8),
            _ => None,
        };
        match byte {
            Some(byte) => to.push(byte),
            None => {
                to.truncate(start);
                to.extend_from_slice(token.as_bytes());
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{alphabet, append_decoded};

    #[test]
    fn every_byte_has_its_own_character() {
        let alphabet = alphabet();
        assert_eq!((alphabet[b' ' as usize], alphabet[b'\n' as usize]), ('Ġ', 'Ċ'));
        let mut decoded = Vec::new();
        append_decoded(&alphabet, &alphabet.iter().collect::<String>(), &mut decoded);
        assert_eq!(decoded, (0..=255).collect::<Vec<u8>>());
    }

    #[test]
    fn other_tokens_stand_for_their_text() {
        let mut decoded = b"x".to_vec();
        append_decoded(&alphabet(), "Ġa b", &mut decoded);
        assert_eq!(decoded, "xĠa b".as_bytes());
    }
}
