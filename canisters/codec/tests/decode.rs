//! Payloads of every codec, whole and broken.
#![cfg(feature = "decode")]

mod support;

use datanode_codec::{FormatError, decode};
use proptest::prelude::*;
use proptest::sample::Index;
use support::{mutated, mutations, write_frame};

/// A zstd frame of stored blocks, which every decoder reads.
fn stored(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x28, 0xb5, 0x2f, 0xfd, 0b1010_0000];
    out.extend((data.len() as u32).to_le_bytes());
    let blocks: Vec<&[u8]> =
        if data.is_empty() { vec![data] } else { data.chunks(128 << 10).collect() };
    for (index, block) in blocks.iter().enumerate() {
        let is_last = u32::from(index + 1 == blocks.len());
        out.extend(&((block.len() as u32) << 3 | is_last).to_le_bytes()[..3]);
        out.extend(*block);
    }
    out
}

/// The raw plane, written bit by bit from its description.
fn raw_plane(words: &[u16], mask: u16) -> Vec<u8> {
    let eighth = words.len().div_ceil(8);
    let mut free = (0..16).filter(|bit| mask >> bit & 1 == 0);
    let mut out = Vec::new();
    for width in [16, 8, 4, 2, 1] {
        if mask.count_zeros() as usize & width == 0 {
            continue;
        }
        let bits: Vec<u16> = free.by_ref().take(width).collect();
        let mut plane = vec![0u8; width * eighth];
        for (index, word) in words.iter().enumerate() {
            for (place, bit) in bits.iter().enumerate() {
                let (byte, shift) = match width {
                    16 => (2 * index + place / 8, place % 8),
                    8 => (index, place),
                    _ => (index % plane.len(), index / plane.len() * width + place),
                };
                plane[byte] |= ((word >> bit & 1) as u8) << shift;
            }
        }
        out.extend(plane);
    }
    out
}

struct Plane {
    header: Vec<u8>,
    body: Vec<u8>,
}

/// Split words so that every symbol beyond the first `most` is patched.
fn plane(words: &[u16], mask: u16, most: usize) -> Plane {
    let mut symbols: Vec<u16> = words.iter().map(|word| word & mask).collect();
    symbols.sort_unstable();
    symbols.dedup();
    symbols.truncate(most);
    if symbols.is_empty() {
        symbols.push(0);
    }
    let index = |word: u16| symbols.iter().position(|&symbol| symbol == word & mask);
    let patches: Vec<usize> = (0..words.len()).filter(|&at| index(words[at]).is_none()).collect();
    let indices: Vec<u8> = words.iter().map(|&word| index(word).unwrap_or(0) as u8).collect();
    let stream = if symbols.len() == 1 { Vec::new() } else { stored(&indices) };
    let mut header = mask.to_le_bytes().to_vec();
    header.extend((symbols.len() as u16).to_le_bytes());
    header.extend((patches.len() as u32).to_le_bytes());
    header.extend((stream.len() as u32).to_le_bytes());
    header.extend([0; 4]);
    let mut body: Vec<u8> = symbols.iter().flat_map(|symbol| symbol.to_le_bytes()).collect();
    body.extend(patches.iter().flat_map(|&at| (at as u32).to_le_bytes()));
    body.extend(patches.iter().flat_map(|&at| (words[at] & mask).to_le_bytes()));
    body.extend(raw_plane(words, mask));
    body.extend(stream);
    Plane { header, body }
}

fn payload(planes: &[Plane], tail: &[u8]) -> Vec<u8> {
    let mut out = vec![planes.len() as u8, 0, 0, 0];
    planes.iter().for_each(|plane| out.extend(&plane.header));
    planes.iter().for_each(|plane| out.extend(&plane.body));
    out.extend(tail);
    out
}

fn decoded(element: u8, raw: &[u8], payload: &[u8]) -> Result<Vec<u8>, FormatError> {
    decode(&write_frame(2, element, raw, 0, payload))
}

fn bytes_of(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Few values inside the mask and any outside, so that a payload is shorter than the words.
fn split_words(mask: u16) -> impl Strategy<Value = Vec<u16>> {
    let symbols = prop::collection::vec(any::<u16>(), 1..6);
    (symbols, prop::collection::vec((any::<Index>(), any::<u16>()), 600..900)).prop_map(
        move |(symbols, words)| {
            words.iter().map(|(at, noise)| at.get(&symbols) & mask | noise & !mask).collect()
        },
    )
}

/// Masks that leave at most seven raw bits.
fn masks() -> impl Strategy<Value = u16> {
    let bits: Vec<u32> = (0..16).collect();
    prop::sample::subsequence(bits, 0..=7)
        .prop_map(|bits| bits.iter().fold(u16::MAX, |mask, bit| mask & !(1 << bit)))
}

/// Three frequent values inside the mask 0xff0f, and three rare ones that are larger.
fn few_rare() -> Vec<u16> {
    (0..801).map(|at| 0x3800 | (at % 3) | if at % 97 == 5 { 0x400 } else { 0 }).collect()
}

#[test]
fn a_payload_of_codec_two_breaks_no_rule_of_its_table() {
    let words = few_rare();
    let raw = [bytes_of(&words), vec![9]].concat();
    let good = payload(&[plane(&words, 0xff0f, 3)], &[9]);
    assert_eq!(decoded(1, &raw, &good).unwrap(), raw);
    assert_eq!(decoded(2, &raw, &good).unwrap(), raw);
    for element in [0, 3, 4, 5] {
        assert!(decoded(element, &raw, &good).is_err());
    }
    let symbols = 20;
    let positions = symbols + 6;
    let patches = u32::from_le_bytes(good[8..12].try_into().unwrap()) as usize;
    assert!(patches > 2);
    let after = positions + 6 * patches;
    // byte, xor: plane count, reserved, mask, counts, lengths, reserved
    let header = [(0, 2), (1, 1), (4, 1), (6, 1), (7, 2), (8, 1), (11, 1), (12, 1), (16, 1)];
    // a symbol and a patch outside the mask, positions out of order and beyond the end
    let body = [
        (symbols, 0x10),
        (positions + 4 * patches, 0x10),
        (positions + 4 * patches - 1, 1),
        (positions + 1, 3),
    ];
    // padding of the raw plane, magic of the stream
    let padding = after + 4 * words.len().div_ceil(8) - 1;
    for (at, flip) in header.into_iter().chain(body).chain([(padding, 0x80), (padding + 1, 1)]) {
        let mut wrong = good.clone();
        wrong[at] ^= flip;
        let error = decoded(1, &raw, &wrong).unwrap_err();
        assert_ne!(error, FormatError::Content, "byte {at}");
    }
    let longer = [&good[..], &[0]].concat();
    let error = FormatError::Trailing { what: "masksplit payload", bytes: 1 };
    assert_eq!(decoded(1, &raw, &longer).unwrap_err(), error);
}

#[test]
fn an_index_beyond_the_symbols_is_refused_even_of_a_patched_word() {
    let words: Vec<u16> = (0..400).map(|at| if at == 2 { 0x200 } else { (at % 2) << 8 }).collect();
    let raw = bytes_of(&words);
    let good = payload(&[plane(&words, 0xff7f, 2)], &[]);
    let indices = good.len() - 400;
    for (word, index, is_read) in [(0, 2, false), (2, 2, false), (2, 1, true)] {
        let mut changed = good.clone();
        changed[indices + word] = index;
        assert_eq!(decoded(1, &raw, &changed).is_ok(), is_read);
    }
}

#[test]
fn a_zstd_stream_breaks_no_rule_of_its_file() {
    let rle = |size: u32, descriptor: &[u8]| {
        let mut out = vec![0x28, 0xb5, 0x2f, 0xfd];
        out.extend(descriptor);
        out.extend(&(size << 3 | 2 | 1).to_le_bytes()[..3]);
        out.push(b'x');
        out
    };
    let size = 200;
    let all = vec![b'x'; size as usize];
    let decoded = |stream: &[u8]| decode(&write_frame(1, 0, &all, 0, stream));
    let (small, byte) = (0b0010_0000, size as u8);
    assert_eq!(decoded(&rle(size, &[small, byte])).unwrap(), all);
    // No size stated, another size, more and less than stated, a reserved bit, a dictionary.
    assert!(decoded(&rle(size, &[0, 0x58])).is_err());
    assert!(decoded(&rle(size - 1, &[small, byte - 1])).is_err());
    assert!(decoded(&rle(size + 1, &[small, byte])).is_err());
    assert!(decoded(&rle(size - 1, &[small, byte])).is_err());
    assert!(decoded(&rle(size, &[small | 8, byte])).is_err());
    assert!(decoded(&rle(size, &[small | 1, 7, byte])).is_err());
    // A window of 2 MiB, and the next larger one.
    let four_bytes = |window: u8| [&[0x80, window][..], &size.to_le_bytes()].concat();
    assert!(decoded(&rle(size, &four_bytes(11 << 3))).is_ok());
    assert!(decoded(&rle(size, &four_bytes(11 << 3 | 1))).is_err());
    // A skippable frame before, another frame or a byte after, a block that never ends.
    let good = rle(size, &[small, byte]);
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0];
    assert!(decoded(&[&skippable[..], &good].concat()).is_err());
    assert!(decoded(&[&good[..], &skippable].concat()).is_err());
    assert!(decoded(&[&good[..], &[0]].concat()).is_err());
    let mut endless = good.clone();
    endless[6] &= !1;
    assert!(decoded(&endless).is_err());
    // A checksum that is not that of the bytes.
    assert!(decoded(&[&rle(size, &[small | 4, byte])[..], &[1, 2, 3, 4]].concat()).is_err());
    assert!(decoded(&[]).is_err());
}

#[test]
fn a_later_codec_is_not_decoded() {
    let error = FormatError::Unknown { what: "codec", found: 3 };
    assert_eq!(decode(&write_frame(3, 0, b"raw", 0, b"raw")).unwrap_err(), error);
}

#[test]
fn raw_bytes_other_than_the_content_are_refused() {
    let mut frame = write_frame(0, 0, b"raw", 0, b"raw");
    assert_eq!(decode(&frame).unwrap(), b"raw");
    frame[64] ^= 1;
    assert_eq!(decode(&frame).unwrap_err(), FormatError::Content);
}

proptest! {
    #[test]
    fn words_come_back_through_any_mask(
        (mask, words) in masks().prop_flat_map(|mask| (Just(mask), split_words(mask))),
        most in 1usize..6,
        tail in prop::collection::vec(any::<u8>(), 0..2),
    ) {
        let raw = [bytes_of(&words), tail.clone()].concat();
        // Many patches can make a payload longer than the raw bytes, which is no frame.
        let payload = [most, 6]
            .map(|most| payload(&[plane(&words, mask, most)], &tail))
            .into_iter()
            .find(|payload| payload.len() <= raw.len());
        prop_assert_eq!(decoded(1, &raw, &payload.unwrap()).unwrap(), raw);
    }

    #[test]
    fn singles_are_two_planes_of_words(
        (masks, upper, lower) in (masks(), masks()).prop_flat_map(|masks| {
            (Just(masks), split_words(masks.0), split_words(masks.1))
        }),
        tail in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let count = upper.len().min(lower.len());
        let (upper, lower) = (&upper[..count], &lower[..count]);
        let pairs: Vec<u16> = lower.iter().zip(upper).flat_map(|(&l, &u)| [l, u]).collect();
        let raw = [bytes_of(&pairs), tail.clone()].concat();
        let payload = payload(&[plane(upper, masks.0, 6), plane(lower, masks.1, 6)], &tail);
        prop_assert_eq!(decoded(3, &raw, &payload).unwrap(), raw);
    }

    #[test]
    fn a_broken_payload_is_refused_without_panic(mutations in mutations()) {
        let words = few_rare();
        let raw = bytes_of(&words);
        let good = payload(&[plane(&words, 0xff0f, 3)], &[]);
        if let Ok(decoded) = decoded(1, &raw, &mutated(&good, &mutations)) {
            prop_assert_eq!(decoded, raw);
        }
    }
}
