"""The heap mirror: a file that holds the linear memory as the last update left it.

While a message runs, the linear memory lives in the engine. Afterwards its pages are compared with
the mirror: an update's changes are copied to the mirror under the undo log, a query's or a failed
update's are copied back. A restart fills the linear memory from the mirror.

The comparison reads both sides at memory speed (about 10 GB/s); the storage canister's heap is a
few MB. Only `changes` knows how changed pages are found.
"""

import mmap
import os
from pathlib import Path
from typing import Final

import numpy as np

from datanode.localnet.machine.stable import WASM_PAGE_BYTES
from datanode.localnet.machine.undo import Target, UndoLog, write_all
from datanode.units import KIB

_PAGE_WORDS: Final = 512
_PAGE_BYTES: Final = 4 * KIB
_BLOCK_PAGES: Final = 64
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

    def changes(self, memory: memoryview) -> list[tuple[int, int]]:
        """Return the byte ranges in which a linear memory of this size differs."""
        if self._map is None:
            return []
        live = np.frombuffer(memory, np.uint64).reshape(-1, _PAGE_WORDS)
        kept = np.frombuffer(self._map, np.uint64).reshape(-1, _PAGE_WORDS)
        out: list[tuple[int, int]] = []
        for block in range(0, len(live), _BLOCK_PAGES):
            rows = slice(block, block + _BLOCK_PAGES)
            if np.array_equal(live[rows], kept[rows]):
                continue
            for page in np.flatnonzero((live[rows] != kept[rows]).any(axis=1)).tolist():
                at = block + page
                if out and at - out[-1][1] < _JOIN_PAGES:
                    out[-1] = (out[-1][0], at + 1)
                else:
                    out.append((at, at + 1))
        return [(start * _PAGE_BYTES, end * _PAGE_BYTES) for start, end in out]

    def store(self, memory: memoryview, undo: UndoLog | None) -> None:
        """Copy what changed in the linear memory to the mirror."""
        before = self.pages * WASM_PAGE_BYTES
        self.resize(len(memory) // WASM_PAGE_BYTES)
        kept = memoryview(self._map or b"")
        for start, end in self.changes(memory):
            if undo is not None and start < before:
                length = min(end, before) - start
                undo.save(Target.HEAP, self.descriptor, start, length, kept)
            write_all(self.descriptor, memory[start:end], start)

    def load(self, memory: memoryview) -> None:
        """Fill a linear memory of this size from the mirror."""
        at = 0
        while at < len(memory):
            at += os.preadv(self.descriptor, [memory[at:]], at)

    def restore(self, memory: memoryview) -> None:
        """Copy what changed in the linear memory, which has this size, back from the mirror."""
        if self._map is not None:
            kept = memoryview(self._map)
            for start, end in self.changes(memory):
                memory[start:end] = kept[start:end]

    def close(self) -> None:
        """Release the file."""
        self._map = None
        os.close(self.descriptor)
