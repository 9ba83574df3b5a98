"""uploader.chunker: chunks tile every file, and equal tensors are cut alike."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datanode.limits import MAX_CHUNK_BYTES
from datanode.model import ElementType, FileSpec, TensorSpec
from uploader.chunker import Layout, split
from uploader.grouping import SMALL_BYTES

DTYPE_BYTES = {"F16": 2, "BF16": 2, "F32": 4, "F8_E4M3": 1, "I64": 8, "C64": 8, "BOOL": 1}

extents = st.one_of(st.integers(0, 9), st.integers(200, 5_000), st.just(3_000_000))
shapes = st.lists(extents, max_size=4).map(tuple).filter(lambda shape: math.prod(shape) < 2**24)
kinds = st.tuples(st.sampled_from(sorted(DTYPE_BYTES)), shapes)


def tensor(
    name: str, dtype: str, shape: tuple[int, ...], *, file_index: int = 0, offset: int = 0
) -> TensorSpec:
    return TensorSpec(
        name=name,
        dtype=dtype,
        shape=shape,
        file_index=file_index,
        offset_bytes=offset,
        length_bytes=math.prod(shape) * DTYPE_BYTES[dtype],
    )


@st.composite
def checkpoints(draw: st.DrawFn) -> tuple[list[FileSpec], list[TensorSpec]]:
    files, tensors = [], []
    for file_index in range(draw(st.integers(0, 3))):
        end = draw(st.one_of(st.integers(0, 200), st.just(MAX_CHUNK_BYTES + 1)))
        for number in range(draw(st.integers(0, 4))):
            dtype, shape = draw(kinds)
            spec = tensor(f"t{number}", dtype, shape, file_index=file_index, offset=end)
            end += spec.length_bytes + draw(st.sampled_from([0, 0, 0, 5]))
            tensors.append(spec)
        tail = draw(st.sampled_from([0, 0, 7, 3 * MAX_CHUNK_BYTES]))
        files.append(FileSpec(path=f"f{file_index}", length_bytes=end + tail))
    return files, tensors


@given(checkpoints())
@settings(max_examples=150)
def test_chunks_tile_every_file_in_order(
    checkpoint: tuple[list[FileSpec], list[TensorSpec]],
) -> None:
    files, tensors = checkpoint
    ends = [0] * len(files)
    last_file = 0
    for position, chunk in enumerate(split(files, tensors)):
        assert chunk.index == position
        assert chunk.file_index >= last_file
        assert chunk.offset_bytes == ends[chunk.file_index]
        assert 1 <= chunk.length_bytes <= MAX_CHUNK_BYTES
        last_file = chunk.file_index
        ends[chunk.file_index] += chunk.length_bytes
    assert ends == [file.length_bytes for file in files]


@given(checkpoints())
@settings(max_examples=150)
def test_a_layout_says_what_splitting_yields(
    checkpoint: tuple[list[FileSpec], list[TensorSpec]],
) -> None:
    files, tensors = checkpoint
    layout, chunks = Layout(files, tensors), list(split(files, tensors))
    assert layout.chunk_count == len(chunks)
    assert layout.total_bytes == sum(chunk.length_bytes for chunk in chunks)
    assert [layout.spec(index) for index in range(len(chunks))] == chunks
    for file_index in range(len(files)):
        first, count = layout.file_chunks(file_index)
        assert list(layout.chunks(file_index)) == chunks[first : first + count]
        assert all(chunk.file_index == file_index for chunk in chunks[first : first + count])
    for spec, first, count in layout.tensor_chunks():
        of_tensor = chunks[first : first + count]
        assert bool(of_tensor) == bool(spec.length_bytes)
        if not of_tensor:
            continue
        start, end = spec.offset_bytes, spec.offset_bytes + spec.length_bytes
        assert of_tensor[0].offset_bytes <= start
        assert end <= of_tensor[-1].offset_bytes + of_tensor[-1].length_bytes
        if spec.length_bytes >= SMALL_BYTES:
            assert sum(chunk.length_bytes for chunk in of_tensor) == spec.length_bytes
            assert all(chunk.element is spec.element for chunk in of_tensor)


@given(kinds, st.integers(0, 10**6), st.integers(0, 3))
def test_equal_tensors_are_cut_alike_whatever_file_they_stand_in(
    kind: tuple[str, tuple[int, ...]], offset: int, file_index: int
) -> None:
    def cuts(spec: TensorSpec) -> list[tuple[int, int, ElementType, int]]:
        end = spec.offset_bytes + spec.length_bytes
        files = [FileSpec(path=f"f{i}", length_bytes=end + i) for i in range(file_index + 1)]
        layout = Layout(files, [spec])
        ((_, first, count),) = layout.tensor_chunks()
        chunks = [layout.spec(index) for index in range(first, first + count)]
        return [
            (c.offset_bytes - spec.offset_bytes, c.length_bytes, c.element, c.row_elements)
            for c in chunks
        ]

    here = tensor("here", *kind, file_index=file_index, offset=offset)
    assert cuts(here) == cuts(tensor("there", *kind))


@given(st.integers(1, 9), st.integers(1, 3_000), st.integers(1, 2_000))
def test_matrices_are_cut_after_whole_rows(planes: int, rows: int, columns: int) -> None:
    spec = tensor("w", "F16", (planes, rows, columns))
    file = FileSpec(path="f", length_bytes=spec.length_bytes)
    for chunk in split([file], [spec]):
        assert chunk.row_elements == columns
        assert chunk.offset_bytes % (2 * columns) == 0


@pytest.mark.parametrize(
    ("dtype", "shape", "first_bytes", "row_elements"),
    [
        ("F16", (8_192, 4_096), MAX_CHUNK_BYTES, 4_096),
        ("F16", (4, 2_000_000), MAX_CHUNK_BYTES, 0),
        ("F16", (9_000_000,), MAX_CHUNK_BYTES, 0),
        ("F16", (), 2, 0),
        ("F16", (3, 5), 30, 5),
        ("I64", (300_000, 3), MAX_CHUNK_BYTES - MAX_CHUNK_BYTES % 24, 0),
    ],
)
def test_the_first_chunk_of_a_shape(
    dtype: str, shape: tuple[int, ...], first_bytes: int, row_elements: int
) -> None:
    spec = tensor("w", dtype, shape)
    first = next(split([FileSpec(path="f", length_bytes=spec.length_bytes)], [spec]))
    assert (first.length_bytes, first.row_elements) == (first_bytes, row_elements)


def test_sub_byte_rows_that_do_not_fill_bytes_are_cut_at_the_maximum() -> None:
    spec = TensorSpec(
        name="w",
        dtype="F4",
        shape=(6_000_000, 1),
        file_index=0,
        offset_bytes=0,
        length_bytes=3_000_000,
    )
    chunks = list(split([FileSpec(path="f", length_bytes=3_000_000)], [spec]))
    assert [chunk.length_bytes for chunk in chunks] == [
        MAX_CHUNK_BYTES,
        3_000_000 - MAX_CHUNK_BYTES,
    ]


def test_empty_files_and_empty_tensors_have_no_chunks() -> None:
    files = [FileSpec(path="a", length_bytes=0), FileSpec(path="b", length_bytes=3)]
    layout = Layout(files, [tensor("none", "F16", (0, 4), file_index=1, offset=1)])
    assert layout.file_chunks(0) == (0, 0)
    ((_, first, count),) = layout.tensor_chunks()
    assert count == 0
    assert 0 <= first <= layout.chunk_count


@pytest.mark.parametrize(
    "tensors",
    [
        [tensor("a", "F16", (4,)), tensor("b", "F16", (4,), offset=6)],
        [tensor("a", "F16", (400,))],
        [tensor("a", "F16", (4,), file_index=1)],
        [tensor("a", "F16", (4,)), tensor("b", "F16", (40_000,), offset=6)],
    ],
    ids=["overlap", "too long", "no such file", "large overlap"],
)
def test_tensors_that_do_not_fit_their_file_are_refused(tensors: list[TensorSpec]) -> None:
    with pytest.raises(ValueError, match=r"tensor"):
        Layout([FileSpec(path="f", length_bytes=100)], tensors)


@pytest.mark.parametrize("index", [-1, 1])
def test_there_is_no_chunk_outside_the_layout(index: int) -> None:
    with pytest.raises(IndexError):
        Layout([FileSpec(path="f", length_bytes=3)], []).spec(index)
