"""datanode.cbor.encode and decode: values come back; anything outside the subset is refused."""

import time

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanode import cbor
from datanode.errors import FormatError
from tests.quickness import allowed_s

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2**64 - 1) | st.binary() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.sampled_from([True, False]))
def test_values_survive_and_another_decoder_agrees(value: cbor.Encodable, tagged: object) -> None:
    data = cbor.encode(value, tagged=bool(tagged))
    assert cbor.decode(data) == value
    # cbor2 drops the self-describing tag.
    assert cbor2.loads(data) == value


@given(VALUES)
def test_another_encoder_writes_the_same_bytes(value: cbor.Encodable) -> None:
    assert cbor.encode(value) == cbor2.dumps(value)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_give_a_value_or_a_format_error(data: bytes) -> None:
    try:
        value = cbor.decode(data)
    except FormatError:
        return
    assert isinstance(value, dict) or cbor.decode(cbor.encode(value)) == value


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("", "cut off"),
        ("0000", "trailing bytes"),
        ("1817", "shortest form"),
        ("1900ff", "shortest form"),
        ("1a0000ffff", "shortest form"),
        ("1b00000000ffffffff", "shortest form"),
        ("43aabb", "cut off"),
        ("5bffffffffffffffff", "cut off"),
        ("9bffffffffffffffff", "cut off"),
        ("5f41aa41bbff", "indefinite"),
        ("9f01ff", "indefinite"),
        ("62ff00", "not UTF-8"),
        ("a1010a", "not text"),
        ("a2616101616102", "twice"),
        ("20", "does not use"),
        ("f93c00", "does not use"),
        ("c249010000000000000000", "does not use"),
        ("d9d9f7d9d9f700", "does not use"),
        ("81" * 17 + "00", "too deep"),
        ("f8ff", "does not use"),
    ],
)
def test_everything_outside_the_subset_has_its_reason(data: str, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        cbor.decode(bytes.fromhex(data))


def test_a_bomb_of_empty_arrays_is_refused_quickly() -> None:
    bomb = cbor.encode([[]] * cbor.MAX_ITEMS)
    started = time.perf_counter()
    with pytest.raises(FormatError, match="items"):
        cbor.decode(bomb)
    assert time.perf_counter() - started < allowed_s(2)


@pytest.mark.parametrize("value", [-1, 2**64, 1.5, object()])
def test_values_without_an_encoding_are_the_callers_mistake(value: object) -> None:
    with pytest.raises(TypeError):
        cbor.encode(value)  # type: ignore[arg-type]
