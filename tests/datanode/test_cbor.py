"""datanode.cbor.CborReader: one value has one encoding, and no other is read."""

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanode import cbor
from datanode.errors import FormatError

U64 = st.integers(0, 2**64 - 1) | st.sampled_from([23, 24, 255, 256, 65_535, 65_536, 2**32])
TEXTS = st.text(max_size=40)


@given(U64)
def test_integers_are_encoded_as_the_library_does(value: int) -> None:
    assert cbor.uint(value) == cbor2.dumps(value, canonical=True)
    reader = cbor.CborReader(cbor.uint(value), "test")
    assert reader.u64() == value
    reader.end()


@given(st.dictionaries(TEXTS, TEXTS, max_size=8))
def test_maps_are_encoded_as_the_library_does(value: dict[str, str]) -> None:
    encoded = cbor.text_map((key, cbor.text(item)) for key, item in value.items())
    assert encoded == cbor2.dumps(value, canonical=True)
    reader = cbor.CborReader(encoded, "test")
    assert reader.text_pairs(2**20) == value
    reader.end()


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=40))
def test_arrays_of_digests_come_back(value: list[bytes]) -> None:
    encoded = cbor.array(map(cbor.blob, value))
    assert encoded == cbor2.dumps(value, canonical=True)
    reader = cbor.CborReader(encoded, "test")
    assert [reader.digest() for _ in range(reader.array(34))] == value


@pytest.mark.parametrize(
    "hexed",
    ["1817", "1900ff", "1a0000ffff", "1b00000000ffffffff", "1c", "1f", "20", "f4", "c100", ""],
)
def test_other_forms_of_an_integer_are_refused(hexed: str) -> None:
    with pytest.raises(FormatError):
        cbor.CborReader(bytes.fromhex(hexed), "test").u64()


@pytest.mark.parametrize("hexed", ["7f6161ff", "62c328", "63e29d", "7bffffffffffffffff", "6261"])
def test_malformed_texts_are_refused(hexed: str) -> None:
    with pytest.raises(FormatError):
        cbor.CborReader(bytes.fromhex(hexed), "test").text(100)


def test_long_texts_are_refused_before_they_are_read() -> None:
    with pytest.raises(FormatError, match="too long"):
        cbor.CborReader(cbor.text("x" * 11), "test").text(10)


@pytest.mark.parametrize("hexed", ["a2616261626161616 1", "a261616161616161 62", "bf616161 61ff"])
def test_maps_out_of_order_or_with_duplicates_are_refused(hexed: str) -> None:
    with pytest.raises(FormatError):
        cbor.CborReader(bytes.fromhex(hexed.replace(" ", "")), "test").text_pairs(100)


def test_counts_that_the_bytes_cannot_hold_are_refused() -> None:
    with pytest.raises(FormatError, match="cut off"):
        cbor.CborReader(cbor.head(cbor.ARRAY, 2**63) + b"\0" * 50, "test").array(1)
    with pytest.raises(FormatError, match="cut off"):
        cbor.CborReader(cbor.head(cbor.MAP, 26) + b"\0" * 50, "test").map()


def test_what_has_no_encoding_is_refused() -> None:
    with pytest.raises(FormatError, match="64-bit"):
        cbor.uint(2**64)
    with pytest.raises(FormatError, match="64-bit"):
        cbor.uint(-1)
    with pytest.raises(FormatError, match="Unicode"):
        cbor.text("\ud800")


def test_schema_errors_name_the_part_and_the_byte() -> None:
    reader = cbor.CborReader(cbor.array([cbor.uint(2**32), cbor.blob(b"short")]), "spam")
    with pytest.raises(FormatError, match="spam: an array that has not 3 items at byte 1"):
        reader.tuple(3)
    with pytest.raises(FormatError, match="32 bits"):
        reader.u32()
    with pytest.raises(FormatError, match="digest of another length"):
        reader.digest()
    with pytest.raises(FormatError, match="trailing"):
        reader.end()
    with pytest.raises(FormatError, match="'v' belongs"):
        cbor.CborReader(cbor.text("w"), "spam").key("v")
