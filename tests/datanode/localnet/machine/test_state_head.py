import hypothesis.strategies as st
import pytest
from hypothesis import given

from datanode.errors import FormatError, UnsupportedVersionError
from datanode.localnet.machine.state_head import Head

GOLDEN = bytes.fromhex(
    "444e4844 01 01 0000 0200000000000000 0300000000000000 0400000000000000 0500000000000000"
    + "ab" * 32
    + "01000000 01 2a000000000000000000000000000000"
)
HEAD = Head(
    heap_generation=2,
    stable_generation=3,
    stable_pages=4,
    heap_pages=5,
    module_hash=b"\xab" * 32,
    globals=b"\1\x2a" + bytes(15),
)
COUNTS = st.integers(0, 2**64 - 1)


def test_version_1_stays_as_it_is() -> None:
    assert HEAD.pack() == GOLDEN
    assert Head.parse(GOLDEN) == HEAD


@given(
    st.builds(
        Head,
        heap_generation=COUNTS,
        stable_generation=COUNTS,
        stable_pages=COUNTS,
        heap_pages=COUNTS,
        module_hash=st.none() | st.binary(min_size=32, max_size=32).filter(any),
        globals=st.integers(0, 20).flatmap(lambda n: st.binary(min_size=17 * n, max_size=17 * n)),
    ),
    st.binary(max_size=40),
)
def test_a_head_is_read_as_it_was_written_whatever_follows(head: Head, rest: bytes) -> None:
    assert Head.parse(head.pack() + rest) == head


@pytest.mark.parametrize("damaged", [b"", GOLDEN[:70], b"JUNK" + GOLDEN[4:], GOLDEN[:-1]])
def test_a_damaged_head_is_refused(damaged: bytes) -> None:
    with pytest.raises(FormatError):
        Head.parse(damaged)


def test_a_newer_version_is_refused() -> None:
    with pytest.raises(UnsupportedVersionError):
        Head.parse(GOLDEN[:4] + b"\2" + GOLDEN[5:])
