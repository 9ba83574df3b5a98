//! The compression function of BLAKE3 on four inputs at a time, one in each lane of a vector.
//!
//! The names are those of the BLAKE3 paper, section 2.2.

use core::array::from_fn;

/// Length of a block, bytes.
pub(super) const BLOCK_BYTES: usize = 64;

/// Length of a chaining value, bytes.
pub(super) const CHAINING_BYTES: usize = 32;

/// Set in the first block of a chunk.
pub(super) const CHUNK_START: u32 = 1;

/// Set in the last block of a chunk.
pub(super) const CHUNK_END: u32 = 2;

/// Set in the one block of a parent.
pub(super) const PARENT: u32 = 4;

const IV: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// A block of one input.
pub(super) type Block = [u8; BLOCK_BYTES];

/// A chaining value of one input.
pub(super) type Chaining = [u8; CHAINING_BYTES];

/// Four 32-bit words, each of another input.
pub(super) trait Lanes: Copy {
    /// What rotations need, kept in registers.
    type Rotor: Copy;

    fn rotor() -> Self::Rotor;
    fn new(words: [u32; 4]) -> Self;
    /// Two words of each input from one little-endian load: first all lower halves, then all upper.
    fn pair(pairs: [u64; 4]) -> [Self; 2];
    fn words(self) -> [u32; 4];
    fn add(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    fn right_16(self, rotor: Self::Rotor) -> Self;
    fn right_12(self) -> Self;
    fn right_8(self, rotor: Self::Rotor) -> Self;
    fn right_7(self) -> Self;
}

/// Four lanes as an array: the meaning of the vectors, for tests on the host.
#[cfg(test)]
#[derive(Clone, Copy)]
pub(super) struct Portable([u32; 4]);

#[cfg(test)]
impl Lanes for Portable {
    type Rotor = ();

    fn rotor() {}

    fn new(words: [u32; 4]) -> Self {
        Self(words)
    }

    fn pair(pairs: [u64; 4]) -> [Self; 2] {
        [Self(pairs.map(|pair| pair as u32)), Self(pairs.map(|pair| (pair >> 32) as u32))]
    }

    fn words(self) -> [u32; 4] {
        self.0
    }

    fn add(self, other: Self) -> Self {
        Self(from_fn(|lane| self.0[lane].wrapping_add(other.0[lane])))
    }

    fn xor(self, other: Self) -> Self {
        Self(from_fn(|lane| self.0[lane] ^ other.0[lane]))
    }

    fn right_16(self, (): ()) -> Self {
        Self(self.0.map(|word| word.rotate_right(16)))
    }

    fn right_12(self) -> Self {
        Self(self.0.map(|word| word.rotate_right(12)))
    }

    fn right_8(self, (): ()) -> Self {
        Self(self.0.map(|word| word.rotate_right(8)))
    }

    fn right_7(self) -> Self {
        Self(self.0.map(|word| word.rotate_right(7)))
    }
}

/// What the blocks of an input have besides their bytes.
#[derive(Clone, Copy)]
pub(super) struct Setting {
    /// The counter of each input.
    pub(super) counters: [u64; 4],
    /// Flags of all blocks.
    pub(super) flags: u32,
    /// More flags of the first block.
    pub(super) first: u32,
    /// More flags of the last block.
    pub(super) last: u32,
}

/// A chunk of an input of several chunks.
#[derive(Clone, Copy)]
pub(super) struct Chunk<'a> {
    /// At least one; fewer than a whole chunk only at the end of the input.
    pub(super) bytes: &'a [u8],
    /// Which chunk of the input it is.
    pub(super) counter: u64,
}

/// Return the chaining values of four inputs of equally many whole blocks.
#[inline(never)]
pub(super) fn chain<L: Lanes>(inputs: [&[Block]; 4], setting: Setting) -> [Chaining; 4] {
    let rotor = L::rotor();
    chainings::<L>(absorbed(initial(), inputs, setting, rotor))
}

/// Return the chaining values of four chunks of any lengths; they take as long as the longest.
///
/// A lane whose chunk has ended goes on with its last block, and nobody looks at it again.
#[inline(never)]
pub(super) fn chain_chunks<L: Lanes>(chunks: [Chunk<'_>; 4]) -> [Chaining; 4] {
    let rotor = L::rotor();
    let counters = chunks.map(|chunk| chunk.counter);
    let parts = chunks.map(|chunk| split_last(chunk.bytes));
    let last = parts.map(|(before, ..)| before.len());
    // Up to where the first chunk ends, the cheaper way.
    let common = last.into_iter().min().unwrap_or(0);
    let setting = Setting { counters, flags: 0, first: CHUNK_START, last: 0 };
    let mut h = absorbed(initial(), parts.map(|(before, ..)| &before[..common]), setting, rotor);
    let [low, high] = counter_words(counters);
    let mut found = [[0; CHAINING_BYTES]; 4];
    for index in common..=last.into_iter().max().unwrap_or(0) {
        let first = if index == 0 { CHUNK_START } else { 0 };
        let ends = last.map(|last| index == last);
        let blocks = parts.each_ref().map(|(before, end, _)| before.get(index).unwrap_or(end));
        let lengths = from_fn(|lane| if ends[lane] { parts[lane].2 } else { BLOCK_BYTES as u32 });
        let flags = ends.map(|end| if end { first | CHUNK_END } else { first });
        h = compressed(h, blocks, [low, high, L::new(lengths), L::new(flags)], rotor);
        if ends.contains(&true) {
            let chainings = chainings(h);
            for lane in (0..4).filter(|&lane| ends[lane]) {
                found[lane] = chainings[lane];
            }
        }
    }
    found
}

/// Return the chaining values that every chunk and every parent starts from.
fn initial<L: Lanes>() -> [L; 8] {
    IV.map(|word| L::new([word; 4]))
}

/// Return the lower and the upper words of counters.
fn counter_words<L: Lanes>(counters: [u64; 4]) -> [L; 2] {
    [0, 32].map(|shift| L::new(counters.map(|counter| (counter >> shift) as u32)))
}

/// Return the chaining values behind equally many whole blocks; all lanes have the same flags.
#[inline(always)]
fn absorbed<L: Lanes>(
    mut h: [L; 8],
    inputs: [&[Block]; 4],
    setting: Setting,
    rotor: L::Rotor,
) -> [L; 8] {
    let [low, high] = counter_words(setting.counters);
    let length = L::new([BLOCK_BYTES as u32; 4]);
    let [a, b, c, d] = inputs;
    let count = a.len();
    for (index, (((a, b), c), d)) in a.iter().zip(b).zip(c).zip(d).enumerate() {
        let first = if index == 0 { setting.first } else { 0 };
        let last = if index + 1 == count { setting.last } else { 0 };
        let flags = L::new([setting.flags | first | last; 4]);
        h = compressed(h, [a, b, c, d], [low, high, length, flags], rotor);
    }
    h
}

/// Split a chunk into its blocks but the last, the last with zeros behind it, and its length.
fn split_last(chunk: &[u8]) -> (&[Block], Block, u32) {
    let (blocks, _) = chunk.as_chunks();
    let before = &blocks[..(chunk.len() - 1) / BLOCK_BYTES];
    let last = &chunk[before.as_flattened().len()..];
    let mut block = [0; BLOCK_BYTES];
    block[..last.len()].copy_from_slice(last);
    (before, block, last.len() as u32)
}

#[inline(always)]
fn compressed<L: Lanes>(h: [L; 8], blocks: [&Block; 4], tail: [L; 4], rotor: L::Rotor) -> [L; 8] {
    let pairs: [[L; 2]; 8] = from_fn(|pair| L::pair(blocks.map(|block| pair_of(block, pair))));
    let mut m: [L; 16] = from_fn(|word| pairs[word / 2][word % 2]);
    let [iv0, iv1, iv2, iv3, ..] = IV.map(|word| L::new([word; 4]));
    let [h0, h1, h2, h3, h4, h5, h6, h7] = h;
    let [low, high, length, flags] = tail;
    let mut v = [h0, h1, h2, h3, h4, h5, h6, h7, iv0, iv1, iv2, iv3, low, high, length, flags];
    // Written out: as a loop, the words would be moved about between rounds.
    round(&mut v, &m, rotor);
    m = permuted(m);
    round(&mut v, &m, rotor);
    m = permuted(m);
    round(&mut v, &m, rotor);
    m = permuted(m);
    round(&mut v, &m, rotor);
    m = permuted(m);
    round(&mut v, &m, rotor);
    m = permuted(m);
    round(&mut v, &m, rotor);
    m = permuted(m);
    round(&mut v, &m, rotor);
    from_fn(|word| v[word].xor(v[word + 8]))
}

fn chainings<L: Lanes>(h: [L; 8]) -> [Chaining; 4] {
    let words = h.map(L::words);
    from_fn(|lane| {
        let mut chaining = [0; CHAINING_BYTES];
        for (bytes, word) in chaining.as_chunks_mut::<4>().0.iter_mut().zip(&words) {
            *bytes = word[lane].to_le_bytes();
        }
        chaining
    })
}

#[inline(always)]
fn pair_of(block: &Block, pair: usize) -> u64 {
    u64::from_le_bytes(block.as_chunks::<8>().0[pair])
}

#[inline(always)]
fn permuted<L: Lanes>(m: [L; 16]) -> [L; 16] {
    [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8].map(|word| m[word])
}

#[inline(always)]
fn round<L: Lanes>(v: &mut [L; 16], m: &[L; 16], rotor: L::Rotor) {
    mix(v, [0, 4, 8, 12], [m[0], m[1]], rotor);
    mix(v, [1, 5, 9, 13], [m[2], m[3]], rotor);
    mix(v, [2, 6, 10, 14], [m[4], m[5]], rotor);
    mix(v, [3, 7, 11, 15], [m[6], m[7]], rotor);
    mix(v, [0, 5, 10, 15], [m[8], m[9]], rotor);
    mix(v, [1, 6, 11, 12], [m[10], m[11]], rotor);
    mix(v, [2, 7, 8, 13], [m[12], m[13]], rotor);
    mix(v, [3, 4, 9, 14], [m[14], m[15]], rotor);
}

#[inline(always)]
fn mix<L: Lanes>(v: &mut [L; 16], [a, b, c, d]: [usize; 4], [x, y]: [L; 2], rotor: L::Rotor) {
    v[a] = v[a].add(v[b]).add(x);
    v[d] = v[d].xor(v[a]).right_16(rotor);
    v[c] = v[c].add(v[d]);
    v[b] = v[b].xor(v[c]).right_12();
    v[a] = v[a].add(v[b]).add(y);
    v[d] = v[d].xor(v[a]).right_8(rotor);
    v[c] = v[c].add(v[d]);
    v[b] = v[b].xor(v[c]).right_7();
}
