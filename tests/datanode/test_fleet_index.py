"""datanode.fleet_index: every chunk has one place, and one index has one encoding."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanode.digest import FrameDigest
from datanode.errors import FormatError, UnsupportedVersionError
from datanode.fleet_index import FleetIndex, FleetPart, parse_fleet_index
from datanode.part_names import is_part_name, part_name
from datanode.principal import Principal
from tests.golden.make import sample_fleet_index

GOLDEN = Path(__file__).parents[1] / "golden" / "fleet_index_v1.bin"
MANIFEST = FrameDigest(bytes(range(32)))


def part(number: int) -> FleetPart:
    return FleetPart(
        node=Principal(bytes((number, 1))),
        version=number,
        manifest=FrameDigest(bytes([number]) * 32),
    )


@st.composite
def indexes(draw: st.DrawFn) -> FleetIndex:
    count = draw(st.integers(1, 5))
    segment = st.tuples(st.integers(0, count - 1), st.integers(0, 9), st.integers(1, 9))
    segments = [(at, 3, 2) for at in range(count)] + draw(st.lists(segment, max_size=12))
    return FleetIndex(
        manifest=MANIFEST,
        parts=tuple(part(number) for number in range(1, count + 1)),
        segments=tuple(draw(st.permutations(segments))),
    )


@given(indexes())
def test_packed_indexes_parse_to_themselves(index: FleetIndex) -> None:
    assert parse_fleet_index(index.pack()) == index


@given(indexes())
def test_every_chunk_is_located_in_its_segment(index: FleetIndex) -> None:
    expected = [
        (at, first + offset) for at, first, count in index.segments for offset in range(count)
    ]
    assert [index.locate(chunk) for chunk in range(index.chunk_count)] == expected
    placement = index.placement()
    assert [placement.node_of(chunk) for chunk in range(index.chunk_count)] == [
        index.parts[at].node for at, _ in expected
    ]


@given(indexes(), st.data())
def test_mutated_indexes_are_refused_or_canonical(index: FleetIndex, data: st.DataObject) -> None:
    raw = bytearray(index.pack())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        parsed = parse_fleet_index(bytes(raw))
    except (FormatError, UnsupportedVersionError):
        return
    assert parsed.pack() == raw


@pytest.mark.parametrize(
    ("parts", "segments"),
    [
        ((), ()),
        ((1, 1), ((0, 0, 1), (1, 0, 1))),
        ((1,), ((0, 0, 0),)),
        ((1,), ((1, 0, 1),)),
        ((1, 2), ((0, 0, 1),)),
        ((1,), ((0, 2**32 - 1, 1),)),
    ],
)
def test_rejects_impossible_indexes(
    parts: tuple[int, ...], segments: tuple[tuple[int, int, int], ...]
) -> None:
    with pytest.raises(FormatError):
        FleetIndex(manifest=MANIFEST, parts=tuple(map(part, parts)), segments=segments)


def test_rejects_chunks_that_are_not_there() -> None:
    index = FleetIndex(manifest=MANIFEST, parts=(part(1),), segments=((0, 4, 2),))
    for chunk in (-1, 2):
        with pytest.raises(FormatError):
            index.locate(chunk)


def test_golden_index_keeps_its_bytes() -> None:
    index = sample_fleet_index()
    assert index.pack() == GOLDEN.read_bytes()
    assert parse_fleet_index(GOLDEN.read_bytes()) == index


def test_part_names_are_told_apart() -> None:
    assert is_part_name(part_name("llama"))
    assert not is_part_name("llama.part")
