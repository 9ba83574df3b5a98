//! Sequences of a zstd block (RFC 8878, 3.1.1.3.2): literals to copy, and matches.

use crate::backward::Backward;
use crate::fse::Table;
use crate::{Outcome, array, broken};

const LITERAL_BASES: [u32; 36] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 22, 24, 28, 32, 40, 48, 64,
    128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536,
];
const LITERAL_BITS: [u8; 36] = [
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11,
    12, 13, 14, 15, 16,
];
const MATCH_BASES: [u32; 53] = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27,
    28, 29, 30, 31, 32, 33, 34, 35, 37, 39, 41, 43, 47, 51, 59, 67, 83, 99, 131, 259, 515, 1027,
    2051, 4099, 8195, 16387, 32771, 65539,
];
const MATCH_BITS: [u8; 53] = [
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
];
const LITERAL_COUNTS: [i16; 36] = [
    4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1,
    -1, -1, -1, -1,
];
const OFFSET_COUNTS: [i16; 29] =
    [1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1];
const MATCH_COUNTS: [i16; 53] = [
    1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
];

/// What the three kinds of tables allow: counts by default and their log, most log, most symbol.
const KINDS: [(&[i16], u32, u32, usize); 3] = [
    (&LITERAL_COUNTS, 6, 9, LITERAL_BASES.len() - 1),
    (&OFFSET_COUNTS, 5, 8, 31),
    (&MATCH_COUNTS, 6, 9, MATCH_BASES.len() - 1),
];

/// What one block leaves for the next: tables of literal lengths, offsets and match lengths, and
/// the last offsets.
pub struct Memory {
    tables: [Option<Table>; 3],
    offsets: [usize; 3],
}

impl Default for Memory {
    fn default() -> Self {
        Self { tables: [None, None, None], offsets: [1, 4, 8] }
    }
}

/// The output of a stream, written from its start.
pub struct Output<'a> {
    pub bytes: &'a mut [u8],
    pub written: usize,
}

impl Output<'_> {
    /// Return the next `length` bytes, to be written.
    pub fn next(&mut self, length: usize) -> Outcome<&mut [u8]> {
        let start = self.written;
        let Some(next) = self.bytes.get_mut(start..start.saturating_add(length)) else {
            return broken("a zstd stream gives more bytes than it states");
        };
        self.written += length;
        Ok(next)
    }

    /// Repeat `length` bytes from `offset` bytes before the end.
    fn repeat(&mut self, offset: usize, length: usize) -> Outcome<()> {
        let end = self.written;
        if offset == 0 || offset > end {
            return broken("a zstd match begins before the output");
        }
        self.next(length)?;
        // Each turn doubles what can be copied at once.
        let (mut copied, mut period) = (0, offset);
        while copied < length {
            let piece = period.min(length - copied);
            let from = end + copied - period;
            self.bytes.copy_within(from..from + piece, end + copied);
            copied += piece;
            period *= 2;
        }
        Ok(())
    }
}

/// Read the count of sequences.
pub fn parse_count(bytes: &mut &[u8]) -> Outcome<usize> {
    let what = "zstd sequences";
    let [first] = array(bytes, what)?;
    Ok(match first {
        0..128 => first.into(),
        128..255 => {
            let [low] = array(bytes, what)?;
            (usize::from(first) - 128) << 8 | usize::from(low)
        }
        255 => usize::from(u16::from_le_bytes(array(bytes, what)?)) + 0x7f00,
    })
}

/// Execute `count` sequences over literals of `WIDTH` bytes each.
pub fn execute<const WIDTH: usize>(
    mut bytes: &[u8],
    count: usize,
    memory: &mut Memory,
    mut literals: &[u8],
    output: &mut Output<'_>,
) -> Outcome<()> {
    let [modes] = array(&mut bytes, "zstd sequences")?;
    if modes & 3 != 0 {
        return broken("reserved bits of zstd sequences are set");
    }
    for (index, (table, kind)) in memory.tables.iter_mut().zip(KINDS).enumerate() {
        parse_table(&mut bytes, modes >> (6 - 2 * index) & 3, kind, table)?;
    }
    let [Some(literal_table), Some(offset_table), Some(match_table)] = &memory.tables else {
        return broken("a zstd block repeats a table that was never given");
    };
    let mut bits = Backward::open(bytes)?;
    let mut literal = literal_table.start(&mut bits);
    let mut offset = offset_table.start(&mut bits);
    let mut matched = match_table.start(&mut bits);
    for number in 1..=count {
        let offset_bits = u32::from(offset_table.symbol(offset));
        let offset_value = (1usize << offset_bits) + bits.take(offset_bits) as usize;
        let symbol = usize::from(match_table.symbol(matched));
        let match_length =
            MATCH_BASES[symbol] as usize + bits.take(MATCH_BITS[symbol].into()) as usize;
        let symbol = usize::from(literal_table.symbol(literal));
        let literal_length =
            LITERAL_BASES[symbol] as usize + bits.take(LITERAL_BITS[symbol].into()) as usize;
        let distance = next_offset(&mut memory.offsets, offset_value, literal_length == 0)?;
        let copied =
            crate::take(&mut literals, literal_length * WIDTH, "literals of a zstd block")?;
        output.next(copied.len())?.copy_from_slice(copied);
        output.repeat(distance.saturating_mul(WIDTH), match_length * WIDTH)?;
        if number < count {
            literal = literal_table.next(literal, &mut bits);
            matched = match_table.next(matched, &mut bits);
            offset = offset_table.next(offset, &mut bits);
        }
        if bits.is_overrun() {
            break;
        }
    }
    if !bits.is_finished() {
        return broken("the sequences of a zstd block do not end with their bits");
    }
    output.next(literals.len())?.copy_from_slice(literals);
    Ok(())
}

fn parse_table(
    bytes: &mut &[u8],
    mode: u8,
    (counts, log, most_log, most_symbol): (&[i16], u32, u32, usize),
    table: &mut Option<Table>,
) -> Outcome<()> {
    match mode {
        0 => *table = Some(Table::from_counts(counts, log)),
        1 => {
            let [symbol] = array(bytes, "zstd sequences")?;
            if usize::from(symbol) > most_symbol {
                return broken("a code of a zstd sequence is not known");
            }
            *table = Some(Table::constant(symbol));
        }
        2 => {
            let (parsed, length) = Table::parse(bytes, most_log, most_symbol)?;
            crate::take(bytes, length, "zstd sequences")?;
            *table = Some(parsed);
        }
        _ => {}
    }
    Ok(())
}

/// Return the distance that an offset value means, and remember it.
fn next_offset(last: &mut [usize; 3], value: usize, no_literals: bool) -> Outcome<usize> {
    let [first, second, third] = *last;
    let (distance, kept) = match value + usize::from(no_literals && value <= 3) {
        _ if value > 3 => (value - 3, [first, second]),
        1 => return Ok(first),
        2 => (second, [first, third]),
        3 => (third, [first, second]),
        _ => (first - 1, [first, second]),
    };
    if distance == 0 {
        return broken("a zstd match has no distance");
    }
    *last = [distance, kept[0], kept[1]];
    Ok(distance)
}
