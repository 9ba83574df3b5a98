"""The parts of a Wasm module that the embedded network reads: sections, imports, exports, globals.

Call it on modules that the engine has validated, or on any bytes: a read past the end or a wrong
magic raises `WasmError`, never another exception, and nothing is allocated by a length that was
not checked against the bytes that are there.
"""

import gzip
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from datanode.units import MIB

MAGIC: Final = b"\0asm\x01\0\0\0"
GZIP_MAGIC: Final = b"\x1f\x8b"
MAX_MODULE_BYTES: Final = 100 * MIB
"""Largest module, bytes, unpacked. Source: IC resource limits, 2026-05."""

CUSTOM, TYPE, IMPORT, FUNCTION, MEMORY, GLOBAL, EXPORT, START, CODE = 0, 1, 2, 3, 5, 6, 7, 8, 10
TABLE: Final = 4
ORDER: Final = (1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11)
"""Order in which sections stand in a module, by id."""

KIND_FUNCTION, KIND_TABLE, KIND_MEMORY, KIND_GLOBAL = range(4)
PERSISTENT: Final = "enhanced-orthogonal-persistence"
"""Name of the metadata by which a module asks for its heap to be kept over upgrades."""
MEMORY64_FLAG: Final = 4
_MAXIMUM_FLAG: Final = 1
_MORE: Final = 0x80
_SIGN: Final = 0x40
_LOW: Final = 0x7F
_MAX_LEB_BYTES: Final = 10
_FUNCTION_TYPE: Final = 0x60
_REFERENCES: Final = (0x70, 0x6F)


class WasmError(Exception):
    """The bytes are not a module that can be installed; the text says why.

    Args:
        why: What is wrong.
        what: What could not be done because of it.
        advice: How to mend it, in the replica's words.
        anchor: Where its documentation says more.
    """

    def __init__(
        self,
        why: str,
        *,
        what: str = "Canister's Wasm module is not valid",
        advice: str = "",
        anchor: str = "",
    ) -> None:
        super().__init__(why)
        self.what = what
        self.advice = advice
        self.anchor = anchor


def read_unsigned(data: bytes, at: int) -> tuple[int, int]:
    """Read an unsigned LEB128 number; return it and the offset after it."""
    value = shift = 0
    for position in range(at, at + _MAX_LEB_BYTES):
        if position >= len(data):
            break
        byte = data[position]
        value |= (byte & _LOW) << shift
        if byte < _MORE:
            return value, position + 1
        shift += 7
    raise WasmError("a number runs past the end")


def unsigned(value: int) -> bytes:
    """Encode an unsigned LEB128 number."""
    out = bytearray()
    while value >= _MORE:
        out.append(value & _LOW | _MORE)
        value >>= 7
    out.append(value)
    return bytes(out)


def signed(value: int) -> bytes:
    """Encode a signed LEB128 number."""
    out = bytearray()
    while not -_SIGN <= value < _SIGN:
        out.append(value & _LOW | _MORE)
        value >>= 7
    out.append(value & _LOW)
    return bytes(out)


def name(text: str) -> bytes:
    """Encode a name: its length and its UTF-8 bytes."""
    data = text.encode()
    return unsigned(len(data)) + data


def read_name(data: bytes, at: int) -> tuple[str, int]:
    """Read a name; return it and the offset after it."""
    length, start = read_unsigned(data, at)
    if start + length > len(data):
        raise WasmError("a name runs past the end")
    try:
        return data[start : start + length].decode(), start + length
    except UnicodeDecodeError:
        raise WasmError("a name is not UTF-8") from None


def unpack(given: bytes) -> bytes:
    """Return the module's bytes, whether given as they are or gzip-compressed.

    Raises:
        WasmError: Not a module, damaged gzip, or larger than a module may be.
    """
    module = given
    if given.startswith(GZIP_MAGIC):
        try:
            with gzip.open(BytesIO(given)) as stream:
                module = stream.read(MAX_MODULE_BYTES + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise WasmError(f"failed to decompress the module: {error}") from error
    if len(module) > MAX_MODULE_BYTES:
        raise WasmError(f"the module is larger than {MAX_MODULE_BYTES} bytes")
    if not module.startswith(MAGIC):
        raise WasmError("the bytes do not start like a Wasm module")
    return module


def sections(module: bytes) -> list[tuple[int, bytes]]:
    """Split a module into (section id, body) pairs, in their order."""
    out = []
    at = len(MAGIC)
    while at < len(module):
        section = module[at]
        length, start = read_unsigned(module, at + 1)
        if start + length > len(module):
            raise WasmError("a section runs past the end")
        out.append((section, module[start : start + length]))
        at = start + length
    return out


def join(parts: dict[int, bytes]) -> bytes:
    """Build a module from section bodies by id; custom sections are left out."""
    out = [MAGIC]
    for section in ORDER:
        body = parts.get(section)
        if body is not None:
            out += [bytes([section]), unsigned(len(body)), body]
    return b"".join(out)


@dataclass(frozen=True, slots=True)
class Import:
    """One import; `type_index` counts for functions only."""

    module: str
    name: str
    kind: int
    type_index: int


@dataclass(frozen=True, slots=True)
class Signature:
    """Value types of a function, as their bytes in the type section."""

    params: bytes
    results: bytes


def _skip_limits(data: bytes, at: int) -> tuple[int, int]:
    flags, at = read_unsigned(data, at)
    _, at = read_unsigned(data, at)
    if flags & _MAXIMUM_FLAG:
        _, at = read_unsigned(data, at)
    return flags, at


def _skip_value_type(data: bytes, at: int) -> int:
    return read_unsigned(data, at)[1]


def imports(body: bytes) -> list[Import]:
    """Read an import section."""
    count, at = read_unsigned(body, 0)
    out = []
    for _ in range(count):
        module, at = read_name(body, at)
        field, at = read_name(body, at)
        kind, at = read_unsigned(body, at)
        index = 0
        if kind == KIND_FUNCTION:
            index, at = read_unsigned(body, at)
        elif kind == KIND_TABLE:
            _, at = _skip_limits(body, _skip_value_type(body, at))
        elif kind == KIND_MEMORY:
            _, at = _skip_limits(body, at)
        elif kind == KIND_GLOBAL:
            at = _skip_value_type(body, at) + 1
        else:
            raise WasmError(f"import {field!r} is of an unknown kind")
        out.append(Import(module, field, kind, index))
    return out


def signatures(body: bytes) -> list[Signature]:
    """Read a type section of function types."""
    count, at = read_unsigned(body, 0)
    out = []
    for _ in range(count):
        if body[at : at + 1] != bytes([_FUNCTION_TYPE]):
            raise WasmError("a type is not a function type")
        parts = []
        at += 1
        for _ in range(2):
            length, start = read_unsigned(body, at)
            at = start + length
            parts.append(body[start:at])
        out.append(Signature(parts[0], parts[1]))
    return out


def exports(body: bytes) -> dict[str, tuple[int, int]]:
    """Read an export section: name to (kind, index)."""
    count, at = read_unsigned(body, 0)
    out = {}
    for _ in range(count):
        field, at = read_name(body, at)
        kind, at = read_unsigned(body, at)
        index, at = read_unsigned(body, at)
        out[field] = (kind, index)
    return out


def is_memory64(body: bytes | None) -> bool:
    """Tell from a memory section whether addresses have 64 bits."""
    if not body or body[0] == 0 or len(body) == 1:
        return False
    return bool(body[1] & MEMORY64_FLAG)


def has_wide_memory(given: bytes) -> bool:
    """Tell from any bytes whether they are a module with a 64-bit memory."""
    try:
        return is_memory64(dict(sections(unpack(given))).get(MEMORY))
    except WasmError:
        return False


def keeps_heap(given: bytes) -> bool | None:
    """Tell whether a module wants its heap kept over upgrades; None when the bytes are none."""
    try:
        return PERSISTENT in metadata(unpack(given))
    except WasmError:
        return None


def is_reference(value_type: int) -> bool:
    """Tell whether a value type is a reference, which cannot be persisted."""
    return value_type in _REFERENCES


def metadata(module: bytes) -> dict[str, tuple[str, bytes]]:
    """Read custom sections `icp:public NAME`, `icp:private NAME`: name to (visibility, bytes)."""
    out = {}
    for section, body in sections(module):
        if section == CUSTOM:
            title, at = read_name(body, 0)
            for visibility in ("public", "private"):
                prefix = f"icp:{visibility} "
                if title.startswith(prefix):
                    out[title.removeprefix(prefix)] = (visibility, body[at:])
    return out
