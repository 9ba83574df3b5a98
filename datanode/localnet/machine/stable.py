"""Stable memory: one sparse file, written in place under the undo log.

The file is as long as the memory. Reads and writes go straight between it and the canister's
linear memory, so the server's memory does not grow with it, and a full disk is an error that can
be caught, where a mapped file would kill the process.

Pages of 4 KiB that a message writes for the first time are saved to the undo log first; the same
set of pages is what the IC charged for until July 2026. Pages that lie past the end at the
message's beginning are not saved: cutting the file restores them.
"""

import mmap
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from datanode.localnet.machine.undo import UndoFile, UndoLog, write_all
from datanode.units import GIB

WASM_PAGE_BYTES: Final = 65_536
OS_PAGE_BYTES: Final = 4_096
MAX_STABLE_BYTES: Final = 500 * GIB
"""Largest stable memory. Source: IC resource limits, 2026-05."""

MAX_STABLE_PAGES_32BIT: Final = 65_536


class StableMemory:
    """The stable memory of one canister.

    Attributes:
        pages: Its size in Wasm pages.
        descriptor: Its file, for the undo log.
    """

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.pages = os.fstat(self.descriptor).st_size // WASM_PAGE_BYTES
        self._saved_end = 0
        self._dirty: set[int] = set()
        self._touched: set[int] = set()
        self._accessed_wasm_pages: set[int] = set()
        self._written_wasm_pages: set[int] = set()
        self._undo: UndoLog | None = None

    def begin(self, undo: UndoLog | None) -> None:
        """Start a message; without a log its writes cannot be undone."""
        self._undo = undo
        self._dirty.clear()
        self._touched.clear()
        self._accessed_wasm_pages.clear()
        self._written_wasm_pages.clear()
        self._saved_end = self.pages * WASM_PAGE_BYTES

    def grow(self, pages: int) -> int:
        """Add pages; return the former size, or -1 when it would be too large."""
        before = self.pages
        if (before + pages) * WASM_PAGE_BYTES > MAX_STABLE_BYTES:
            return -1
        if pages:
            os.ftruncate(self.descriptor, (before + pages) * WASM_PAGE_BYTES)
            self.pages = before + pages
        return before

    def holds(self, offset: int, length: int) -> bool:
        """Tell whether a range lies inside the memory."""
        return offset + length <= self.pages * WASM_PAGE_BYTES

    def unwritten(self, offset: int, length: int) -> list[int]:
        """Return the pages of a range that the message has not written yet."""
        return [page for page in _pages(offset, length) if page not in self._dirty]

    def claim(self, fresh: list[int]) -> None:
        """Save pages that the message writes for the first time; they may then be written."""
        self._dirty.update(fresh)
        if self._undo is not None:
            for start, end in runs(fresh):
                begin, finish = start * OS_PAGE_BYTES, min(end * OS_PAGE_BYTES, self._saved_end)
                if begin < finish:
                    self._undo.save(UndoFile.STABLE, self.descriptor, begin, finish - begin)

    def touch(self, offset: int, length: int) -> int:
        """Note that a range is used; return how many pages the message has used by now."""
        self._touched.update(_pages(offset, length))
        return len(self._touched)

    def access(self, offset: int, length: int) -> int:
        """Note an access; return how many Wasm pages the message had not accessed before."""
        return _add(self._accessed_wasm_pages, offset, length)

    def first_writes(self, offset: int, length: int) -> int:
        """Note a write; return how many Wasm pages the message had not written before."""
        return _add(self._written_wasm_pages, offset, length)

    @property
    def dirty_pages(self) -> int:
        """How many pages the message has written."""
        return len(self._dirty)

    def write(self, offset: int, data: memoryview) -> None:
        """Write a claimed range."""
        write_all(self.descriptor, data, offset)

    def read(self, offset: int, into: memoryview) -> None:
        """Read a range that the memory holds."""
        while into:
            count = os.preadv(self.descriptor, [into], offset)
            into = into[count:]
            offset += count

    def resize(self, pages: int) -> None:
        """Set the size, as part of undoing a message."""
        os.ftruncate(self.descriptor, pages * WASM_PAGE_BYTES)
        self.pages = pages

    def find(self, needle: bytes) -> int | None:
        """Return the offset of the first occurrence of some bytes."""
        size = self.pages * WASM_PAGE_BYTES
        if not size:
            return None
        with mmap.mmap(self.descriptor, size, prot=mmap.PROT_READ) as mapped:
            found = mapped.find(needle)
        return None if found < 0 else found

    def flip(self, offset: int, xor: int) -> None:
        """Change one byte behind the canister's back."""
        (byte,) = os.pread(self.descriptor, 1, offset)
        os.pwrite(self.descriptor, bytes([byte ^ xor]), offset)

    def close(self) -> None:
        """Release the file."""
        os.close(self.descriptor)


def _pages(offset: int, length: int) -> range:
    """Number the pages of 4 KiB that a range of at least a byte lies on."""
    return range(offset // OS_PAGE_BYTES, (offset + length - 1) // OS_PAGE_BYTES + 1)


def _add(known: set[int], offset: int, length: int) -> int:
    """Add the Wasm pages of a range of at least a byte; return how many were not known."""
    before = len(known)
    known.update(range(offset // WASM_PAGE_BYTES, (offset + length - 1) // WASM_PAGE_BYTES + 1))
    return len(known) - before


def runs(pages: Iterable[int]) -> list[tuple[int, int]]:
    """Join ascending page numbers into (start, end) runs."""
    out: list[tuple[int, int]] = []
    for page in pages:
        if out and out[-1][1] == page:
            out[-1] = (out[-1][0], page + 1)
        else:
            out.append((page, page + 1))
    return out
