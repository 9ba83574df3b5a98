"""The account of one canister while a message is executed: every cycle taken has an item's name."""

from dataclasses import replace

from datanode.fees import FeeSchedule
from datanode.localnet.state.canister import Canister
from datanode.units import SECOND_NS


class Bill:
    """What a canister pays for one message; begins with the rent since it last paid.

    Attributes:
        canister: The canister as it will be when the message is committed.
    """

    def __init__(self, canister: Canister, now_ns: int, fees: FeeSchedule) -> None:
        self.canister = canister
        self._fees = fees
        self._items: dict[str, int] = {}
        seconds = max(0, now_ns - canister.charged_ns) // SECOND_NS
        if seconds:
            held_bytes, percent = canister.charged_bytes(), canister.settings.compute_allocation
            self.take("storage", fees.storage_cycles(held_bytes, seconds))
            self.take("base", fees.base_cycles(seconds))
            self.take("compute", fees.compute_cycles(percent, seconds))
            self.canister = replace(
                self.canister, charged_ns=canister.charged_ns + seconds * SECOND_NS
            )

    def take(self, item: str, cycles: int) -> None:
        """Take cycles for an item; at most what there is."""
        taken = min(cycles, self.canister.balance_cycles)
        if taken:
            self._items[item] = self._items.get(item, 0) + taken
            self.canister = replace(
                self.canister, balance_cycles=self.canister.balance_cycles - taken
            )

    def deposit(self, cycles: int) -> None:
        """Add cycles."""
        if cycles:
            self._items["deposit"] = self._items.get("deposit", 0) - cycles
            self.canister = replace(
                self.canister, balance_cycles=self.canister.balance_cycles + cycles
            )

    def missing(self, cycles: int) -> int:
        """How many cycles are lacking to pay a fee and stay above the freezing threshold."""
        threshold = self.canister.frozen_below_cycles(self._fees)
        return max(0, threshold + cycles - self.canister.balance_cycles)

    @property
    def items(self) -> tuple[tuple[str, int], ...]:
        """The items, in the order in which they came up."""
        return tuple(self._items.items())

    def _add(self, cycles: int) -> None:
        balance_cycles = self.canister.balance_cycles + cycles
        self.canister = replace(self.canister, balance_cycles=balance_cycles)
