//! The manifest's head and pages: what is read, what is refused.

mod support;

use datanode_codec::FormatError;
use datanode_codec::frame::{Codec, Element};
use datanode_codec::manifest::{chunk_page, parse_head, tensor_page};
use proptest::prelude::*;
use support::{HeadParts, mutated, mutations, tensor, write_chunk_record, write_tensor_page};

fn changed(change: impl FnOnce(&mut HeadParts)) -> Vec<u8> {
    let mut parts = HeadParts::small();
    change(&mut parts);
    parts.write()
}

fn is_disagree(bytes: &[u8]) -> bool {
    matches!(parse_head(bytes), Err(FormatError::Disagree { .. }))
}

fn is_order(bytes: &[u8]) -> bool {
    matches!(parse_head(bytes), Err(FormatError::Order { .. }))
}

#[test]
fn a_head_is_read_field_by_field() {
    let head = parse_head(&changed(|parts| parts.base = Some([9; 32]))).unwrap();
    assert_eq!(head.base, Some([9; 32]));
    assert_eq!(head.chunk_pages, [[3; 32]]);
    assert_eq!(head.tensor_pages, [[4; 32]]);
    assert_eq!((head.chunk_count, head.tensor_count), (4, 2));
    let pairs: Vec<_> = head.metadata.iter().collect();
    assert_eq!(pairs, [("a", "b"), ("format", "pt")]);
    assert_eq!(head.metadata.len(), 2);
    let file = &head.files[1];
    assert_eq!(file.path, "model.safetensors");
    assert_eq!((file.bytes, file.first_chunk, file.chunk_count), (5_000_000, 1, 3));
    assert_eq!(file.sha256, [2; 32]);
    assert_eq!(parse_head(&HeadParts::small().write()).unwrap().base, None);
}

#[test]
fn a_head_whose_counts_do_not_agree_is_refused() {
    assert!(is_disagree(&changed(|parts| parts.chunk_count = 5)));
    assert!(is_disagree(&changed(|parts| parts.files[1].3 = 2)));
    assert!(is_disagree(&changed(|parts| parts.files[1].1 = 3 * 2_080_768 + 1)));
    assert!(is_disagree(&changed(|parts| parts.files[1].1 = 2)));
    assert!(is_disagree(&changed(|parts| parts.files[0].1 = 0)));
    assert!(is_disagree(&changed(|parts| parts.chunk_pages.push([5; 32]))));
    assert!(is_disagree(&changed(|parts| parts.chunk_pages.clear())));
    assert!(is_disagree(&changed(|parts| parts.tensor_pages.clear())));
    assert!(is_disagree(&changed(|parts| parts.tensor_count = 0)));
    assert!(is_disagree(&changed(|parts| parts.tensor_count = 4097)));
    let all = u64::from(u32::MAX);
    assert!(is_disagree(&changed(|parts| parts.files[1].4 = all)));
}

#[test]
fn a_path_stays_within_the_model() {
    for path in ["", "/a", "a/", "a//b", ".", "a/../b", "a/./b", "a b", "a\\b", "\u{e9}", "a\0"] {
        assert!(is_disagree(&changed(|parts| parts.files[0].0 = path.into())), "{path}");
    }
    for path in ["a", "..a/.b", "A-z_0.9/x"] {
        assert!(parse_head(&changed(|parts| parts.files[0].0 = path.into())).is_ok(), "{path}");
    }
}

#[test]
fn lists_of_a_head_rise_strictly() {
    assert!(is_order(&changed(|parts| parts.files[0].0 = "model.safetensors".into())));
    assert!(is_order(&changed(|parts| parts.files[0].0 = "n".into())));
    assert!(is_order(&changed(|parts| parts.metadata.swap(0, 1))));
    assert!(is_order(&changed(|parts| parts.metadata[1].0 = "a".into())));
    // Bytewise by encoding: the shorter key first.
    assert!(parse_head(&changed(|parts| parts.metadata[0].0 = "z".into())).is_ok());
}

#[test]
fn only_the_one_deterministic_encoding_is_read() {
    let valid = HeadParts::small().write();
    assert_eq!(valid[..4], [0xa7, 0x61, b'v', 0x01]);
    let long_version = [&valid[..3], &[0x18, 0x01], &valid[4..]].concat();
    assert_eq!(parse_head(&long_version).unwrap_err(), FormatError::NotShortest { at: 3 });
    let long_map = [&[0xb8, 0x07], &valid[1..]].concat();
    assert_eq!(parse_head(&long_map).unwrap_err(), FormatError::NotShortest { at: 0 });
    let indefinite = [&[0xbf], &valid[1..], &[0xff]].concat();
    assert_eq!(parse_head(&indefinite).unwrap_err(), FormatError::NotShortest { at: 0 });
    let trailing = [&valid[..], &[0]].concat();
    let error = FormatError::Trailing { what: "manifest head", bytes: 1 };
    assert_eq!(parse_head(&trailing).unwrap_err(), error);
    let error = FormatError::Version { what: "manifest head", found: 2 };
    assert_eq!(parse_head(&changed(|parts| parts.version = 2)).unwrap_err(), error);
    assert!(matches!(parse_head(&vec![0; 1_048_577]), Err(FormatError::Range { .. })));
}

#[test]
fn a_count_beyond_the_bytes_is_refused_before_anything_is_allocated() {
    // {"v": 1, "files": [2^62 entries ...
    let bytes =
        [&[0xa7, 0x61, b'v', 1, 0x65][..], b"files", &[0x9b, 0x40, 0, 0, 0, 0, 0, 0, 0]].concat();
    let error = FormatError::Truncated { what: "manifest head" };
    assert_eq!(parse_head(&bytes).unwrap_err(), error);
}

#[test]
fn chunk_records_are_read_in_order() {
    let page = [write_chunk_record(1, 10, 64), write_chunk_record(2, 2_080_768, 2_080_832)];
    let page = chunk_page(page.as_flattened()).unwrap();
    assert_eq!(page.len(), 2);
    let records: Vec<_> = page.into_iter().collect();
    assert_eq!(records[0], page.get(0).unwrap());
    assert_eq!((records[1].raw_len, records[1].frame_len), (2_080_768, 2_080_832));
    assert_eq!((records[0].content, records[0].frame), ([1; 32], [0xfe; 32]));
    assert_eq!((records[0].codec, records[0].element), (Codec::Zstd, Element::Bytes));
    assert_eq!(page.get(2), None);
}

#[test]
fn a_chunk_page_breaks_no_rule_of_its_table() {
    let record = write_chunk_record(1, 10, 70);
    assert!(chunk_page(&[]).is_err());
    assert!(chunk_page(&record[..79]).is_err());
    assert!(chunk_page(&vec![record; 16_384].concat()).is_ok());
    assert!(chunk_page(&vec![record; 16_385].concat()).is_err());
    for (at, value) in [(64, 0), (68, 63), (71, 1), (67, 1), (73, 6), (74, 1), (79, 1)] {
        let mut wrong = record;
        wrong[at] = value;
        assert!(chunk_page(&wrong).is_err(), "byte {at}");
    }
}

#[test]
fn tensors_rise_by_file_offset_and_name() {
    let tensors = [tensor("a", 0, 0), tensor("b", 0, 0), tensor("a", 1, 0), tensor("c", 1, 9)];
    let entries = tensor_page(&write_tensor_page(&tensors)).unwrap();
    assert_eq!(entries.len(), 4);
    assert_eq!((entries[3].name.as_str(), entries[3].offset, entries[3].file), ("c", 9, 1));
    assert_eq!((entries[0].dtype.as_str(), &entries[0].shape[..]), ("F16", &[4096, 4096][..]));
    assert_eq!((entries[0].first_chunk, entries[0].chunk_count), (1, 17));
    for wrong in [
        vec![tensor("b", 0, 0), tensor("a", 0, 0)],
        vec![tensor("a", 0, 1), tensor("b", 0, 0)],
        vec![tensor("a", 1, 0), tensor("b", 0, 0)],
        vec![tensor("a", 0, 0), tensor("a", 0, 1)],
    ] {
        let error = tensor_page(&write_tensor_page(&wrong)).unwrap_err();
        assert!(matches!(error, FormatError::Order { .. }));
    }
    assert!(tensor_page(&write_tensor_page(&[])).is_err());
}

#[test]
fn a_tensor_has_at_most_eight_dimensions_and_a_name_of_512_bytes() {
    let mut wide = tensor("a", 0, 0);
    wide.2 = vec![1; 8];
    assert!(tensor_page(&write_tensor_page(std::slice::from_ref(&wide))).is_ok());
    wide.2.push(1);
    assert!(tensor_page(&write_tensor_page(&[wide])).is_err());
    assert!(tensor_page(&write_tensor_page(&[tensor(&"n".repeat(512), 0, 0)])).is_ok());
    assert!(tensor_page(&write_tensor_page(&[tensor(&"n".repeat(513), 0, 0)])).is_err());
    assert!(tensor_page(&write_tensor_page(&[tensor("", 0, 0)])).is_err());
}

proptest! {
    #[test]
    fn every_cut_head_is_refused(length in 0..HeadParts::small().write().len()) {
        prop_assert!(parse_head(&HeadParts::small().write()[..length]).is_err());
    }

    #[test]
    fn mutated_manifests_never_panic(mutations in mutations()) {
        let _ = parse_head(&mutated(&HeadParts::small().write(), &mutations));
        let records = [write_chunk_record(1, 10, 64), write_chunk_record(2, 9, 70)];
        let mutant = mutated(records.as_flattened(), &mutations);
        if let Ok(page) = chunk_page(&mutant) {
            prop_assert_eq!(page.iter().count(), page.len());
        }
        let tensors = [tensor("a", 0, 0), tensor("b", 0, 0), tensor("a", 1, 0)];
        let _ = tensor_page(&mutated(&write_tensor_page(&tensors), &mutations));
    }

    #[test]
    fn any_bytes_are_parsed_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = (parse_head(&bytes), tensor_page(&bytes), chunk_page(&bytes).map(|page| page.len()));
    }
}
