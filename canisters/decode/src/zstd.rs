//! One zstd frame (RFC 8878) of a known size, each byte written as what it stands for.
//!
//! The rules beyond the RFC are those of `datanode_codec`'s `decode/zstd.rs`: one frame, not a
//! skippable one; its header states the content size, the expected one; no dictionary; a window of
//! at most 2 MiB; nothing follows it.

use alloc::vec::Vec;

use datanode_codec::FormatError;
use datanode_codec::limits::MAX_CHUNK_BYTES;

use crate::huffman::Code;
use crate::sequences::{self, Memory, Output};
use crate::symbols::Symbols;
use crate::{Outcome, array, broken, take, xxhash};

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const MAX_WINDOW_BYTES: u64 = 2 << 20;
const MAX_BLOCK_BYTES: usize = 128 << 10;
const WHAT: &str = "zstd stream";

/// The literals of a block that has sequences; kept from block to block.
#[derive(Default)]
pub struct Decoder {
    literals: Vec<u8>,
}

impl Decoder {
    /// Decompress to exactly the length of `output`.
    pub fn bytes(&mut self, stream: &[u8], output: &mut [u8]) -> Outcome<()> {
        let checksum = self.frame::<1>(stream, &Symbols::identity(256), output)?;
        verify(checksum, output)
    }

    /// Decompress to exactly as many bytes as `output` has words, written as their symbols.
    pub fn words(&mut self, stream: &[u8], symbols: &Symbols<2>, output: &mut [u8]) -> Outcome<()> {
        if self.frame::<2>(stream, symbols, output)?.is_none() {
            return Ok(());
        }
        // A checksum is one of bytes. No encoder of this project writes one, so this may be slow.
        let mut bytes = alloc::vec![0; output.len() / 2];
        self.bytes(stream, &mut bytes)
    }

    /// Decompress a frame; return its checksum.
    fn frame<const WIDTH: usize>(
        &mut self,
        stream: &[u8],
        symbols: &Symbols<WIDTH>,
        output: &mut [u8],
    ) -> Outcome<Option<u32>> {
        let mut rest = stream;
        let has_checksum = parse_header(&mut rest, output.len() / WIDTH)?;
        let mut blocks =
            Blocks { literals: &mut self.literals, code: None, memory: Memory::default() };
        let mut output = Output { bytes: output, written: 0 };
        loop {
            let [a, b, c] = array(&mut rest, WHAT)?;
            let head = u32::from_le_bytes([a, b, c, 0]);
            let length = head as usize >> 3;
            if length > MAX_BLOCK_BYTES {
                return broken("a zstd block is too large");
            }
            match head >> 1 & 3 {
                0 => {
                    let stored = take(&mut rest, length, WHAT)?;
                    symbols.write(stored, output.next(length * WIDTH)?)?;
                }
                1 => {
                    let [byte] = array(&mut rest, WHAT)?;
                    symbols.fill(byte, output.next(length * WIDTH)?)?;
                }
                2 => blocks.compressed(take(&mut rest, length, WHAT)?, symbols, &mut output)?,
                _ => return broken("a zstd block of a reserved type"),
            }
            if head & 1 == 1 {
                break;
            }
        }
        if output.written != output.bytes.len() {
            return broken("a zstd stream gives another size than it states");
        }
        let checksum =
            if has_checksum { Some(u32::from_le_bytes(array(&mut rest, WHAT)?)) } else { None };
        match rest.len() {
            0 => Ok(checksum),
            bytes => Err(FormatError::Trailing { what: WHAT, bytes }),
        }
    }
}

fn verify(checksum: Option<u32>, output: &[u8]) -> Outcome<()> {
    match checksum {
        Some(stated) if stated != xxhash::hash(output) as u32 => {
            broken("a zstd stream has a wrong checksum")
        }
        _ => Ok(()),
    }
}

/// Read a frame header (RFC 8878, 3.1.1.1), and tell whether a checksum follows the blocks.
fn parse_header(rest: &mut &[u8], expected_len: usize) -> Outcome<bool> {
    if array(rest, WHAT)? != MAGIC {
        return Err(FormatError::Magic { what: WHAT });
    }
    let [descriptor] = array(rest, WHAT)?;
    if descriptor & 0b1000 != 0 {
        return Err(FormatError::Reserved { what: WHAT });
    }
    let is_single_segment = descriptor & 0b10_0000 != 0;
    let window = if is_single_segment { None } else { Some(array::<1>(rest, WHAT)?[0]) };
    let dictionary = little_endian(take(rest, [0, 1, 2, 4][usize::from(descriptor & 3)], WHAT)?);
    let content_len = match descriptor >> 6 {
        0 if is_single_segment => little_endian(take(rest, 1, WHAT)?),
        0 => return broken("a zstd stream states no size"),
        1 => little_endian(take(rest, 2, WHAT)?) + 256,
        2 => little_endian(take(rest, 4, WHAT)?),
        _ => little_endian(take(rest, 8, WHAT)?),
    };
    let window_len = window.map_or(content_len, |window| {
        let base = 1u64 << (10 + (window >> 3));
        base + base / 8 * u64::from(window & 7)
    });
    if content_len != expected_len as u64 || expected_len > MAX_CHUNK_BYTES {
        return broken("a zstd stream states another size");
    }
    if dictionary != 0 || window_len > MAX_WINDOW_BYTES {
        return broken("a zstd stream needs a dictionary or too large a window");
    }
    Ok(descriptor & 0b100 != 0)
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// What compressed blocks leave for one another.
struct Blocks<'a> {
    literals: &'a mut Vec<u8>,
    code: Option<Code>,
    memory: Memory,
}

impl Blocks<'_> {
    fn compressed<const WIDTH: usize>(
        &mut self,
        block: &[u8],
        symbols: &Symbols<WIDTH>,
        output: &mut Output<'_>,
    ) -> Outcome<()> {
        let mut rest = block;
        let section = LiteralSection::parse(&mut rest)?;
        let stored = take(&mut rest, section.stored_len, "literals of a zstd block")?;
        let count = sequences::parse_count(&mut rest)?;
        let length = section.count * WIDTH;
        if count == 0 {
            if !rest.is_empty() {
                return Err(FormatError::Trailing { what: "zstd block", bytes: rest.len() });
            }
            return self.decode_literals(&section, stored, symbols, output.next(length)?);
        }
        let mut literals = core::mem::take(self.literals);
        literals.resize(length, 0);
        self.decode_literals(&section, stored, symbols, &mut literals)?;
        let start = output.written;
        sequences::execute::<WIDTH>(rest, count, &mut self.memory, &literals, output)?;
        *self.literals = literals;
        if output.written - start > MAX_BLOCK_BYTES * WIDTH {
            return broken("a zstd block is too large");
        }
        Ok(())
    }

    fn decode_literals<const WIDTH: usize>(
        &mut self,
        section: &LiteralSection,
        mut stored: &[u8],
        symbols: &Symbols<WIDTH>,
        output: &mut [u8],
    ) -> Outcome<()> {
        match section.kind {
            0 => return symbols.write(stored, output),
            1 => return symbols.fill(stored.first().copied().unwrap_or(0), output),
            2 => {
                let (code, length) = Code::parse(stored)?;
                take(&mut stored, length, "literals of a zstd block")?;
                self.code = Some(code);
            }
            _ => {}
        }
        let Some(code) = &mut self.code else {
            return broken("a zstd block repeats a Huffman table that was never given");
        };
        code.decode(stored, section.is_split, symbols, output)
    }
}

/// Header of a literals section (RFC 8878, 3.1.1.3.1.1).
struct LiteralSection {
    /// 0 stored, 1 one repeated byte, 2 with a Huffman table, 3 with the last one.
    kind: u8,
    is_split: bool,
    count: usize,
    stored_len: usize,
}

impl LiteralSection {
    fn parse(rest: &mut &[u8]) -> Outcome<Self> {
        let Some(&first) = rest.first() else {
            return broken("a zstd block is empty");
        };
        let (kind, format) = (first & 3, first >> 2 & 3);
        let header = |rest: &mut &[u8], length| {
            take(rest, length, "literals of a zstd block")
                .map(|bytes| little_endian(bytes) as usize)
        };
        let section = if kind < 2 {
            let count = match format {
                0 | 2 => header(rest, 1)? >> 3,
                1 => header(rest, 2)? >> 4,
                _ => header(rest, 3)? >> 4,
            };
            let stored_len = if kind == 0 { count } else { 1 };
            Self { kind, is_split: false, count, stored_len }
        } else {
            let (bits, length) = [(10, 3), (10, 3), (14, 4), (18, 5)][usize::from(format)];
            let bytes = take(rest, length, "literals of a zstd block")?;
            let (value, low_bits) = (little_endian(bytes) >> 4, (1u64 << bits) - 1);
            let (count, stored) = (value & low_bits, value >> bits & low_bits);
            let is_split = format != 0;
            Self { kind, is_split, count: count as usize, stored_len: stored as usize }
        };
        if section.count > MAX_BLOCK_BYTES {
            return broken("a zstd block is too large");
        }
        Ok(section)
    }
}
