"""datanode.codec.zstd and raw: untrusted streams are bounded before they are decompressed."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from datanode.codec import codec_for
from datanode.codec.zstd import compress, decompress
from datanode.errors import FormatError, UnsupportedVersionError
from datanode.limits import MAX_CHUNK_BYTES
from datanode.model import ElementType
from datanode.units import MIB

BYTES = ElementType.BYTES


@pytest.mark.parametrize("codec_id", [0, 1])
@given(raw=st.binary(max_size=5000))
def test_byte_codecs_return_what_they_were_given(codec_id: int, raw: bytes) -> None:
    codec = codec_for(codec_id)
    assert codec.decode(codec.encode(raw, BYTES, 0), len(raw), BYTES, 0) == raw


@pytest.mark.parametrize("codec_id", [0, 1])
@pytest.mark.parametrize("wrong", [0, 9, 11, MAX_CHUNK_BYTES + 1])
def test_a_payload_of_another_length_is_refused(codec_id: int, wrong: int) -> None:
    codec = codec_for(codec_id)
    with pytest.raises(FormatError):
        codec.decode(codec.encode(b"0123456789", BYTES, 0), wrong, BYTES, 0)


def test_unknown_codecs_are_named() -> None:
    with pytest.raises(UnsupportedVersionError, match="codec 77"):
        codec_for(77)


def test_a_bomb_is_refused_before_anything_is_allocated() -> None:
    bomb = zstandard.ZstdCompressor(level=3).compress(bytes(256 * MIB))
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="does not state a size"):
            decompress(bomb, MAX_CHUNK_BYTES)
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


def test_a_stream_must_state_its_size() -> None:
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * 100)
    with pytest.raises(FormatError, match="does not state a size"):
        decompress(unsized, 100)


def test_a_stream_that_lies_about_its_size_is_refused() -> None:
    honest = compress(b"x" * 100, 3)
    for stated in (99, 101):
        lie = bytearray(honest)
        assert lie[5] == 100  # magic 4, descriptor 1, then the content size
        lie[5] = stated
        with pytest.raises(FormatError):
            decompress(bytes(lie), stated)


def by_hand(window: int, size: int, block: bytes) -> bytes:
    """One raw block behind a header with a window descriptor and a size of four bytes."""
    header = b"\x28\xb5\x2f\xfd\x80" + bytes([window]) + size.to_bytes(4, "little")
    return header + (len(block) << 3 | 1).to_bytes(3, "little") + block


def test_large_windows_are_refused() -> None:
    assert decompress(by_hand(0x58, 3, b"abc"), 3) == b"abc"  # 2 MiB
    for window in (0x59, 0x90, 0xFF):
        with pytest.raises(FormatError):
            decompress(by_hand(window, 3, b"abc"), 3)


def test_a_dictionary_is_refused() -> None:
    stream = bytearray(by_hand(0x58, 3, b"abc"))
    stream[4] |= 1
    stream.insert(6, 7)
    with pytest.raises(FormatError, match="dictionary"):
        decompress(bytes(stream), 3)


@pytest.mark.parametrize("data", [b"", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18\x00\x00\x00\x00"])
def test_what_is_not_a_zstd_frame_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        decompress(data, 0)


def test_nothing_may_follow_or_be_repeated() -> None:
    stream = compress(b"abc", 3)
    for longer in (stream + b"\0", stream + stream):
        with pytest.raises(FormatError):
            decompress(longer, 3)


@given(st.data())
def test_truncated_streams_are_refused(data: st.DataObject) -> None:
    stream = compress(b"some text, some text, some other text" * 9, 3)
    with pytest.raises(FormatError):
        decompress(stream[: data.draw(st.integers(0, len(stream) - 1))], 37 * 9)


def test_negative_levels_are_a_programming_error() -> None:
    with pytest.raises(ValueError, match="level -1"):
        compress(b"", -1)


def test_threads_do_not_share_contexts() -> None:
    texts = [bytes([65 + index]) * 100_000 for index in range(8)] * 30
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda text: decompress(compress(text, 1), 100_000), texts)) == texts
