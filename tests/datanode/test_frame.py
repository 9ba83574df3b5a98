"""datanode.frame: what is sealed opens; what is damaged does not."""

import struct
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanode import frame
from datanode.digest import ContentDigest, content_digest, frame_digest
from datanode.errors import CorruptionError, DataNodeError, FormatError, UnsupportedVersionError
from datanode.limits import FRAME_HEADER_BYTES, MAX_CHUNK_BYTES
from datanode.model import ElementType

RAW = bytes(range(256)) * 4
ELEMENTS = st.sampled_from(ElementType)


def changed(data: bytes, offset: int, new: bytes) -> bytes:
    return data[:offset] + new + data[offset + len(new) :]


@given(st.binary(max_size=4096), ELEMENTS)
def test_sealed_frames_open_to_the_same_bytes(raw: bytes, element: ElementType) -> None:
    packed = frame.seal(raw, element, 0)
    parsed = frame.parse(packed)
    assert parsed.open() == raw
    assert parsed.pack() == packed
    assert (parsed.element, parsed.raw_bytes) == (element, len(raw))


@given(st.binary(max_size=2048), ELEMENTS)
def test_a_frame_is_never_larger_than_its_raw_form(raw: bytes, element: ElementType) -> None:
    assert len(frame.seal(raw, element, 0)) <= FRAME_HEADER_BYTES + len(raw)


@given(st.binary(max_size=2048), ELEMENTS)
def test_sealing_is_deterministic_and_takes_views(raw: bytes, element: ElementType) -> None:
    content = content_digest(raw)
    again = frame.seal(memoryview(bytearray(raw)), element, 0, content=content)
    assert again == frame.seal(raw, element, 0)


@given(st.binary(min_size=1, max_size=512), ELEMENTS, st.data())
def test_one_flipped_bit_never_changes_what_opens(
    raw: bytes, element: ElementType, data: st.DataObject
) -> None:
    packed = bytearray(frame.seal(raw, element, 0))
    bit = data.draw(st.integers(0, len(packed) * 8 - 1))
    packed[bit // 8] ^= 1 << bit % 8
    try:
        opened = frame.parse(bytes(packed)).open()
    except DataNodeError:
        return
    # Some bits do not matter, such as the row length of rows that stay whole.
    assert opened == raw


@given(st.binary(max_size=64), st.data())
def test_truncated_frames_are_refused(raw: bytes, data: st.DataObject) -> None:
    packed = frame.seal(raw, ElementType.BYTES, 0)
    with pytest.raises(FormatError):
        frame.parse(packed[: data.draw(st.integers(0, len(packed) - 1))])


def test_trailing_bytes_are_refused() -> None:
    with pytest.raises(FormatError, match="payload of"):
        frame.parse(frame.seal_raw(RAW) + b"\0")


@pytest.mark.parametrize(("offset", "what"), [(4, "version 9"), (6, "element type 9")])
def test_what_a_newer_release_wrote_is_named(offset: int, what: str) -> None:
    with pytest.raises(UnsupportedVersionError, match=what):
        frame.parse(changed(frame.seal_raw(RAW), offset, b"\x09"))


def test_an_unknown_codec_can_be_carried_but_not_opened() -> None:
    parsed = frame.parse(changed(frame.seal(RAW, ElementType.BYTES, 0), 5, b"\x09"))
    with pytest.raises(UnsupportedVersionError, match="codec 9"):
        parsed.open()


@pytest.mark.parametrize(
    ("offset", "new", "why"),
    [
        (0, b"X", "magic"),
        (7, b"\x01", "reserved"),
        (52, b"\x01", "reserved"),
        (63, b"\x80", "reserved"),
        (8, struct.pack("<I", MAX_CHUNK_BYTES + 1), "limit"),
        (8, struct.pack("<I", 1023), "raw ones"),
        (8, struct.pack("<I", 1025), "raw length"),
        (12, struct.pack("<I", 1023), "payload of 1023"),
        (48, struct.pack("<I", 4), "rows"),
    ],
)
def test_every_field_of_the_header_is_checked(offset: int, new: bytes, why: str) -> None:
    with pytest.raises(FormatError, match=why):
        frame.parse(changed(frame.seal_raw(RAW), offset, new))


def test_rows_must_be_whole() -> None:
    content = content_digest(RAW)
    assert frame.Frame(0, ElementType.F16, 1024, content, 128, RAW).open() == RAW
    with pytest.raises(FormatError, match="rows of 100"):
        frame.Frame(0, ElementType.F16, 1024, content, 100, RAW)


def test_other_content_than_the_header_names_is_corruption() -> None:
    parsed = frame.Frame(0, ElementType.BYTES, 1024, ContentDigest(bytes(32)), 0, RAW)
    with pytest.raises(CorruptionError):
        parsed.open()


def test_a_broken_encoder_costs_compression_but_never_bytes() -> None:
    zeros = bytes(1000)
    wrong = frame.Frame(1, ElementType.BYTES, 1000, content_digest(zeros), 0, b"not zstd")
    for payload in (b"not zstd", frame.parse(frame.seal(b"\1" * 1000, wrong.element, 0)).payload):
        with patch("datanode.frame.smallest", return_value=(1, payload)):
            packed = frame.seal(zeros, ElementType.BYTES, 0)
        assert frame.parse(packed).codec_id == 0
        assert frame.parse(packed).open() == zeros


def test_the_address_of_a_raw_frame_depends_on_its_bytes_alone() -> None:
    assert frame_digest(frame.seal_raw(b"abc")).hex() == (
        "21829a901b486f1b08f0ac541c33f19af3370d534a198f9ca03949812b011001"
    )
