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

/// How far a scrub is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scrubbed {
    /// All frames up to this one.
    Frames(Option<Digest>),
    /// All frames, and all records of sealed versions before this one.
    Records(SealedRecord),
}

/// A chunk record of a sealed version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SealedRecord {
    pub model: u32,
    pub version: u32,
    pub record: u32,
}

impl SealedRecord {
    /// Return the cursor of a scrub that goes on here: three numbers, big-endian.
    pub fn cursor(self) -> Vec<u8> {
        [self.model, self.version, self.record].map(u32::to_be_bytes).concat()
    }
}

/// Read the cursor of a scrub.
pub fn parse_scrub(cursor: &[u8]) -> Outcome<Scrubbed> {
    match cursor.as_chunks::<4>() {
        ([model, version, record], []) => {
            let [model, version, record] = [model, version, record].map(|n| u32::from_be_bytes(*n));
            Ok(Scrubbed::Records(SealedRecord { model, version, record }))
        }
        _ => parse_digest(cursor).map(Scrubbed::Frames),
    }
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
