"""The heap mirror: a file that holds the linear memory as the last update left it.

While a message runs, the linear memory lives in the engine. Afterwards the Wasm pages that it has
written (see `page_checks`) are compared with the mirror: an update's changes are copied to the
mirror under the undo log, a query's or a failed update's are copied back. A restart fills the
linear memory from the mirror.

Only `changes` knows how changed pages are found. It finds the pages of 4 KiB that the Internet
Computer charged for until July 2026: a page that was written counted only if its content changed.
"""

import mmap
import os
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from datanode.localnet.machine.stable import WASM_PAGE_BYTES, runs
from datanode.localnet.machine.undo import UndoFile, UndoLog, extents, write_all
from datanode.units import KIB

Pages: TypeAlias = "npt.NDArray[np.uint64]"

_PAGE_WORDS: Final = 512
_PAGE_BYTES: Final = 4 * KIB
_PAGES_A_WASM_PAGE: Final = WASM_PAGE_BYTES // _PAGE_BYTES
_BLOCK_PAGES: Final = 64
_ZEROED_BYTES: Final = WASM_PAGE_BYTES
_JOIN_PAGES: Final = 4
"""Changed pages this near to each other are copied in one piece: a call costs more than a page."""


class HeapMirror:
    """The mirror of one canister's linear memory.

    Attributes:
        pages: Its size in Wasm pages.
        descriptor: Its file, for the undo log.
    """

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.pages = os.fstat(self.descriptor).st_size // WASM_PAGE_BYTES
        self._map: mmap.mmap | None = None
        self._remap()

    def _remap(self) -> None:
        self._map = None
        if self.pages:
            self._map = mmap.mmap(
                self.descriptor, self.pages * WASM_PAGE_BYTES, prot=mmap.PROT_READ
            )

    def resize(self, pages: int) -> None:
        """Set the size; pages that are added are zero."""
        if pages != self.pages:
            os.ftruncate(self.descriptor, pages * WASM_PAGE_BYTES)
            self.pages = pages
            self._remap()

    def changes(self, memory: memoryview, written: list[int] | None = None) -> list[int]:
        """Return the pages of 4 KiB in which a linear memory differs, ascending.

        The memory may be larger than the mirror, never smaller; what was added counts as zero.

        Args:
            memory: The linear memory.
            written: Its Wasm pages that may differ, ascending; all by default.
        """
        live = np.frombuffer(memory, np.uint64).reshape(-1, _PAGE_WORDS)
        kept = np.frombuffer(self._map or b"", np.uint64).reshape(-1, _PAGE_WORDS)
        pages = range(len(memory) // WASM_PAGE_BYTES) if written is None else written
        out: list[int] = []
        for first, last in runs(pages):
            at, finish = first * _PAGES_A_WASM_PAGE, last * _PAGES_A_WASM_PAGE
            for start, end in [*self._held(first, last), (finish, finish)]:
                out += _nonzero(live, at, start)
                out += _different(live, kept, max(at, start), end)
                at = end
        return out

    def _held(self, first: int, last: int) -> list[tuple[int, int]]:
        """Return runs of pages that the file holds; the others are zero and not to be mapped.

        Some file systems give a hole a block when its mapping is read, and end the process when
        they have none left.

        Args:
            first: Wasm page at which to begin.
            last: Wasm page at which to end.
        """
        start, end = first * WASM_PAGE_BYTES, min(last, self.pages) * WASM_PAGE_BYTES
        return [
            (start // _PAGE_BYTES, -(-end // _PAGE_BYTES))
            for has_data, start, end in extents(self.descriptor, start, end - start)
            if has_data
        ]

    def store(self, memory: memoryview, changes: list[int], undo: UndoLog | None) -> None:
        """Copy the pages that changed in the linear memory to the mirror."""
        before = self.pages * WASM_PAGE_BYTES
        self.resize(len(memory) // WASM_PAGE_BYTES)
        kept = memoryview(self._map or b"")
        for start, end in _ranges(changes):
            if undo is not None and start < before:
                length = min(end, before) - start
                undo.save(UndoFile.HEAP, self.descriptor, start, length, kept)
            write_all(self.descriptor, memory[start:end], start)

    def load(self, memory: memoryview) -> None:
        """Fill a linear memory of this size from the mirror.

        What the mirror does not hold is zero. It is written to only where the memory, which a
        module's data segments may have filled, is not: a page that is not written takes no room.
        """
        for has_data, start, end in extents(self.descriptor, 0, len(memory)):
            if has_data:
                _read(self.descriptor, memory, start, end)
                continue
            for block in range(start, end, _ZEROED_BYTES):
                part = memory[block : min(block + _ZEROED_BYTES, end)]
                if np.frombuffer(part, np.uint8).any():
                    part[:] = bytes(len(part))

    def restore(self, memory: memoryview, changes: list[int]) -> None:
        """Copy the pages that changed in the linear memory, which has this size, back."""
        for start, end in _ranges(changes):
            _read(self.descriptor, memory, start, end)

    def close(self) -> None:
        """Release the file."""
        self._map = None
        os.close(self.descriptor)


def _read(descriptor: int, memory: memoryview, at: int, end: int) -> None:
    while at < end:
        at += os.preadv(descriptor, [memory[at:end]], at)


def _nonzero(live: Pages, start: int, end: int) -> list[int]:
    out: list[int] = []
    for block in range(start, end, _BLOCK_PAGES):
        after = live[block : min(block + _BLOCK_PAGES, end)]
        if after.any():
            out += (np.flatnonzero(after.any(axis=1)) + block).tolist()
    return out


def _different(live: Pages, kept: Pages, start: int, end: int) -> list[int]:
    out: list[int] = []
    for block in range(start, end, _BLOCK_PAGES):
        rows = slice(block, min(block + _BLOCK_PAGES, end))
        if not np.array_equal(live[rows], kept[rows]):
            out += (np.flatnonzero((live[rows] != kept[rows]).any(axis=1)) + block).tolist()
    return out


def _ranges(pages: list[int]) -> list[tuple[int, int]]:
    """Join pages that are near to each other into ranges of bytes."""
    out: list[tuple[int, int]] = []
    for page in pages:
        if out and page - out[-1][1] < _JOIN_PAGES:
            out[-1] = (out[-1][0], page + 1)
        else:
            out.append((page, page + 1))
    return [(start * _PAGE_BYTES, end * _PAGE_BYTES) for start, end in out]
