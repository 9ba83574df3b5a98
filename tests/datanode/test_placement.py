"""datanode.placement: every chunk has one node, and one placement has one encoding."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanode.digest import FrameDigest
from datanode.errors import FormatError, UnsupportedVersionError
from datanode.placement import Placement, parse
from datanode.principal import Principal

MANIFEST = FrameDigest(bytes(range(32)))
NODES = st.lists(st.binary(min_size=1, max_size=29), min_size=1, max_size=6, unique=True)
A, B = Principal(b"\x01\x01"), Principal(b"\x02" * 29)


@st.composite
def placements(draw: st.DrawFn) -> Placement:
    nodes = tuple(map(Principal, draw(NODES)))
    runs: list[tuple[int, int]] = []
    for node, length in draw(
        st.lists(st.tuples(st.integers(0, len(nodes) - 1), st.integers(1, 9)), max_size=12)
    ):
        if not runs or runs[-1][0] != node:
            runs.append((node, length))
    total = sum(length for _, length in runs)
    return Placement(manifest=MANIFEST, nodes=nodes, runs=tuple(runs), chunk_count=total)


def two_nodes() -> Placement:
    return Placement(manifest=MANIFEST, nodes=(A, B), runs=((0, 2), (1, 1)), chunk_count=3)


@given(placements())
def test_packed_placements_parse_to_themselves(placement: Placement) -> None:
    packed = placement.pack()
    assert parse(packed) == placement
    assert len(packed) == 48 + 30 * len(placement.nodes) + 6 * len(placement.runs)


@given(placements())
def test_every_chunk_has_the_node_of_its_run(placement: Placement) -> None:
    expected = [placement.nodes[node] for node, length in placement.runs for _ in range(length)]
    assert [placement.node_of(chunk) for chunk in range(placement.chunk_count)] == expected


def test_chunks_beyond_the_last_have_no_node() -> None:
    for chunk in (3, -1):
        with pytest.raises(FormatError):
            two_nodes().node_of(chunk)


@pytest.mark.parametrize(
    ("nodes", "runs", "total"),
    [
        ((), (), 0),
        ((A, A), (), 0),
        ((Principal(b""),), (), 0),
        ((A,), ((0, 1), (0, 1)), 2),
        ((A,), ((1, 1),), 1),
        ((A,), ((0, 0),), 0),
        ((A,), ((0, 2),), 1),
        ((A, B), ((0, 2**32 - 1), (1, 1)), 2**32),
    ],
)
def test_what_makes_no_sense_cannot_be_built(
    nodes: tuple[Principal, ...], runs: tuple[tuple[int, int], ...], total: int
) -> None:
    with pytest.raises(FormatError):
        Placement(manifest=MANIFEST, nodes=nodes, runs=runs, chunk_count=total)


def test_a_manifest_digest_has_32_bytes() -> None:
    with pytest.raises(FormatError):
        Placement(manifest=FrameDigest(b"short"), nodes=(A,), runs=(), chunk_count=0)


@pytest.mark.parametrize(
    ("offset", "new"),
    [
        (0, b"X"),
        (5, b"\1"),
        (6, b"\0"),
        (6, b"\3"),
        (8, b"\4"),
        (12, b"\xff\xff\xff\xff"),
        (48, b"\0"),
        (48, b"\x1e"),
        (48 + 29, b"\1"),
        (108, struct.pack("<H", 2)),
        (110, b"\0"),
        (114, struct.pack("<H", 0)),
    ],
)
def test_every_field_is_checked(offset: int, new: bytes) -> None:
    packed = bytearray(two_nodes().pack())
    packed[offset : offset + len(new)] = new
    with pytest.raises(FormatError):
        parse(bytes(packed))


def test_newer_versions_are_named() -> None:
    packed = bytearray(two_nodes().pack())
    packed[4] = 2
    with pytest.raises(UnsupportedVersionError, match="version 2"):
        parse(bytes(packed))


@given(st.integers(0, 119))
def test_truncated_records_are_refused(keep: int) -> None:
    with pytest.raises(FormatError):
        parse(two_nodes().pack()[:keep])


def test_trailing_bytes_are_refused() -> None:
    with pytest.raises(FormatError):
        parse(two_nodes().pack() + b"\0")
