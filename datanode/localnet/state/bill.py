"""Balance of one canister while a message is executed; every cycle taken belongs to an item."""

from dataclasses import replace
from typing import Final

from datanode.errors import LocalNetworkError
from datanode.fees import FeeSchedule
from datanode.localnet.state.canister_record import Canister

MAX_CYCLES: Final = (1 << 128) - 1
"""Most cycles that a canister can have; what comes beyond is lost, as on the Internet Computer."""

_RESERVE: Final = "reserve"


class Bill:
    """Bill of a canister for one message.

    The items add up to what its balance loses. Cycles that are set aside for storage leave the
    balance under the item `reserve`, and come back under it, negative, when they pay rent: that
    item alone adds up to what is set aside.

    Attributes:
        canister: The canister as it will be when the message is committed.
    """

    def __init__(self, canister: Canister, fees: FeeSchedule) -> None:
        self.canister = canister
        self._fees = fees
        self._items: dict[str, int] = {}

    def take(self, item: str, cycles: int) -> None:
        """Take cycles for an item.

        Raises:
            LocalNetworkError: There are fewer; who takes asks first how many are `missing`.
        """
        if cycles > self.canister.balance_cycles:
            raise LocalNetworkError(
                f"{item} costs {cycles} cycles, and {self.canister.id} has"
                f" {self.canister.balance_cycles}"
            )
        self._move(item, cycles)

    def deposit(self, cycles: int) -> None:
        """Add cycles."""
        self._move("deposit", -cycles)

    def reserve(self, cycles: int) -> None:
        """Set cycles aside, out of which storage is paid before the balance is touched.

        Raises:
            LocalNetworkError: There are fewer.
        """
        self.take(_RESERVE, cycles)
        self._set_aside(cycles)

    def rent(self, seconds: int) -> bool:
        """Take the rent of a time, out of what is set aside first; False when it is too much.

        A canister that cannot pay is left as it is.
        """
        canister = self.canister
        due = canister.rent(self._fees, seconds)
        from_reserve = min(due.cycles, canister.reserved_cycles)
        if due.cycles - from_reserve > canister.balance_cycles:
            return False
        self._move(_RESERVE, -from_reserve)
        self._set_aside(-from_reserve)
        self._move("storage", due.storage_cycles)
        self._move("base", due.base_cycles)
        self._move("compute", due.compute_cycles)
        return True

    def burn(self) -> None:
        """Take everything, what is set aside too."""
        reserved_cycles = self.canister.reserved_cycles
        self._move(_RESERVE, -reserved_cycles)
        self._set_aside(-reserved_cycles)
        self._move("burnt", self.canister.balance_cycles)

    def receive(self, item: str, cycles: int) -> None:
        """Add cycles that come back or come along with a call, as an item below zero."""
        self._move(item, -cycles)

    def missing(self, cycles: int) -> int:
        """How many cycles are lacking to pay a fee and stay above the freezing threshold."""
        threshold = self.canister.frozen_below_cycles(self._fees)
        return max(0, threshold + cycles - self.canister.balance_cycles)

    @property
    def items(self) -> tuple[tuple[str, int], ...]:
        """The items, in the order in which they came up."""
        return tuple(self._items.items())

    def _move(self, item: str, cycles: int) -> None:
        cycles = max(cycles, self.canister.balance_cycles - MAX_CYCLES)
        if cycles:
            self._items[item] = self._items.get(item, 0) + cycles
            balance_cycles = self.canister.balance_cycles - cycles
            self.canister = replace(self.canister, balance_cycles=balance_cycles)

    def _set_aside(self, cycles: int) -> None:
        reserved_cycles = self.canister.reserved_cycles + cycles
        self.canister = replace(self.canister, reserved_cycles=reserved_cycles)
