//! Cursors of stepwise work: opaque to the caller, checked when they come back.

use serde_bytes::ByteBuf;

use crate::limits::MAX_CURSOR_BYTES;
use crate::{Digest, Error, Outcome};

/// Work that progress is stored for. The cursor only says which; the store knows how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Work {
    Seal = 1,
    Delete = 2,
    Garbage = 3,
}

/// Return the cursor of a task.
pub fn task(work: Work, id: u64) -> ByteBuf {
    let mut cursor = vec![work as u8];
    cursor.extend_from_slice(&id.to_be_bytes());
    ByteBuf::from(cursor)
}

/// Read the cursor of a task; nothing to start or to go on with whatever is stored.
pub fn parse_task(work: Work, cursor: &[u8]) -> Outcome<Option<u64>> {
    bounded(cursor)?;
    let Some((&first, rest)) = cursor.split_first() else { return Ok(None) };
    match <[u8; 8]>::try_from(rest) {
        Ok(id) if first == work as u8 => Ok(Some(u64::from_be_bytes(id))),
        _ => Err(foreign()),
    }
}

/// Read a cursor that is a digest.
pub fn parse_digest(cursor: &[u8]) -> Outcome<Option<Digest>> {
    bounded(cursor)?;
    if cursor.is_empty() {
        return Ok(None);
    }
    Digest::try_from(cursor).map(Some).map_err(|_| foreign())
}

/// Read a cursor that is the index of a page.
pub fn parse_page(cursor: &[u8]) -> Outcome<u32> {
    bounded(cursor)?;
    if cursor.is_empty() {
        return Ok(0);
    }
    cursor.try_into().map(u32::from_be_bytes).map_err(|_| foreign())
}

fn bounded(cursor: &[u8]) -> Outcome<()> {
    Error::bound(MAX_CURSOR_BYTES as u64, cursor.len() as u64)
}

fn foreign() -> Error {
    Error::BadRequest("the cursor is not one that this method gave".into())
}
