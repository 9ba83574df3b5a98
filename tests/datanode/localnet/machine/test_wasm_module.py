import contextlib
import gzip

import hypothesis.strategies as st
import pytest
from hypothesis import given

from datanode.localnet.machine import wasm_module
from datanode.localnet.machine.wasm_module import WasmError
from tests.datanode.localnet.wasm_canisters import COUNTER


@given(st.integers(0, 2**64 - 1))
def test_an_unsigned_number_is_read_as_it_was_written(value: int) -> None:
    data = wasm_module.unsigned(value)
    assert wasm_module.read_unsigned(b"\xff" + data + b"\x01", 1) == (value, 1 + len(data))


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_signed_number_is_written_as_leb128(value: int) -> None:
    data = wasm_module.signed(value)
    total = sum((byte & 0x7F) << (7 * at) for at, byte in enumerate(data))
    if data[-1] & 0x40:
        total -= 1 << (7 * len(data))
    assert total == value


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(junk: bytes) -> None:
    for read in (wasm_module.imports, wasm_module.exports, wasm_module.signatures):
        with contextlib.suppress(WasmError):
            read(junk)
    with contextlib.suppress(WasmError):
        wasm_module.metadata(wasm_module.unpack(wasm_module.MAGIC + junk))


def test_splitting_and_joining_a_module_gives_the_module() -> None:
    split = wasm_module.sections(COUNTER)
    joined = wasm_module.join({section: body for section, body in split if section})
    assert wasm_module.sections(joined) == [each for each in split if each[0]]
    assert COUNTER.startswith(joined)


def test_a_gzip_bomb_is_refused() -> None:
    bomb = gzip.compress(bytes(wasm_module.MAX_MODULE_BYTES + 10), compresslevel=1)
    with pytest.raises(WasmError, match="larger than"):
        wasm_module.unpack(bomb)


def test_damaged_gzip_is_refused() -> None:
    packed = gzip.compress(COUNTER)
    for broken in (packed[:-9], packed[:20], packed[:12] + b"\xff" * 30):
        with pytest.raises(WasmError):
            wasm_module.unpack(broken)
