//! What this crate reads and writes is what crate `candid` does.

use candid::{CandidType, Principal};
use datanode_idl::judge::{Numbers, agree};
use datanode_idl::{Fault, Idl, SKIPPING_QUOTA, decode_all, decode_one, encode};
use serde::Deserialize;
use serde_bytes::ByteBuf;

#[derive(CandidType, Deserialize, Idl, Clone, Debug, PartialEq)]
struct Plain {
    flag: bool,
    small: u8,
    middle: u16,
    large: u32,
    huge: u64,
    signed: i64,
    float: f32,
    nat: u128,
    text: String,
    who: Principal,
    bytes: ByteBuf,
}

#[derive(CandidType, Deserialize, Idl, Clone, Debug, PartialEq)]
enum Choice {
    #[serde(rename = "nothing_")]
    Nothing,
    One(Vec<u32>),
    #[serde(rename = "some")]
    Some {
        a: Option<u64>,
        b: Vec<Option<Plain>>,
    },
}

#[derive(CandidType, Deserialize, Idl, Clone, Debug, PartialEq)]
struct Deep {
    choice: Choice,
    answer: Result<(), String>,
    answers: Vec<Result<Plain, Choice>>,
    maybe: Option<Choice>,
    more: Option<Vec<Choice>>,
}

#[derive(CandidType, Deserialize, Idl, Clone, Debug, PartialEq)]
struct Optional {
    a: Option<bool>,
    b: Option<String>,
    c: Option<Vec<u16>>,
}

#[test]
fn both_crates_read_and_write_alike() {
    let read = [
        agree::<Plain>(500),
        agree::<Choice>(500),
        agree::<Deep>(500),
        agree::<Vec<Deep>>(100),
        agree::<Option<Plain>>(500),
        agree::<Optional>(500),
        agree::<u64>(500),
        agree::<String>(500),
        agree::<Result<Vec<Principal>, bool>>(300),
    ];
    assert!(read.iter().all(|read| *read > 20), "{read:?}");
}

#[test]
fn no_bytes_make_the_decoder_panic() {
    let mut numbers = Numbers(7);
    for _ in 0..20_000 {
        let length = numbers.below(40);
        let tail: Vec<u8> = (0..length).map(|_| numbers.below(256) as u8).collect();
        let mut bytes = b"DIDL".to_vec();
        bytes.extend((0..numbers.below(8)).map(|_| 0x68 + numbers.below(24) as u8));
        bytes.extend(tail);
        let _ = decode_one::<Deep>(&bytes, SKIPPING_QUOTA);
        let _ = decode_one::<Optional>(&bytes[4..], SKIPPING_QUOTA);
    }
}

#[test]
fn arguments_that_are_missing_are_none_and_those_beyond_are_skipped() {
    let read = |bytes: &[u8]| decode_all::<(Option<u64>, Option<String>)>(bytes, 100);
    assert_eq!(read(b""), Ok((None, None)));
    assert_eq!(read(&candid::encode_args((7_u64,)).unwrap()), Ok((Some(7), None)));
    let more = candid::encode_args((7_u64, "x", vec![1_u8; 90])).unwrap();
    assert_eq!(read(&more), Ok((Some(7), Some("x".into()))));
    let too_much = candid::encode_args((7_u64, "x", vec![1_u8; 101])).unwrap();
    assert_eq!(read(&too_much), Err(Fault::Quota));
    assert_eq!(decode_one::<u64>(b"", 100), Err(Fault::Type));
}

/// Lengths, depths and counts that cost more than they send.
#[test]
fn bombs_are_refused() {
    let refused = |bytes: &[u8]| decode_one::<Optional>(bytes, SKIPPING_QUOTA).unwrap_err();
    let many = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let nulls = [b"DIDL\x01\x6d\x7f\x01\x00".as_slice(), &many].concat();
    assert_eq!(decode_one::<Option<bool>>(&nulls, SKIPPING_QUOTA), Err(Fault::Quota));
    let empty_records = [b"DIDL\x02\x6d\x01\x6c\x00\x01\x00".as_slice(), &many].concat();
    let read = decode_one::<Vec<Optional>>(&empty_records, SKIPPING_QUOTA);
    assert_eq!(read, Err(Fault::Quota));
    assert_eq!(refused(&empty_records), Fault::Type);
    let itself = b"DIDL\x02\x6c\x01\x00\x00\x6c\x01\x07\x00\x01\x01";
    assert_eq!(refused(itself), Fault::Quota);
    let deep = [b"DIDL\x01\x6e\x00\x02\x7f\x00".as_slice(), &[1; 5_000]].concat();
    assert_eq!(decode_one::<Option<bool>>(&deep, SKIPPING_QUOTA), Err(Fault::Quota));
    let long = [b"DIDL\x00\x01\x71".as_slice(), &many].concat();
    assert_eq!(decode_one::<String>(&long, SKIPPING_QUOTA), Err(Fault::End));
    let many = candid::encode_one(vec![7_u8; 300_000].iter().map(|n| Some(*n)).collect::<Vec<_>>());
    assert_eq!(decode_one::<Vec<Option<u8>>>(&many.unwrap(), SKIPPING_QUOTA), Err(Fault::Quota));
    let types = [b"DIDL".as_slice(), &[0x91, 0x4e], &[0x6d, 0x7f].repeat(10_001), &[0]].concat();
    assert_eq!(decode_all::<()>(&types, SKIPPING_QUOTA), Err(Fault::Table));
}

#[test]
fn other_types_of_candid_are_skipped() {
    for hex in [
        "4449444c026a017c00010169010161000101010103010203", // a service
        "4449444c016a00000001000101000161",                 // a function
        "4449444c01670301020301000200010203",               // a type of the future
    ] {
        let bytes: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect();
        let ours = decode_one::<Option<bool>>(&bytes, SKIPPING_QUOTA);
        let theirs = candid::decode_one::<Option<bool>>(&bytes);
        assert_eq!(ours.ok(), theirs.ok(), "{hex}");
    }
}

#[test]
fn a_digest_has_its_length() {
    let blob = |length| encode(&ByteBuf::from(vec![1; length]));
    assert_eq!(decode_one::<[u8; 32]>(&blob(32), 0), Ok([1; 32]));
    assert_eq!(decode_one::<[u8; 32]>(&blob(31), 0), Err(Fault::Length));
    assert_eq!(encode(&[1_u8; 32]), blob(32));
}

#[test]
fn numbers_have_their_bounds() {
    for number in [0, 127, 128, u64::MAX.into(), u128::MAX] {
        assert_eq!(decode_one::<u128>(&candid::encode_one(number).unwrap(), 0), Ok(number));
    }
    let beyond = [b"DIDL\x00\x01\x7d".as_slice(), &[0x80; 18], &[0x04]].concat();
    assert_eq!(decode_one::<u128>(&beyond, 0), Err(Fault::Value));
}
