"""The policy for safetensors headers: what is refused before anything is read or sent.

A safetensors file, little-endian::

    offset size field
         0    8 length n of the header, u64
         8    n JSON object: name -> {"dtype", "shape", "data_offsets"}, and "__metadata__"
       8+n    - data; offsets count from here

The library reads more than is safe to pass on (duplicate keys, huge headers), so this policy comes
first and is stricter. It works on bytes alone. Rules, in order:

1. The header has 2 to `MAX_HEADER_BYTES` bytes and lies inside the file.
2. It starts with `{`, ends with `}` and at most padding spaces, and is UTF-8 JSON.
3. No key twice, no number that is not a plain integer, at most `MAX_TENSORS` tensors.
4. `__metadata__` maps text to text, at most `MAX_METADATA_BYTES` of it.
5. A name is any text of 1 to `MAX_NAME_BYTES` bytes of UTF-8. It is never used as a path.
6. A tensor has exactly the three fields, a known dtype, at most `MAX_RANK` dimensions, and as
   many bytes as dtype and shape ask for.
7. The tensors tile the data: no hole, no overlap, no byte after the last.
"""

import math
import sys
from typing import Final, NamedTuple

from datanode.dtypes import DTYPE_BITS
from datanode.errors import SourceError, TruncatedSourceError
from datanode.limits import (
    MAX_HEADER_BYTES,
    MAX_METADATA_BYTES,
    MAX_NAME_BYTES,
    MAX_RANK,
    MAX_TENSORS,
)
from datanode.text import shown
from uploader.source.header_entries import METADATA, entries

LENGTH_BYTES: Final = 8
LIBRARY_HEADER_BYTES: Final = 100_000_000
"""Largest header that the safetensors library reads, bytes. Source: its crate, 0.8.0."""

_FIELD_OF_EACH: Final = b'"data_offsets":['
"""How usual writers spell it. No legal header has it anywhere else: within a text the quotation
marks are escaped, and neither a name nor a key of the metadata is followed by a list."""
_FIELDS: Final = frozenset({"dtype", "shape", "data_offsets"})
_OFFSETS_COUNT: Final = 2
_BYTE_BITS: Final = 8
_MAX_NUMBER: Final = 2**63 - 1
"""Largest extent or offset: file sizes are signed 64-bit."""


class HeaderTensor(NamedTuple):
    """A tensor as the header describes it; offsets count from the start of the data."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start_bytes: int
    end_bytes: int


def header_length(prefix: bytes, file_bytes: int) -> int:
    """Read how long the header is from the first eight bytes of a file.

    Raises:
        TruncatedSourceError: The file ends inside its header.
        SourceError: The length breaks rule 1.
    """
    if file_bytes == 0:
        raise TruncatedSourceError("the file is empty")
    if len(prefix) < LENGTH_BYTES or file_bytes < LENGTH_BYTES:
        raise TruncatedSourceError(f"the file has {file_bytes} bytes, less than its length field")
    length = int.from_bytes(prefix[:LENGTH_BYTES], "little")
    if length > file_bytes - LENGTH_BYTES and length > LIBRARY_HEADER_BYTES:
        raise SourceError(
            f"its first eight bytes claim a header of {length} bytes: this is no safetensors file"
        )
    if length > MAX_HEADER_BYTES:
        raise SourceError(
            f"its header has {length:,} bytes; this release reads headers of at most "
            f"{MAX_HEADER_BYTES:,} bytes",
            hint="Split the checkpoint into shards with fewer tensors each.",
        )
    if length < len("{}"):
        raise SourceError(f"the header has {length} bytes, too few for a JSON object")
    if LENGTH_BYTES + length > file_bytes:
        raise TruncatedSourceError(
            f"the header should have {length} bytes, the file ends after {file_bytes}"
        )
    return length


def parse_header(raw: bytes, data_bytes: int) -> tuple[HeaderTensor, ...]:
    """Parse and check a header; `data_bytes` is what follows it in the file.

    Returns:
        The tensors, sorted by offset and name.

    Raises:
        TruncatedSourceError: The data ends before its last tensor does.
        SourceError: The header breaks a rule.
    """
    _check_ends(raw)
    if raw.count(_FIELD_OF_EACH) > MAX_TENSORS:  # seen before any is parsed
        raise _too_many()
    tensors: list[HeaderTensor] = []
    names: set[str] = set()
    for name, entry in entries(raw):
        if name in names:
            raise SourceError(f"the header has the key {shown(name)} twice")
        names.add(name)
        if name == METADATA:
            _check_metadata(entry)
            continue
        if len(tensors) == MAX_TENSORS:
            raise _too_many()
        tensors.append(_tensor(name, entry))
    tensors.sort(key=lambda tensor: (tensor.start_bytes, tensor.end_bytes, tensor.name))
    _check_tiling(tensors, data_bytes)
    return tuple(sorted(tensors, key=lambda tensor: (tensor.start_bytes, tensor.name)))


def _too_many() -> SourceError:
    return SourceError(
        f"the header has more than {MAX_TENSORS:,} tensors, the most that this release stores",
        hint="Split the checkpoint into several files and upload each as a model.",
    )


def _check_ends(raw: bytes) -> None:
    if not raw.startswith(b"{"):
        raise SourceError(f"the header starts with {raw[:1]!r}, not with '{{'")
    if not raw.rstrip(b" ").endswith(b"}"):
        raise SourceError("the header does not end with '}' and padding spaces")


def _check_metadata(metadata: object) -> None:
    if not isinstance(metadata, dict):
        raise SourceError("__metadata__ is not an object")
    size = 0
    for key, value in metadata.items():
        if not isinstance(value, str):
            raise SourceError(f"__metadata__ has a value that is no text under {shown(key)}")
        try:
            size += len(key.encode()) + len(value.encode())
        except UnicodeEncodeError as error:
            raise SourceError(f"__metadata__ is not valid text under {shown(key)}") from error
    if size > MAX_METADATA_BYTES:
        raise SourceError(f"__metadata__ has {size} bytes, the limit is {MAX_METADATA_BYTES}")


def _tensor(name: str, entry: object) -> HeaderTensor:
    _check_name(name)
    if not isinstance(entry, dict):
        raise SourceError(f"the entry of tensor {shown(name)} is not an object")
    if entry.keys() != _FIELDS:
        raise _wrong_fields(name, entry)
    dtype = entry["dtype"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise SourceError(f"tensor {shown(name)} has the unknown dtype {shown(str(dtype))}")
    shape = _numbers(entry["shape"], name, "shape")
    if len(shape) > MAX_RANK:
        raise SourceError(f"tensor {shown(name)} has {len(shape)} dimensions, at most {MAX_RANK}")
    start, end = _offsets(entry["data_offsets"], name)
    bits = math.prod(shape) * DTYPE_BITS[dtype]
    if bits % _BYTE_BITS:
        raise SourceError(f"tensor {shown(name)} does not fill whole bytes")
    if bits // _BYTE_BITS != end - start:
        raise SourceError(
            f"tensor {shown(name)} needs {bits // _BYTE_BITS} bytes, its offsets give {end - start}"
        )
    return HeaderTensor(
        name=name, dtype=sys.intern(dtype), shape=shape, start_bytes=start, end_bytes=end
    )


def _wrong_fields(name: str, entry: dict[str, object]) -> SourceError:
    if missing := _FIELDS - entry.keys():
        return SourceError(f"tensor {shown(name)} lacks the field {min(missing)}")
    unknown = min(entry.keys() - _FIELDS)
    return SourceError(f"tensor {shown(name)} has the unknown field {shown(unknown)}")


def _offsets(value: object, name: str) -> tuple[int, int]:
    offsets = _numbers(value, name, "data_offsets")
    if len(offsets) != _OFFSETS_COUNT:
        raise SourceError(f"tensor {shown(name)} has {len(offsets)} data_offsets, not 2")
    start, end = offsets
    if end < start:
        raise SourceError(f"tensor {shown(name)} ends before it starts")
    return start, end


def _check_name(name: str) -> None:
    if not name:
        raise SourceError("a tensor has an empty name")
    try:
        length_bytes = len(name.encode())
    except UnicodeEncodeError as error:
        raise SourceError(f"the tensor name {shown(name)} is not valid text") from error
    if length_bytes > MAX_NAME_BYTES:
        raise SourceError(f"the tensor name {shown(name)} is longer than {MAX_NAME_BYTES} bytes")


def _numbers(value: object, name: str, field: str) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise SourceError(f"{field} of tensor {shown(name)} is not a list")
    for number in value:
        if type(number) is not int:
            raise SourceError(f"{field} of tensor {shown(name)} holds something but integers")
        if not 0 <= number <= _MAX_NUMBER:
            raise SourceError(f"{field} of tensor {shown(name)} holds a number out of range")
    return tuple(value)


def _check_tiling(tensors: list[HeaderTensor], data_bytes: int) -> None:
    end = 0
    for tensor in tensors:
        if tensor.start_bytes > end:
            raise SourceError(
                f"{tensor.start_bytes - end} bytes before tensor {shown(tensor.name)} "
                "belong to no tensor"
            )
        if tensor.start_bytes < end:
            raise SourceError(f"tensor {shown(tensor.name)} overlaps the one before it")
        end = tensor.end_bytes
    if end > data_bytes:
        raise TruncatedSourceError(
            f"the tensors need {end} bytes of data, the file has {data_bytes}"
        )
    if end < data_bytes:
        raise SourceError(f"{data_bytes - end} bytes after the last tensor belong to no tensor")
