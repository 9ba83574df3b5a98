"""Cost of memory growth: nothing, reserved cycles, or a refusal.

Memory that would leave the canister below its freezing threshold is refused. On a subnet that holds
more than 750 GiB every byte sets cycles aside, the more the fuller the subnet is, at most as many
as the canister's settings allow. Both are checked whenever a message grows, in the replica's order
and words, and only for what grows beyond the memory allocation.
"""

from collections.abc import Callable
from dataclasses import replace

from datanode.fees import FeeSchedule
from datanode.localnet.machine.rejects import Failure
from datanode.localnet.state.canister_record import Canister
from datanode.principal import Principal


class GrowthCharge:
    """The growth of one canister within one message.

    Args:
        canister: The canister before the message.
        fees: Prices.
        used_bytes: Tells how much memory the subnet holds.
        caller: Who is told how many cycles are lacking, if it is a controller.

    Attributes:
        reserved_cycles: What the growth has set aside so far.
    """

    def __init__(
        self,
        canister: Canister,
        fees: FeeSchedule,
        used_bytes: Callable[[], int],
        caller: Principal,
    ) -> None:
        self._before = self._canister = canister
        self._fees = fees
        self._used_bytes = used_bytes
        self._tells = canister.is_controlled_by(caller)
        self.reserved_cycles = 0

    def reset(self) -> None:
        """Forget what has grown, because it is undone."""
        self._canister, self.reserved_cycles = self._before, 0

    @property
    def threshold_cycles(self) -> int:
        """Return the freezing threshold for the memory held now, cycles."""
        return self._canister.frozen_below_cycles(self._fees)

    def grow(self, more_bytes: int, balance_cycles: int, *, is_checked: bool = True) -> None:
        """Let memory grow.

        Args:
            more_bytes: By how much.
            balance_cycles: What the canister has, less what is set aside already.
            is_checked: Whether the freezing threshold matters.

        Raises:
            Failure: It must not.
        """
        grown = replace(self._canister, stable_bytes=self._canister.stable_bytes + more_bytes)
        held_bytes = self._canister.charged_bytes()
        allocated_bytes = grown.charged_bytes() - held_bytes
        threshold = grown.frozen_below_cycles(self._fees)
        if is_checked and allocated_bytes and balance_cycles < threshold:
            raise self._too_poor(allocated_bytes, threshold - balance_cycles)
        cycles = 0
        if allocated_bytes:
            others_bytes = self._used_bytes() - self._before.charged_bytes()
            cycles = self._fees.reservation_cycles(
                allocated_bytes, subnet_bytes=others_bytes + held_bytes
            )
        limit = grown.settings.reserved_cycles_limit
        if grown.reserved_cycles + cycles > limit:
            raise _over_limit(allocated_bytes, limit, grown.reserved_cycles + cycles - limit)
        if balance_cycles < cycles:
            raise self._too_poor(allocated_bytes, cycles - balance_cycles)
        self.reserved_cycles += cycles
        self._canister = replace(grown, reserved_cycles=grown.reserved_cycles + cycles)

    def _too_poor(self, more_bytes: int, missing_cycles: int) -> Failure:
        what = f"Canister cannot grow memory by {more_bytes} bytes due to insufficient cycles."
        if self._tells:
            what += f" At least {missing_cycles:_} additional cycles are required."
        return Failure(
            "IC0532",
            what,
            "Try topping up the canister.",
            "insufficient-cycles-in-memory-grow",
        )


def _over_limit(more_bytes: int, limit_cycles: int, over_cycles: int) -> Failure:
    return Failure(
        "IC0534",
        f"Canister cannot grow memory by {more_bytes} bytes due to its reserved cycles limit. "
        f"The current limit ({limit_cycles:_}) would be exceeded by {over_cycles:_}.",
        "Try raising the canister's reserved cycles limit, or moving it to a subnet that holds "
        "less.",
        "reserved-cycles-limit-exceeded-in-memory-grow",
    )
