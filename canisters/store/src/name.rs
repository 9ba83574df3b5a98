//! Names of models.

use crate::limits::MAX_MODEL_NAME_BYTES;
use crate::{Error, Outcome};

/// Check that a name is 1 to 128 bytes of `[A-Za-z0-9._/-]` without `..`.
pub fn check_name(name: &str) -> Outcome<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte);
    if name.is_empty() || name.len() > MAX_MODEL_NAME_BYTES {
        return Err(Error::BadRequest("a model name has 1 to 128 bytes".into()));
    }
    if !name.bytes().all(allowed) || name.contains("..") {
        let text = "a model name consists of A-Z a-z 0-9 . _ / - without two dots in a row";
        return Err(Error::BadRequest(text.into()));
    }
    Ok(())
}
