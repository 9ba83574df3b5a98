//! Frames that libzstd and the Python encoder wrote, whole and mutated, against an independent
//! decoder.

use std::path::{Path, PathBuf};

use datanode_codec::{digest, frame};
use datanode_decode::Decoder;
use proptest::prelude::*;
use proptest::sample::Index;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

/// All golden frames, with their names.
fn frames() -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for folder in [golden(), golden().join("decode")] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let bytes = if path.is_file() { std::fs::read(&path).unwrap() } else { continue };
            if bytes.starts_with(b"DNCF") {
                found.push((name, bytes));
            }
        }
    }
    found.sort();
    assert!(found.len() > 20);
    found
}

#[test]
fn golden_frames_decode_to_their_content() {
    let mut decoder = Decoder::new();
    for (name, bytes) in frames() {
        let (header, raw) =
            decoder.decode(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(raw.len(), header.raw_len as usize, "{name}");
        assert_eq!(digest::hash(raw), header.content, "{name}");
    }
}

#[test]
fn every_prefix_of_a_frame_is_rejected() {
    let mut decoder = Decoder::new();
    for (name, bytes) in frames() {
        let payload_len = bytes.len() - frame::HEADER_BYTES;
        for cut in (0..payload_len).step_by(payload_len / 60 + 1) {
            let mut shorter = bytes[..frame::HEADER_BYTES + cut].to_vec();
            shorter[12..16].copy_from_slice(&(cut as u32).to_le_bytes());
            assert!(decoder.decode(&shorter).is_err(), "{name} cut to {cut}");
        }
    }
}

#[test]
fn a_later_codec_is_rejected() {
    let (_, mut bytes) = frames().pop().unwrap();
    bytes[5] = 3;
    assert!(Decoder::new().decode(&bytes).is_err());
}

/// Decode with both decoders. They agree, except that the reference alone checks the content digest.
fn compare(decoder: &mut Decoder, bytes: &[u8]) -> Result<(), TestCaseError> {
    let reference = datanode_codec::decode(bytes);
    match decoder.decode(bytes) {
        Ok((header, raw)) => {
            prop_assert_eq!(raw.len(), header.raw_len as usize);
            if digest::hash(raw) == header.content {
                prop_assert_eq!(reference.as_deref(), Ok(raw));
            } else {
                prop_assert!(reference.is_err());
            }
        }
        Err(error) => prop_assert!(reference.is_err(), "rejected by this decoder only: {error}"),
    }
    Ok(())
}

/// Replace bytes behind the frame header, mostly near the start, where the tables are.
fn mutated(bytes: &[u8], changes: &[(Index, u8, bool)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let room = bytes.len() - frame::HEADER_BYTES;
    for (at, value, is_early) in changes {
        let reach = if *is_early { room.min(700) } else { room };
        bytes[frame::HEADER_BYTES + at.index(reach)] = *value;
    }
    bytes
}

/// A frame of codec 2 whose words have the same bits inside the mask.
fn constant_inside(mask: u16, words: &[u16]) -> Vec<u8> {
    let eighth = words.len().div_ceil(8);
    let mut payload = vec![1, 0, 0, 0];
    payload.extend(mask.to_le_bytes());
    payload.extend([1, 0]);
    payload.extend([0; 12]);
    payload.extend((words[0] & mask).to_le_bytes());
    let mut free = (0..16).filter(|bit| mask >> bit & 1 == 0);
    for width in [16, 8, 4, 2, 1].into_iter().filter(|width| mask.count_zeros() & width != 0) {
        let width = width as usize;
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
        payload.extend(plane);
    }
    let raw: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut bytes = b"DNCF\x01\x02\x02\x00".to_vec();
    bytes.extend((raw.len() as u32).to_le_bytes());
    bytes.extend((payload.len() as u32).to_le_bytes());
    bytes.extend(digest::hash(&raw));
    bytes.extend([0; 16]);
    bytes.extend(payload);
    bytes
}

proptest! {
    #[test]
    fn raw_planes_of_any_mask_are_merged(
        mask in 1u16..,
        first in any::<u16>(),
        noise in prop::collection::vec(any::<u16>(), 400..900),
    ) {
        let words: Vec<u16> = noise.iter().map(|word| first & mask | word & !mask).collect();
        let bytes = constant_inside(mask, &words);
        let expected: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut decoder = Decoder::new();
        prop_assert_eq!(decoder.decode(&bytes).unwrap().1, expected.as_slice());
        compare(&mut decoder, &bytes)?;
    }

    #[test]
    fn mutated_frames_give_what_the_reference_gives(
        which in any::<Index>(),
        changes in prop::collection::vec((any::<Index>(), any::<u8>(), any::<bool>()), 1..4),
    ) {
        let frames = FRAMES.get_or_init(frames);
        // A decoder that has decoded another frame before gives the same.
        let mut decoder = Decoder::new();
        let _ = decoder.decode(&frames[0].1);
        let _ = decoder.decode(&frames[which.index(frames.len())].1);
        compare(&mut decoder, &mutated(&frames[which.index(frames.len())].1, &changes))?;
    }

    #[test]
    fn payloads_of_any_bytes_are_decoded_or_rejected(
        codec in 0u8..3,
        element in 0u8..6,
        raw_len in 0u32..3_000_000,
        payload in prop::collection::vec(any::<u8>(), 0..400),
        is_zstd in any::<bool>(),
    ) {
        let mut bytes = b"DNCF\x01".to_vec();
        bytes.extend([codec, element, 0]);
        bytes.extend(raw_len.to_le_bytes());
        let start = if is_zstd { b"\x28\xb5\x2f\xfd\xa0".to_vec() } else { Vec::new() };
        let mut start = start;
        if is_zstd {
            start.extend(raw_len.to_le_bytes());
        }
        bytes.extend(((start.len() + payload.len()) as u32).to_le_bytes());
        bytes.extend([0; 48]);
        bytes.extend(start);
        bytes.extend(payload);
        let mut decoder = Decoder::new();
        if let Ok((header, raw)) = decoder.decode(&bytes) {
            prop_assert_eq!(raw.len(), header.raw_len as usize);
        }
    }
}

static FRAMES: std::sync::OnceLock<Vec<(String, Vec<u8>)>> = std::sync::OnceLock::new();
