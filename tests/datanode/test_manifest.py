"""datanode.manifest: what is built parses to itself, and nothing else parses."""

import dataclasses
from collections.abc import Sequence

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanode import frame, manifest
from datanode.digest import ContentDigest, FrameDigest, frame_digest
from datanode.errors import FormatError, UnsupportedVersionError
from datanode.limits import MAX_CHUNK_BYTES, MAX_CHUNKS_A_PAGE
from datanode.manifest import FileEntry, Manifest, ManifestHead, TensorEntry
from datanode.manifest.pages import MAX_TENSOR_PAGE_BYTES
from datanode.model import ChunkRecord, ElementType

ZERO = bytes(32)
PATHS = st.from_regex(r"[a-z0-9_-]{1,6}(/[A-Z._]{2,4}x){0,2}", fullmatch=True)


def record(raw_bytes: int = 10, seed: int = 0) -> ChunkRecord:
    digest = seed.to_bytes(32, "big")
    return ChunkRecord(
        content=ContentDigest(digest),
        frame=FrameDigest(digest),
        raw_bytes=raw_bytes,
        frame_bytes=64 + raw_bytes,
        codec_id=0,
        element=ElementType.BYTES,
    )


def tensor(name: str, offset: int, first: int, chunks: int, file_index: int = 0) -> TensorEntry:
    return TensorEntry(
        name=name,
        dtype="F16",
        shape=(2, 3),
        file_index=file_index,
        offset_bytes=offset,
        first_chunk=first,
        chunk_count=chunks,
    )


def file(path: str, length: int, first: int, chunks: int) -> FileEntry:
    return FileEntry(
        path=path, length_bytes=length, sha256=ZERO, first_chunk=first, chunk_count=chunks
    )


@st.composite
def parts(
    draw: st.DrawFn,
) -> tuple[list[FileEntry], list[ChunkRecord], list[TensorEntry], dict[str, str]]:
    files: list[FileEntry] = []
    chunks: list[ChunkRecord] = []
    tensors: list[TensorEntry] = []
    for path in sorted(draw(st.sets(PATHS, max_size=4))):
        sizes = draw(st.lists(st.integers(1, MAX_CHUNK_BYTES), max_size=4))
        first, offset = len(chunks), 0
        for index, size in enumerate(sizes):
            tensors.append(tensor(f"t{index}", offset, first + index, 1, len(files)))
            chunks.append(record(size, len(chunks)))
            offset += size
        files.append(file(path, offset, first, len(sizes)))
    return files, chunks, tensors, draw(st.dictionaries(st.text(max_size=9), st.text(max_size=9)))


def opened(
    built: Manifest,
) -> tuple[ManifestHead, list[Sequence[ChunkRecord]], list[Sequence[TensorEntry]]]:
    head = manifest.parse_head(frame.parse(built.head_frame).open())
    chunks = [
        manifest.parse_chunk_page(frame.parse(page).open()) for page in built.chunk_page_frames
    ]
    tensors = [
        manifest.parse_tensor_page(frame.parse(page).open()) for page in built.tensor_page_frames
    ]
    return head, [*chunks], [*tensors]


@given(parts())
def test_what_is_built_parses_to_itself(
    given_parts: tuple[list[FileEntry], list[ChunkRecord], list[TensorEntry], dict[str, str]],
) -> None:
    files, chunks, tensors, metadata = given_parts
    built = manifest.build(files, iter(chunks), iter(tensors), metadata)
    head, chunk_pages, tensor_pages = opened(built)
    assert list(head.files) == files
    assert head.metadata == metadata
    assert [entry for page in chunk_pages for entry in page] == chunks
    assert [entry for page in tensor_pages for entry in page] == tensors
    assert head.pack() == frame.parse(built.head_frame).open()
    assert built.digest == frame_digest(built.head_frame)
    assert head.chunk_pages == tuple(map(frame_digest, built.chunk_page_frames))
    assert built == manifest.build(files, chunks, reversed(tensors), metadata)


def test_the_head_is_deterministic_cbor_with_the_keys_of_its_table() -> None:
    built = manifest.build([file("a", 10, 0, 1)], [record()], [], {"k": "v"})
    raw = frame.parse(built.head_frame).open()
    value = cbor2.loads(raw)
    assert list(value) == [
        "v",
        "files",
        "chunks",
        "tensors",
        "metadata",
        "chunk_count",
        "tensor_count",
    ]
    assert cbor2.dumps(value, canonical=True) == raw
    assert value["files"] == [["a", 10, ZERO, 0, 1]]


def test_chunk_pages_but_the_last_are_full() -> None:
    total = MAX_CHUNKS_A_PAGE + 3
    records = [record(2, seed) for seed in range(total)]
    built = manifest.build([file("a", 2 * total, 0, total)], records, [], {})
    _, pages, _ = opened(built)
    assert [len(page) for page in pages] == [MAX_CHUNKS_A_PAGE, 3]


def test_tensor_pages_are_filled_to_either_limit() -> None:
    short = [tensor(f"{index:05}", 0, 0, 0) for index in range(4097)]
    _, _, pages = opened(manifest.build([file("a", 0, 0, 0)], [], short, {}))
    assert [len(page) for page in pages] == [4096, 1]
    long = [tensor(f"{index:0512}", 0, 0, 0) for index in range(2500)]
    built = manifest.build([file("a", 0, 0, 0)], [], long, {})
    sizes = [frame.parse(page).raw_bytes for page in built.tensor_page_frames]
    alone = manifest.build([file("a", 0, 0, 0)], [], long[:1], {}).tensor_page_frames[0]
    entry_bytes = frame.parse(alone).raw_bytes - 1
    assert MAX_TENSOR_PAGE_BYTES - entry_bytes < sizes[0] <= MAX_TENSOR_PAGE_BYTES
    assert sum(len(page) for page in opened(built)[2]) == 2500


@pytest.mark.parametrize(
    ("files", "chunks", "tensors"),
    [
        ([("b", 10, 0, 1), ("a", 10, 1, 1)], [10, 10], []),
        ([("a", 10, 0, 1), ("a", 10, 1, 1)], [10, 10], []),
        ([("a", 10, 1, 1)], [10], []),
        ([("a", 10, 0, 2)], [10], []),
        ([("a", 10, 0, 1)], [10, 10], []),
        ([("a", 11, 0, 1)], [10], []),
        ([("a", 10, 0, 1), ("b", 10, 1, 1)], [11, 9], []),
        ([("a", 10, 0, 1)], [10], [("t", 0, 0, 2, 0)]),
        ([("a", 10, 0, 1)], [10], [("t", 0, 0, 1, 1)]),
        ([("a", 10, 0, 1)], [10], [("t", 10, 0, 1, 0)]),
        ([("a", 20, 0, 2)], [10, 10], [("t", 9, 1, 1, 0)]),
        ([("a", 10, 0, 1)], [10], [("t", 11, 1, 0, 0)]),
        ([("a", 10, 0, 1), ("b", 10, 1, 1)], [10, 10], [("t", 0, 1, 1, 0)]),
        ([("a", 20, 0, 2)], [10, 10], [("t", 0, 0, 1, 0), ("t", 10, 1, 1, 0)]),
    ],
)
def test_parts_that_do_not_agree_cannot_be_built(
    files: list[tuple[str, int, int, int]],
    chunks: list[int],
    tensors: list[tuple[str, int, int, int, int]],
) -> None:
    with pytest.raises(FormatError):
        manifest.build(
            (file(*entry) for entry in files),
            map(record, chunks),
            (tensor(*entry) for entry in tensors),
            {},
        )


def test_small_tensors_may_share_a_chunk() -> None:
    shared = [tensor("t", 0, 0, 1), tensor("u", 12, 0, 1), tensor("v", 24, 0, 1)]
    built = manifest.build([file("a", 36, 0, 1)], [record(36)], shared, {})
    ((*entries,),) = opened(built)[2]
    assert entries == shared
    assert [entry.length_bytes for entry in entries] == [12, 12, 12]


def test_bytes_of_an_unknown_dtype_or_of_half_a_byte_are_not_guessed() -> None:
    for changes in ({"dtype": "F13"}, {"dtype": "F4", "shape": (3,)}):
        with pytest.raises(FormatError):
            _ = dataclasses.replace(tensor("t", 0, 0, 1), **changes).length_bytes


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", ".", "../a", "a/../b", "a b", "\u00e9"])
def test_paths_that_could_leave_the_folder_are_refused(path: str) -> None:
    with pytest.raises(FormatError):
        file(path, 0, 0, 0)


def test_a_file_has_as_many_chunks_as_its_length_can_have() -> None:
    for length, chunks in ((0, 1), (3, 4), (1, 0), (MAX_CHUNK_BYTES + 1, 1)):
        with pytest.raises(FormatError, match="chunks for its length"):
            file("a", length, 0, chunks)


def test_bad_fields_of_a_tensor_are_refused() -> None:
    good = tensor("t", 0, 0, 0)
    for change in (
        {"name": ""},
        {"name": "x" * 513},
        {"dtype": ""},
        {"dtype": "x" * 17},
        {"shape": (1,) * 9},
        {"shape": (-1,)},
        {"offset_bytes": 2**64},
        {"file_index": -1},
        {"chunk_count": 2**32},
    ):
        with pytest.raises(FormatError):
            dataclasses.replace(good, **change)


def test_metadata_that_does_not_fit_the_head_is_refused() -> None:
    with pytest.raises(FormatError, match="metadata"):
        manifest.build([], [], [], {"k": "v" * 2**20})
    with pytest.raises(FormatError):
        manifest.parse_head(bytes(2**20 + 1))


def head_of(**changes: object) -> bytes:
    value: dict[str, object] = {
        "v": 1,
        "files": [["a", 10, ZERO, 0, 1]],
        "chunks": [ZERO],
        "tensors": [ZERO],
        "metadata": {},
        "chunk_count": 1,
        "tensor_count": 1,
    }
    value.update(changes)
    return cbor2.dumps({k: v for k, v in value.items() if v is not None}, canonical=True)


def test_a_base_comes_back() -> None:
    assert manifest.parse_head(head_of(base=[b"\7" * 32])).base == b"\7" * 32


@pytest.mark.parametrize(
    "changes",
    [
        {"files": None},
        {"other": 1},
        {"base": []},
        {"base": ZERO},
        {"base": [ZERO, ZERO]},
        {"chunks": []},
        {"chunks": [ZERO, ZERO]},
        {"chunks": [ZERO[:31]]},
        {"tensors": []},
        {"tensors": [ZERO, ZERO]},
        {"tensor_count": 100_001},
        {"tensor_count": -1},
        {"chunk_count": 2},
        {"chunk_count": 1.0},
        {"metadata": {"k": 1}},
        {"metadata": {1: "v"}},
        {"files": [["a", 10, ZERO, 0]]},
        {"files": [["a", 10, ZERO, 0, 1, 0]]},
        {"files": [["../a", 10, ZERO, 0, 1]]},
        {"files": [["x" * 513, 10, ZERO, 0, 1]]},
    ],
)
def test_heads_that_break_the_schema_are_refused(changes: dict[str, object]) -> None:
    manifest.parse_head(head_of())
    with pytest.raises(FormatError):
        manifest.parse_head(head_of(**changes))


def test_newer_heads_are_named() -> None:
    with pytest.raises(UnsupportedVersionError, match="version 2"):
        manifest.parse_head(head_of(v=2, novelty=1))


def test_trailing_bytes_are_refused() -> None:
    with pytest.raises(FormatError, match="trailing"):
        manifest.parse_head(head_of() + b"\0")
    page = cbor2.dumps([["t", "F16", [1], 0, 0, 0, 0]], canonical=True)
    assert manifest.parse_tensor_page(page)[0].name == "t"
    with pytest.raises(FormatError, match="trailing"):
        manifest.parse_tensor_page(page + b"\0")


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [["b", "F16", [], 0, 0, 0, 0], ["a", "F16", [], 0, 0, 0, 0]],
        [["a", "F16", [], 0, 0, 0, 0], ["a", "F16", [], 0, 1, 0, 0]],
        [["a", "F16", [1] * 9, 0, 0, 0, 0]],
        [["a", "F16", [], 2**32, 0, 0, 0]],
        [["a", "F16", [], 0, 0, 0]],
        [[b"a", "F16", [], 0, 0, 0, 0]],
    ],
)
def test_tensor_pages_that_break_the_rules_are_refused(entries: list[object]) -> None:
    with pytest.raises(FormatError):
        manifest.parse_tensor_page(cbor2.dumps(entries, canonical=True))


def test_tensor_pages_beyond_their_limits_are_refused() -> None:
    with pytest.raises(FormatError, match="bytes"):
        manifest.parse_tensor_page(bytes(2**20 + 1))
    many = [[f"{index:05}", "F16", [], 0, 0, 0, 0] for index in range(4097)]
    with pytest.raises(FormatError, match="4097"):
        manifest.parse_tensor_page(cbor2.dumps(many, canonical=True))


def test_chunk_pages_that_break_the_table_are_refused() -> None:
    good = frame.parse(
        manifest.build([file("a", 10, 0, 1)], [record()], [], {}).chunk_page_frames[0]
    ).open()
    assert manifest.parse_chunk_page(good) == (record(),)
    for offset, new in ((64, bytes(4)), (66, b"\xff"), (68, bytes(4)), (71, b"\1"), (79, b"\1")):
        with pytest.raises(FormatError):
            manifest.parse_chunk_page(good[:offset] + new + good[offset + len(new) :])
    with pytest.raises(UnsupportedVersionError, match="element type 77"):
        manifest.parse_chunk_page(good[:73] + b"\x4d" + good[74:])
    for wrong in (b"", good[:-1], good * (MAX_CHUNKS_A_PAGE + 1)):
        with pytest.raises(FormatError, match="not a chunk page"):
            manifest.parse_chunk_page(wrong)


def test_pages_that_are_not_the_heads_are_found() -> None:
    built = manifest.build([file("a", 30, 0, 3)], [record()] * 3, [tensor("t", 10, 1, 1)], {})
    head, chunks, tensors = opened(built)
    manifest.check_pages(head, chunks, tensors)
    for wrong_chunks, wrong_tensors in (
        ([chunks[0][:2]], tensors),
        ([chunks[0][:1], chunks[0][1:]], tensors),
        ([[*chunks[0], record()]], tensors),
        ([[record(11), record(9), record()]], tensors),
        (chunks, []),
        (chunks, [*tensors, *tensors]),
    ):
        with pytest.raises(FormatError):
            manifest.check_pages(head, wrong_chunks, wrong_tensors)
