"""Tensors as NumPy arrays, read from the chunks that hold them, each verified.

An array is allocated once and chunks are copied into it as they arrive, so that the memory beside
it is that of the chunks in flight.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from types import EllipsisType
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from datanode.dtypes import DTYPE_BITS
from datanode.errors import NotFoundError, UsageError
from datanode.globs import is_chosen
from datanode.manifest import TensorEntry
from datanode.reader.tensors import ByteRange, pieces_of, range_of_tensor
from datanode.reader.version import JOBS, VerifiedVersion
from datanode.text import printable

Array: TypeAlias = NDArray[np.generic]
Rows: TypeAlias = (
    int | slice | Sequence[int] | NDArray[np.integer] | NDArray[np.bool] | EllipsisType
)

_NUMPY: Final = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "F16": "float16",
    "U32": "uint32",
    "I32": "int32",
    "F32": "float32",
    "U64": "uint64",
    "I64": "int64",
    "F64": "float64",
    "C64": "complex64",
}
_ML_DTYPES: Final = {
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
}
_BYTE_BITS: Final = 8


def numpy_dtype(dtype: str, *, as_bits: bool = False) -> np.dtype[np.generic]:
    """Return the NumPy type of a safetensors dtype.

    Args:
        dtype: E.g. `BF16`.
        as_bits: For types that NumPy lacks, the unsigned integer of the same width.

    Raises:
        UsageError: NumPy has no such type, and `ml_dtypes` is not installed or has none either.
    """
    if dtype in _NUMPY:
        return np.dtype(_NUMPY[dtype])
    if dtype not in _ML_DTYPES:
        raise UsageError(
            f"a tensor of dtype {printable(dtype)} cannot be an array",
            hint="`datanode.fetch` with `tensor=` writes its bytes to a file.",
        )
    if as_bits:
        return np.dtype(f"uint{DTYPE_BITS[dtype]}")
    try:
        found: np.dtype[np.generic] = np.dtype(
            getattr(import_module("ml_dtypes"), _ML_DTYPES[dtype])
        )
    except ImportError as error:
        raise UsageError(
            f"NumPy has no {dtype}, and ml_dtypes is not installed",
            hint="Install datanode[ml-dtypes], or pass as_bits=True for unsigned integers.",
        ) from error
    return found


def find_tensors(
    version: VerifiedVersion,
    names: Iterable[str] | None,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> list[TensorEntry]:
    """Find tensors by name and by glob, in the order of the manifest, read once.

    Args:
        version: The version.
        names: Their names; None: all.
        include: Globs; when given, only names that match one.
        exclude: Globs; without names that match one.

    Raises:
        NotFoundError: A name is not there, or no name matches.
    """
    wanted = None if names is None else set(names)
    found: dict[str, TensorEntry] = {}
    for entry in version.tensors():
        is_named = wanted is None or entry.name in wanted
        if is_named and entry.name not in found and is_chosen(entry.name, include, exclude):
            found[entry.name] = entry
    missing = (wanted or set()) - found.keys()
    if missing and not (include or exclude):
        raise NotFoundError(
            f"{version.model} has no tensor {printable(min(missing))}",
            hint=f"`datanode show {version.model} --tensors` lists them.",
        )
    if not found and (wanted or include or exclude):
        raise NotFoundError(f"no tensor of {version.model} matches")
    return list(found.values())


def load_arrays(
    version: VerifiedVersion,
    entries: Iterable[TensorEntry],
    *,
    as_bits: bool = False,
    jobs: int = JOBS,
    on_bytes: Callable[[int, int], object] = lambda _done, _total: None,
) -> dict[str, Array]:
    """Read tensors; a chunk that several of them share is read once.

    Args:
        version: Holds them.
        entries: Which.
        as_bits: See `numpy_dtype`.
        jobs: Queries in flight.
        on_bytes: Called with the bytes that are in place, and their total.

    Raises:
        UsageError: A dtype has no NumPy type.
        FormatError: A tensor does not lie where the manifest says: it was sealed wrong.
        CorruptionError: A chunk is not what the manifest names.
    """
    arrays: dict[str, Array] = {}
    into: list[tuple[ByteRange, memoryview]] = []
    for entry in entries:
        array, memory = _allocated(version, entry, as_bits=as_bits)
        arrays[entry.name] = array
        into.append((range_of_tensor(version, entry), memory))
    _fill(version, into, jobs=jobs, on_bytes=on_bytes)
    return arrays


def _allocated(
    version: VerifiedVersion, entry: TensorEntry, *, as_bits: bool
) -> tuple[Array, memoryview]:
    """Allocate an array, after its chunks were found to hold as many bytes."""
    dtype = numpy_dtype(entry.dtype, as_bits=as_bits)
    memory = np.empty(range_of_tensor(version, entry).length_bytes, np.uint8)
    return memory.view(dtype).reshape(entry.shape), memory.data


def _fill(
    version: VerifiedVersion,
    into: Iterable[tuple[ByteRange, memoryview]],
    *,
    jobs: int,
    on_bytes: Callable[[int, int], object] = lambda _done, _total: None,
) -> None:
    """Copy ranges of a version into memory, each chunk read once."""
    parts: defaultdict[int, list[tuple[int, memoryview]]] = defaultdict(list)
    done = total = 0
    for wanted, memory in into:
        at = 0
        for piece in pieces_of(version, wanted):
            place = memory[at : at + piece.length_bytes]
            parts[piece.chunk].append((piece.start_bytes, place))
            at += piece.length_bytes
        total += at
    order = sorted(parts)
    for chunk, raw in zip(order, version.chunks(order, jobs=jobs), strict=True):
        for start, place in parts[chunk]:
            place[:] = raw[start : start + len(place)]
            done += len(place)
        on_bytes(done, total)


class TensorReader:
    """A tensor whose rows are read when they are asked for, from the chunks that hold them.

    `reader[i]`, `reader[i:j]` and `reader[[i, j]]` are arrays; `reader[...]` is the whole tensor.

    Args:
        version: Holds the tensor.
        entry: The tensor.
        as_bits: See `numpy_dtype`.
        jobs: Queries in flight.
    """

    def __init__(
        self,
        version: VerifiedVersion,
        entry: TensorEntry,
        *,
        as_bits: bool = False,
        jobs: int = JOBS,
    ) -> None:
        self._version = version
        self._entry = entry
        self._range = range_of_tensor(version, entry)
        self._jobs = jobs
        self.dtype: Final = numpy_dtype(entry.dtype, as_bits=as_bits)

    @property
    def name(self) -> str:
        """Name of the tensor."""
        return self._entry.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents, outermost first."""
        return self._entry.shape

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a scalar has no rows")
        return self.shape[0]

    def __iter__(self) -> Iterator[Array]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, rows: Rows) -> Array:
        """Read rows.

        Raises:
            IndexError: There is no such row.
            CorruptionError: A chunk is not what the manifest names.
        """
        if isinstance(rows, EllipsisType):
            return self._read([(0, self._range.length_bytes)], self.shape)
        picked: NDArray[np.int64] = np.asarray(np.arange(len(self))[rows])
        row_bytes = self._range.length_bytes // len(self) if len(self) else 0
        shape = (*picked.shape, *self.shape[1:])
        runs = [
            (int(run[0]) * row_bytes, len(run) * row_bytes) for run in _runs(np.atleast_1d(picked))
        ]
        return self._read(runs, shape)

    def _read(self, runs: Sequence[tuple[int, int]], shape: tuple[int, ...]) -> Array:
        memory = np.empty(sum(length for _, length in runs), np.uint8)
        into, at = [], 0
        for start, length in runs:
            into.append((self._range.part(start, length), memory.data[at : at + length]))
            at += length
        _fill(self._version, into, jobs=self._jobs)
        return memory.view(self.dtype).reshape(shape)


def _runs(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Split row numbers into runs of consecutive ones."""
    if not len(rows):
        return []
    return np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
