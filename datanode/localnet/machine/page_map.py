"""Host view of the map of heap pages that a message has accessed and written.

One byte for each Wasm page: see `page_checks`, whose code fills it. What the host itself reads and
writes for a system call it marks here.
"""

from dataclasses import dataclass
from typing import Final

from datanode.localnet.machine.page_checks import ACCESSED, WRITTEN
from datanode.localnet.machine.stable import WASM_PAGE_BYTES

_UNUSED: Final = 0
_AFTER_ACCESS: Final = bytes(max(each, ACCESSED) for each in range(256))


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPrices:
    """Charges of one message for pages of 64 KiB, in instructions.

    Attributes:
        access: For a page that it accesses for the first time.
        write: For a page that it writes for the first time, in addition.
        slice_limit: The most that one operation may use.
    """

    access: int
    write: int
    slice_limit: int


class PageMap:
    """The map of one instance.

    Args:
        memory: A byte for each page that the heap may have.
    """

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory

    def clear(self, pages: int) -> None:
        """Forget what was used of a heap of so many pages."""
        self._memory[:pages] = bytes(pages)

    def access(self, at: int, length: int) -> int:
        """Mark a range that lies in the heap; return how many pages were not accessed before."""
        if not length:
            return 0
        pages = self._pages(at, length)
        known = bytes(self._memory[pages])
        self._memory[pages] = known.translate(_AFTER_ACCESS)
        return known.count(_UNUSED)

    def write(self, at: int, length: int) -> tuple[int, int]:
        """Mark a range; return how many pages were not accessed, and not written, before."""
        if not length:
            return 0, 0
        pages = self._pages(at, length)
        known = bytes(self._memory[pages])
        self._memory[pages] = bytes([WRITTEN]) * len(known)
        return known.count(_UNUSED), len(known) - known.count(WRITTEN)

    def written(self, pages: int) -> list[int]:
        """List the pages that were written, of a heap of so many pages."""
        known = bytes(self._memory[:pages])
        found = []
        at = known.find(WRITTEN)
        while at >= 0:
            found.append(at)
            at = known.find(WRITTEN, at + 1)
        return found

    def _pages(self, at: int, length: int) -> slice:
        return slice(at // WASM_PAGE_BYTES, (at + length - 1) // WASM_PAGE_BYTES + 1)
