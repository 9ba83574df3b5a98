//! Parsers allocate at most a small multiple of the bytes that they are given.

#[path = "support/memory.rs"]
mod memory;
mod support;

use datanode_codec::{manifest, placement};
use memory::peak;
use proptest::prelude::*;
use support::{HeadParts, cbor, mutated, mutations, tensor, write_placement, write_tensor_page};

fn all_parsers(bytes: &[u8]) -> isize {
    let head = peak(|| manifest::parse_head(bytes)).1;
    let page = peak(|| manifest::tensor_page(bytes)).1;
    let chunks = peak(|| manifest::chunk_page(bytes).map(|page| page.iter().count())).1;
    head.max(page).max(chunks).max(peak(|| placement::parse(bytes)).1)
}

#[test]
fn the_largest_tensor_page_costs_less_than_eight_mebibytes() {
    let tensors: Vec<_> =
        (0..4096).map(|index| tensor(&format!("{index:0234}"), 0, index)).collect();
    let page = write_tensor_page(&tensors);
    assert!((1_000_000..=1 << 20).contains(&page.len()), "{}", page.len());
    assert!(manifest::tensor_page(&page).is_ok());
    assert!(all_parsers(&page) < 8 << 20);
}

#[test]
fn a_head_full_of_files_or_metadata_costs_less_than_eight_mebibytes() {
    let mut head = HeadParts::small();
    (head.chunk_count, head.tensor_count) = (0, 0);
    head.chunk_pages.clear();
    head.tensor_pages.clear();
    head.metadata.clear();
    head.files = (0..22_000).map(|index| (format!("{index:06}"), 0, [0; 32], 0, 0)).collect();
    let bytes = head.write();
    assert!(manifest::parse_head(&bytes).is_ok());
    assert!(all_parsers(&bytes) < 8 << 20);
    head.files.clear();
    head.metadata = (0..100_000).map(|index| (format!("{index:06}"), "".into())).collect();
    let bytes = head.write();
    assert_eq!(manifest::parse_head(&bytes).unwrap().metadata.len(), 100_000);
    assert!(all_parsers(&bytes) < 8 << 20);
}

#[test]
fn a_stated_count_alone_allocates_nothing() {
    for major in [4, 5] {
        for count in [1 << 20, 1 << 31, 1 << 40, u64::MAX] {
            let mut bytes = Vec::new();
            cbor::head(&mut bytes, major, count);
            assert_eq!(all_parsers(&bytes), 0);
        }
    }
    let mut record = write_placement(&[vec![1]], &[(0, 1)]);
    record[6..8].fill(0xff);
    record[12..16].fill(0xff);
    assert_eq!(all_parsers(&record), 0);
}

proptest! {
    #[test]
    fn mutated_bytes_allocate_at_most_a_small_multiple(mutations in mutations()) {
        let tensors = [tensor("a", 0, 0), tensor("b", 0, 0), tensor("a", 1, 0)];
        for bytes in [
            HeadParts::small().write(),
            write_tensor_page(&tensors),
            write_placement(&[vec![1], vec![2]], &[(0, 5), (1, 1), (0, 1)]),
        ] {
            let bytes = mutated(&bytes, &mutations);
            prop_assert!(all_parsers(&bytes) <= 16 * bytes.len() as isize + 4096);
        }
    }
}
