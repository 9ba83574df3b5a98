//! The frame header's table, line by line, and frames gone wrong.

mod support;

use datanode_codec::FormatError;
use datanode_codec::frame::{Codec, Element, HEADER_BYTES, parse};
use proptest::prelude::*;
use support::{mutated, mutations, write_frame};

fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = write_frame(0, 1, b"weights!", 4, b"weights!");
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

fn disagree(what: &'static str) -> FormatError {
    FormatError::Disagree { what }
}

#[test]
fn a_header_is_read_field_by_field() {
    let frame = write_frame(1, 2, b"twelve bytes", 6, b"five!");
    let (header, payload) = parse(&frame).unwrap();
    assert_eq!(header.codec, Codec::Zstd);
    assert_eq!(header.element, Element::Bf16);
    assert_eq!((header.raw_len, header.payload_len, header.row_len), (12, 5, 6));
    assert_eq!(header.content, datanode_codec::digest::hash(b"twelve bytes"));
    assert_eq!(payload, b"five!");
}

#[test]
fn every_rule_of_the_header_has_its_error() {
    let cases: [(Vec<u8>, FormatError); 15] = [
        (with(0, b"DNCG"), FormatError::Magic { what: "frame" }),
        (with(4, &[2]), FormatError::Version { what: "frame", found: 2 }),
        (with(6, &[6]), FormatError::Unknown { what: "element type", found: 6 }),
        (with(7, &[1]), FormatError::Reserved { what: "frame" }),
        (
            with(8, &2_080_769u32.to_le_bytes()),
            FormatError::Range { what: "raw length", found: 2_080_769, allowed: 2_080_768 },
        ),
        (
            with(12, &[0xff; 4]),
            FormatError::Range {
                what: "payload length",
                found: u32::MAX.into(),
                allowed: 2_080_768,
            },
        ),
        (with(12, &[9]), FormatError::Truncated { what: "frame" }),
        (with(12, &[7]), FormatError::Trailing { what: "frame", bytes: 1 }),
        (with(8, &[9]), disagree("a raw payload has not the raw length")),
        (
            [&with(5, &[3])[..8], &[7], &with(5, &[3])[9..]].concat(),
            disagree("a payload is longer than the raw bytes"),
        ),
        (with(48, &[3]), disagree("the raw bytes are not whole rows")),
        (with(48, &[5]), disagree("the raw bytes are not whole rows")),
        (with(48, &[0xff; 4]), disagree("the raw bytes are not whole rows")),
        (with(6, &[0]), disagree("the raw bytes are not whole rows")),
        (with(63, &[1]), FormatError::Reserved { what: "frame" }),
    ];
    for (frame, error) in cases {
        assert_eq!(parse(&frame).unwrap_err(), error);
    }
}

#[test]
fn a_frame_of_a_later_codec_is_a_frame() {
    assert_eq!(parse(&with(5, &[3])).unwrap().0.codec, Codec::Later(3));
}

#[test]
fn fewer_bytes_than_a_header_are_cut_off() {
    let frame = write_frame(0, 0, b"", 0, b"");
    assert!(parse(&frame).is_ok());
    for length in 0..HEADER_BYTES {
        assert_eq!(parse(&frame[..length]).unwrap_err(), FormatError::Truncated { what: "frame" });
    }
}

#[test]
fn an_id_is_the_one_that_it_was_read_from() {
    for id in 0..=u8::MAX {
        assert_eq!(Codec::from_id(id).id(), id);
        assert_eq!(Element::from_id(id).map(Element::id), (id <= 5).then_some(id));
    }
}

proptest! {
    #[test]
    fn a_mutated_frame_is_refused_or_means_what_it_says(mutations in mutations()) {
        let frame = mutated(&write_frame(0, 1, &[5; 200], 10, &[5; 200]), &mutations);
        if let Ok((header, payload)) = parse(&frame) {
            prop_assert_eq!(payload.len(), header.payload_len as usize);
            prop_assert_eq!(frame.len(), HEADER_BYTES + payload.len());
        }
    }

    #[test]
    fn any_bytes_are_parsed_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(parse(&bytes).is_err());
    }
}
