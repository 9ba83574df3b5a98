//! The placement record's table, line by line, and records gone wrong.

mod support;

use datanode_codec::FormatError;
use datanode_codec::placement::parse;
use proptest::prelude::*;
use support::{mutated, mutations, write_placement};

fn nodes() -> Vec<Vec<u8>> {
    vec![vec![1], vec![2; 10], vec![3; 29]]
}

fn valid() -> Vec<u8> {
    write_placement(&nodes(), &[(0, 5), (2, 1), (1, 10), (0, 4)])
}

fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut record = valid();
    record[at..at + bytes.len()].copy_from_slice(bytes);
    record
}

fn disagree(what: &'static str) -> FormatError {
    FormatError::Disagree { what }
}

#[test]
fn each_chunk_lies_on_the_node_of_its_run() {
    let placement = parse(&valid()).unwrap();
    assert_eq!(placement.manifest, [7; 32]);
    let principals: Vec<_> = placement.nodes.iter().map(|node| node.principal().to_vec()).collect();
    assert_eq!(principals, nodes());
    assert_eq!(placement.chunk_count, 20);
    let on: Vec<_> = (0..21).map(|chunk| placement.node_of(chunk)).collect();
    let expected = [(0, 5), (2, 1), (1, 10), (0, 4)]
        .iter()
        .flat_map(|&(node, length)| std::iter::repeat_n(Some(node), length))
        .chain([None]);
    assert_eq!(on, expected.collect::<Vec<_>>());
}

#[test]
fn a_placement_of_no_chunk_has_no_run() {
    let placement = parse(&write_placement(&nodes(), &[])).unwrap();
    assert_eq!(placement.node_of(0), None);
}

#[test]
fn every_rule_of_the_record_has_its_error() {
    let what = "placement record";
    let runs = 48 + 3 * 30;
    let sum = "the runs do not sum to the chunk count";
    let cases = [
        (with(0, b"XXXX"), FormatError::Magic { what }),
        (with(4, &[0]), FormatError::Version { what, found: 0 }),
        (with(5, &[1]), FormatError::Reserved { what }),
        (with(6, &[4]), FormatError::Truncated { what }),
        (with(12, &[0xff; 4]), FormatError::Truncated { what }),
        (with(12, &[3]), disagree(sum)),
        (with(8, &[19]), disagree(sum)),
        (with(8, &[21]), disagree(sum)),
        (
            with(48, &[0]),
            FormatError::Range { what: "length of a principal", found: 0, allowed: 29 },
        ),
        (
            with(48, &[30]),
            FormatError::Range { what: "length of a principal", found: 30, allowed: 29 },
        ),
        (with(50, &[9]), FormatError::Reserved { what }),
        (with(runs, &[3]), FormatError::Range { what: "node of a run", found: 3, allowed: 2 }),
        (with(runs + 2, &[0]), disagree("a run of a placement record is empty")),
        (with(runs + 6, &[0]), disagree("neighbouring runs name the same node")),
        (write_placement(&[], &[]), disagree("a placement record names no node")),
        (
            write_placement(&[vec![1], vec![1]], &[]),
            disagree("a node stands twice in a placement record"),
        ),
        ([valid(), vec![0]].concat(), FormatError::Trailing { what, bytes: 1 }),
    ];
    for (index, (record, error)) in cases.into_iter().enumerate() {
        assert_eq!(parse(&record).unwrap_err(), error, "case {index}");
    }
}

#[test]
fn principals_that_differ_only_in_trailing_zeros_are_two_nodes() {
    assert_eq!(parse(&write_placement(&[vec![1], vec![1, 0]], &[])).unwrap().nodes.len(), 2);
}

proptest! {
    #[test]
    fn every_cut_record_is_refused(length in 0..valid().len()) {
        prop_assert!(parse(&valid()[..length]).is_err());
    }

    #[test]
    fn a_mutated_record_is_refused_or_consistent(mutations in mutations()) {
        if let Ok(placement) = parse(&mutated(&valid(), &mutations)) {
            let last = placement.runs.last().map_or(0, |run| run.end);
            prop_assert_eq!(last, placement.chunk_count);
            let nodes = placement.nodes.len();
            prop_assert!(placement.runs.iter().all(|run| usize::from(run.node) < nodes));
        }
    }
}
