//! A placement record: on which node of the fleet each chunk of a manifest lies.
//!
//! Version 1, little-endian:
//!
//! ```text
//! offset size field
//!      0    4 magic "DNPL"
//!      4    1 version, 1
//!      5    1 reserved, zero
//!      6    2 node count n, at least 1
//!      8    4 chunk count
//!     12    4 run count r
//!     16   32 manifest digest
//!     48 30*n nodes: length (1 to 29), principal, zero padding to 29 bytes; unique
//!      . 6*r  runs: node index u16, length u32 (at least 1); neighbours differ; the lengths
//!             sum to the chunk count
//! ```

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::bytes::Bytes;
use crate::limits::MAX_PRINCIPAL_BYTES;
use crate::{Digest, FormatError};

const MAGIC: [u8; 4] = *b"DNPL";
const VERSION: u8 = 1;
const NODE_BYTES: usize = 1 + MAX_PRINCIPAL_BYTES;
const RUN_BYTES: usize = 6;

/// A node: the principal of its canister.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    length: u8,
    principal: [u8; MAX_PRINCIPAL_BYTES],
}

impl Node {
    /// Return the principal's bytes, 1 to 29.
    pub fn principal(&self) -> &[u8] {
        self.principal.get(..self.length.into()).unwrap_or(&[])
    }
}

/// Consecutive chunks on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Index into the nodes.
    pub node: u16,
    /// One past the last chunk.
    pub end: u32,
}

/// Where the chunks of a manifest lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Digest of the manifest that is placed.
    pub manifest: Digest,
    /// The nodes of the fleet, in order.
    pub nodes: Vec<Node>,
    /// The runs, rising by their ends.
    pub runs: Vec<Run>,
    /// How many chunks are placed.
    pub chunk_count: u32,
}

impl Placement {
    /// Return the index of the node on which a chunk lies, or `None` beyond the last chunk.
    pub fn node_of(&self, chunk: u32) -> Option<u16> {
        let run = self.runs.partition_point(|run| run.end <= chunk);
        self.runs.get(run).map(|run| run.node)
    }
}

/// Parse a placement record.
///
/// # Errors
/// Anything that the table of this file does not allow.
pub fn parse(record: &[u8]) -> Result<Placement, FormatError> {
    let mut bytes = Bytes::new(record, "placement record");
    if bytes.array()? != MAGIC {
        return Err(FormatError::Magic { what: "placement record" });
    }
    let version = bytes.u8()?;
    if version != VERSION {
        return Err(FormatError::Version { what: "placement record", found: version.into() });
    }
    bytes.zeros(1)?;
    let node_count = usize::from(bytes.u16()?);
    let chunk_count = bytes.u32()?;
    let run_count = bytes.u32()? as usize;
    let manifest = bytes.array()?;
    let stated = run_count
        .checked_mul(RUN_BYTES)
        .and_then(|runs| runs.checked_add(node_count * NODE_BYTES))
        .ok_or(FormatError::Truncated { what: "placement record" })?;
    if bytes.left() < stated {
        return Err(FormatError::Truncated { what: "placement record" });
    }
    if node_count == 0 {
        return Err(FormatError::Disagree { what: "a placement record names no node" });
    }
    let nodes = parse_nodes(&mut bytes, node_count)?;
    let runs = parse_runs(&mut bytes, run_count, node_count, chunk_count)?;
    bytes.end()?;
    Ok(Placement { manifest, nodes, runs, chunk_count })
}

fn parse_nodes(bytes: &mut Bytes<'_>, count: usize) -> Result<Vec<Node>, FormatError> {
    let mut nodes = Vec::with_capacity(count);
    let mut seen = BTreeSet::new();
    for _ in 0..count {
        let length = bytes.u8()?;
        let allowed = MAX_PRINCIPAL_BYTES as u64;
        if length == 0 || usize::from(length) > MAX_PRINCIPAL_BYTES {
            let found = length.into();
            return Err(FormatError::Range { what: "length of a principal", found, allowed });
        }
        let principal: [u8; MAX_PRINCIPAL_BYTES] = bytes.array()?;
        if principal[usize::from(length)..].iter().any(|&byte| byte != 0) {
            return Err(FormatError::Reserved { what: "placement record" });
        }
        let node = Node { length, principal };
        if !seen.insert(node) {
            return Err(FormatError::Disagree {
                what: "a node stands twice in a placement record",
            });
        }
        nodes.push(node);
    }
    Ok(nodes)
}

fn parse_runs(
    bytes: &mut Bytes<'_>,
    count: usize,
    node_count: usize,
    chunk_count: u32,
) -> Result<Vec<Run>, FormatError> {
    let mut runs: Vec<Run> = Vec::with_capacity(count);
    let mut end = 0u32;
    for _ in 0..count {
        let node = bytes.u16()?;
        let length = bytes.u32()?;
        if usize::from(node) >= node_count {
            let allowed = node_count as u64 - 1;
            return Err(FormatError::Range { what: "node of a run", found: node.into(), allowed });
        }
        if length == 0 {
            return Err(FormatError::Disagree { what: "a run of a placement record is empty" });
        }
        if runs.last().is_some_and(|last| last.node == node) {
            return Err(FormatError::Disagree { what: "neighbouring runs name the same node" });
        }
        end = end
            .checked_add(length)
            .filter(|&end| end <= chunk_count)
            .ok_or(FormatError::Disagree { what: "the runs do not sum to the chunk count" })?;
        runs.push(Run { node, end });
    }
    if end != chunk_count {
        return Err(FormatError::Disagree { what: "the runs do not sum to the chunk count" });
    }
    Ok(runs)
}
