"""uploader.session.manifest_builder: what cannot be sealed is refused before anything is sent."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanode import manifest
from datanode.errors import FormatError, SourceError
from datanode.limits import MAX_TENSORS
from datanode.model import FileSpec, TensorSpec
from tests.datanode.test_manifest import file, record, tensor
from uploader.chunker import Layout
from uploader.session.manifest_builder import check_sealable, describe


def files(count: int, path_bytes: int) -> list[FileSpec]:
    return [
        FileSpec(path=f"{number:04}" + "n" * (path_bytes - 4), length_bytes=1)
        for number in range(count)
    ]


def tensors(count: int) -> list[TensorSpec]:
    return [
        TensorSpec(
            name=str(number),
            dtype="U8",
            shape=(1,),
            file_index=0,
            offset_bytes=number,
            length_bytes=1,
        )
        for number in range(count)
    ]


def test_many_long_paths_do_not_fit_a_manifest() -> None:
    with pytest.raises(SourceError, match="too many files") as caught:
        check_sealable(Layout(files(2_301, 512), []), {})
    assert "Nothing was sent" in caught.value.safe
    check_sealable(Layout(files(1_800, 512), []), {})


@given(st.integers(1, 40), st.integers(0, 3_000))
def test_the_check_says_what_building_says(room_bytes: int, files_count: int) -> None:
    """Metadata fill the head up to a few bytes around its limit."""
    specs = files(files_count % 7, 40)
    layout = Layout(specs, [])
    digests = {index: bytes(32) for index in range(len(specs))}
    records = [record(1, index) for index in range(layout.chunk_count)]
    empty = describe(layout, records, digests, {"k": ""})
    head_bytes = len(empty.head_frame) - 64
    metadata = {"k": "v" * ((1 << 20) - head_bytes - 4 + room_bytes - 20)}
    try:
        describe(layout, records, digests, metadata)
    except FormatError:
        with pytest.raises(SourceError):
            check_sealable(layout, metadata)
    else:
        check_sealable(layout, metadata)


@pytest.mark.nightly
def test_more_tensors_than_the_format_allows_do_not_fit() -> None:
    count = MAX_TENSORS + 1
    layout = Layout([FileSpec(path="f", length_bytes=count)], tensors(count))
    with pytest.raises(SourceError, match=f"{count:,} tensors, the limit is {MAX_TENSORS:,}"):
        check_sealable(layout, {})


@pytest.mark.nightly
def test_as_many_tensors_as_the_format_allows_fit() -> None:
    layout = Layout([FileSpec(path="f", length_bytes=MAX_TENSORS)], tensors(MAX_TENSORS))
    check_sealable(layout, {})
    assert layout.chunk_count < 10


def test_long_names_need_more_pages_and_fit() -> None:
    entries = [
        dataclasses.replace(tensor(f"{index:0512}", index, 0, 1), shape=(1,), dtype="U8")
        for index in range(2_500)
    ]
    manifest.check_limits([file("a", 2_500, 0, 1)], entries, {})
