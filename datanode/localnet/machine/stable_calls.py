"""The system calls of stable memory, priced as the IC prices its native ones."""

# The interface specification documents each call under the method's name.
# ruff: noqa: D102

from typing import Final

from datanode.localnet.machine import prices
from datanode.localnet.machine.host_state import HostState
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


class StableCalls:
    """`stable64_*`, and the older `stable_*` that reach the first 4 GiB."""

    def __init__(self, state: HostState) -> None:
        self._state = state

    @property
    def _most_pages(self) -> int:
        """How many pages the message may use."""
        return self._state.message.kind.stable_bytes // OS_PAGE_BYTES

    def stable64_size(self) -> int:
        return self._state.stable.pages

    def _grow(self, pages: int) -> int:
        asked = self._state.message.environment.may_grow
        if pages and asked is not None and not asked():
            return -1
        before = self._state.stable.grow(pages)
        if before >= 0:
            self._state.message.grow(pages * WASM_PAGE_BYTES)
        return before

    def stable64_grow(self, pages: int) -> int:
        before = self._grow(pages)
        return _REFUSED64 if before < 0 else before

    def stable64_write(self, offset: int, at: int, size: int) -> None:
        if not size:
            return
        if not self._state.stable.holds(offset, size):
            raise Failure.trap("stable memory out of bounds")
        before = self._state.instance.used()
        data = self._state.instance.reading(at, size)
        self._state.stable.touch(offset, size)
        fresh = self._state.stable.unwritten(offset, size)
        if fresh and self._state.stable.dirty_pages + len(fresh) > self._most_pages:
            raise Failure.memory_access(_MODIFIED)
        self._pay(offset, size, before, fresh_pages=len(fresh), writes=True)
        if fresh:
            self._state.stable.claim(fresh)
        self._state.stable.write(offset, data)

    def stable64_read(self, to: int, offset: int, size: int) -> None:
        if not size:
            return
        if not self._state.stable.holds(offset, size):
            raise Failure.trap("stable memory out of bounds")
        if self._state.stable.touch(offset, size) > self._most_pages:
            raise Failure.memory_access(_ACCESSED)
        before = self._state.instance.used()
        into = self._state.instance.writing(to, size)
        self._pay(offset, size, before)
        self._state.stable.read(offset, into)

    def _pay(
        self,
        offset: int,
        size: int,
        before: int,
        *,
        fresh_pages: int = 0,
        writes: bool = False,
    ) -> None:
        """Pay for the pages of a range of stable memory.

        Args:
            offset: Where the range begins.
            size: Its length in bytes.
            before: What the message had used when its size was paid, and no page.
            fresh_pages: Pages of 4 KiB that the message writes for the first time.
            writes: Whether it is written.
        """
        price = self._state.metering
        due = self._state.stable.access(offset, size) * price.first_access_instructions.value
        if writes:
            due += fresh_pages * price.written_stable_page_instructions.value
            first_writes = self._state.stable.first_writes(offset, size)
            if self._state.message.kind.pays_writes:
                due += first_writes * price.first_write_instructions.value
        self._state.instance.charge(due)
        used = size * prices.A_BYTE + self._state.instance.used() - before
        if self._state.message.kind.is_sliced and used > price.slice_instructions.value:
            raise Failure.slice_overrun(used, price.slice_instructions.value)

    def _check_32bit(self) -> None:
        if self._state.stable.pages > MAX_STABLE_PAGES_32BIT:
            raise Failure.trap("32 bit stable memory api used on a memory larger than 4GB")

    def stable_size(self) -> int:
        self._check_32bit()
        return self._state.stable.pages

    def stable_grow(self, pages: int) -> int:
        self._check_32bit()
        if self._state.stable.pages + pages > MAX_STABLE_PAGES_32BIT:
            return _REFUSED32
        before = self._grow(pages)
        return _REFUSED32 if before < 0 else before

    def stable_write(self, offset: int, at: int, size: int) -> None:
        self._check_32bit()
        self.stable64_write(offset, at, size)

    def stable_read(self, to: int, offset: int, size: int) -> None:
        self._check_32bit()
        self.stable64_read(to, offset, size)
