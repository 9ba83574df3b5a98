//! `tokenizer_config.json`: the chat template.

use crate::json::{JsonError, Reader};

/// Return the `chat_template` of `tokenizer_config.json`, if it has one.
///
/// # Errors
/// Refuses what is not a JSON object.
pub fn chat_template(bytes: &[u8]) -> Result<Option<String>, JsonError> {
    let mut template = None;
    let mut reader = Reader::new(bytes)?;
    reader.object(|key, reader| {
        if key == "chat_template" && reader.peek() == b'"' {
            template = Some(reader.string()?.into_owned());
            return Ok(());
        }
        reader.skip()
    })?;
    reader.end()?;
    Ok(template)
}

#[cfg(test)]
mod tests {
    use super::chat_template;

    #[test]
    fn finds_the_template() {
        let json = br#"{"a": [1], "chat_template": "x\n{{ y }}", "b": null}"#;
        assert_eq!(chat_template(json), Ok(Some("x\n{{ y }}".into())));
        assert_eq!(chat_template(b"{}"), Ok(None));
        assert!(chat_template(b"[]").is_err());
    }
}
