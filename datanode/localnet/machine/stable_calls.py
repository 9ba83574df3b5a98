"""The system calls of stable memory, priced as the IC prices its native ones."""

# The interface specification documents each call under the method's name.
# ruff: noqa: D102

from typing import Final

from datanode.localnet.machine import prices
from datanode.localnet.machine.messaging import MessagingCalls
from datanode.localnet.machine.rejects import Failure
from datanode.localnet.machine.stable import MAX_STABLE_PAGES_32BIT, OS_PAGE_BYTES, WASM_PAGE_BYTES
from datanode.units import KIB

_REFUSED64: Final = (1 << 64) - 1
_REFUSED32: Final = (1 << 32) - 1

_MESSAGE, _UPGRADE, _QUERY = (
    limit // KIB
    for limit in (
        prices.STABLE_BYTES_MESSAGE,
        prices.STABLE_BYTES_INSTALL,
        prices.STABLE_BYTES_QUERY,
    )
)
_MODIFIED: Final = (
    "Exceeded the limit for the number of modified pages in the stable memory in a single "
    f"execution: limit {_MESSAGE} KB for regular messages, {_UPGRADE} KB for upgrade messages and "
    f"{_QUERY} KB for queries."
)
_ACCESSED: Final = (
    "Exceeded the limit for the number of accessed pages in the stable memory in a single message "
    f"execution: limit {_MESSAGE} KB for regular messages and {_QUERY} KB for queries."
)


class StableCalls(MessagingCalls):
    """`stable64_*`, and the older `stable_*` that reach the first 4 GiB."""

    @property
    def _most_pages(self) -> int:
        """How many pages the message may use."""
        return self.message.kind.stable_bytes // OS_PAGE_BYTES

    def stable64_size(self) -> int:
        return self.stable.pages

    def _grow(self, pages: int) -> int:
        asked = self.message.environment.may_grow
        if pages and asked is not None and not asked():
            return -1
        before = self.stable.grow(pages)
        if before >= 0:
            self.message.grow(pages * WASM_PAGE_BYTES)
        return before

    def stable64_grow(self, pages: int) -> int:
        before = self._grow(pages)
        return _REFUSED64 if before < 0 else before

    def stable64_write(self, offset: int, at: int, size: int) -> None:
        if not size:
            return
        if not self.stable.holds(offset, size):
            raise Failure.trap("stable memory out of bounds")
        data = self.instance.view(at, size)
        self.stable.touch(offset, size)
        fresh = self.stable.unwritten(offset, size)
        if fresh:
            if self.stable.dirty_pages + len(fresh) > self._most_pages:
                raise Failure.memory_access(_MODIFIED)
            self.instance.charge(len(fresh) * prices.INSTRUCTIONS_A_DIRTY_PAGE)
            self.stable.claim(fresh)
        self.stable.write(offset, data)

    def stable64_read(self, to: int, offset: int, size: int) -> None:
        if not size:
            return
        if not self.stable.holds(offset, size):
            raise Failure.trap("stable memory out of bounds")
        if self.stable.touch(offset, size) > self._most_pages:
            raise Failure.memory_access(_ACCESSED)
        self.stable.read(offset, self.instance.view(to, size))

    def _check_32bit(self) -> None:
        if self.stable.pages > MAX_STABLE_PAGES_32BIT:
            raise Failure.trap("32 bit stable memory api used on a memory larger than 4GB")

    def stable_size(self) -> int:
        self._check_32bit()
        return self.stable.pages

    def stable_grow(self, pages: int) -> int:
        self._check_32bit()
        if self.stable.pages + pages > MAX_STABLE_PAGES_32BIT:
            return _REFUSED32
        before = self._grow(pages)
        return _REFUSED32 if before < 0 else before

    def stable_write(self, offset: int, at: int, size: int) -> None:
        self._check_32bit()
        self.stable64_write(offset, at, size)

    def stable_read(self, to: int, offset: int, size: int) -> None:
        self._check_32bit()
        self.stable64_read(to, offset, size)
