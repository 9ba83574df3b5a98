"""datanode.agent.request_id: the specification's vectors and the laws of the hash."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanode.agent.request_id import leb128, parse_leb128, request_id
from datanode.errors import FormatError


def test_the_specifications_request_has_the_specifications_id() -> None:
    content = {
        "request_type": "call",
        "sender": b"\x04",
        "ingress_expiry": 1_685_570_400_000_000_000,
        "canister_id": bytes.fromhex("00000000000004D2"),
        "method_name": "hello",
        "arg": b"DIDL\x00\xfd*",
    }
    expected = "1d1091364d6bb8a6c16b203ee75467d59ead468f523eb058880ae8ec80e2b101"
    assert request_id(content).hex() == expected


def test_the_older_vector_without_sender_holds_too() -> None:
    content = {
        "arg": b"DIDL\x00\xfd*",
        "canister_id": bytes.fromhex("00000000000004D2"),
        "method_name": "hello",
        "request_type": "call",
    }
    expected = "8781291c347db32a9d8c10eb62b710fce5a93be676474c42babc74c51858f94b"
    assert request_id(content).hex() == expected


def test_order_does_not_matter_and_buffers_hash_as_bytes() -> None:
    one = request_id({"a": b"x" * 100, "b": [b"1", "2", 3]})
    other = request_id({"b": [b"1", "2", 3], "a": memoryview(b"x" * 100)})
    assert one == other


@pytest.mark.parametrize("value", [None, True, -1, 1.5])
def test_values_without_a_hash_are_the_callers_mistake(value: object) -> None:
    with pytest.raises(TypeError):
        request_id({"a": value})


@given(st.integers(0, 2**64 - 1))
def test_leb128_is_read_back(number: int) -> None:
    assert parse_leb128(leb128(number)) == number


@pytest.mark.parametrize("data", ["", "80", "0100", "ffffffffffffffffff7f", "80" * 11 + "00"])
def test_anything_but_one_64_bit_number_is_refused(data: str) -> None:
    with pytest.raises(FormatError):
        parse_leb128(bytes.fromhex(data))
