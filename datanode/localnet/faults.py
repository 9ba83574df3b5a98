"""Faults on cue of a running network, from Python: set, listed, cleared; and damage done at once.

with LocalNetwork(folder) as net:
    net.faults.set("lose-answer", method="put_frames", every=3)
    ...                                   # every third answer is lost
    net.faults.clear()
    net.faults.mark(canister, "before")
    ...
    net.faults.roll_back(canister, "before")

The kinds and their parameters are in `datanode.localnet.state.fault`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, cast

from datanode.errors import UsageError
from datanode.localnet.state.drain_level import DrainLevel
from datanode.localnet.state.fault import Fault, FaultKind, FaultVerb, Value
from datanode.principal import Principal

__all__ = ["DrainLevel", "Fault", "FaultKind", "FaultVerb", "Faults"]


class Faults:
    """The faults of one running network.

    Args:
        ask: Asks the network what is beside the Internet Computer's interface.
    """

    def __init__(self, ask: Callable[[str, Mapping[str, object] | None], object]) -> None:
        self._ask: Final = ask

    def set(
        self,
        kind: str,
        *,
        canister: Principal | None = None,
        method: str | None = None,
        verb: Literal["call", "query", "read_state"] | None = None,
        count: int | None = None,
        every: int = 1,
        probability: float = 1.0,
        seed: int = 0,
        seconds: float | None = None,
        **parameters: Value,
    ) -> int:
        """Set a fault; see `Fault` for the scope. Returns the number that names it.

        Raises:
            UsageError: It makes no sense.
        """
        fault = Fault(
            kind=kind_of(kind),
            parameters=tuple(parameters.items()),
            canister=canister,
            method=method,
            verb=None if verb is None else FaultVerb(verb),
            count=count,
            every=every,
            probability=probability,
            seed=seed,
            seconds=seconds,
        )
        return self.set_fault(fault)

    def set_fault(self, fault: Fault) -> int:
        """Set a fault; returns the number that names it."""
        return self._number("set", fault.to_json(), "number")

    def standing(self) -> Sequence[Mapping[str, object]]:
        """List the faults that are set, with what each has done."""
        return cast("Sequence[Mapping[str, object]]", self._ask("/_/faults", None))

    def struck_count(self) -> int:
        """Return how often the faults that are set have struck."""
        return sum(cast("int", each["struck_count"]) for each in self.standing())

    def clear(self, number: int | None = None) -> int:
        """Clear a fault, or all; returns how many."""
        return self._number("clear", {"number": number}, "cleared")

    def drain(self, canister: Principal, level: DrainLevel = DrainLevel.THRESHOLD) -> int:
        """Take a canister's cycles down to its freezing threshold or to zero."""
        fields = {"canister": canister.text, "level": level.value}
        return self._number("drain", fields, "balance_cycles")

    def flip(self, canister: Principal, offset: int, xor: int = 1) -> None:
        """Change a byte of a canister's stable memory."""
        self._do("flip", {"canister": canister.text, "offset": offset, "xor": xor})

    def erase(self, canister: Principal, offset: int, length_bytes: int) -> None:
        """Zero a range of a canister's stable memory."""
        self._do("erase", {"canister": canister.text, "offset": offset, "length": length_bytes})

    def mark(self, canister: Principal, name: str = "mark") -> None:
        """Remember a canister's state under a name."""
        self._do("mark", {"canister": canister.text, "name": name})

    def roll_back(self, canister: Principal, name: str = "mark") -> None:
        """Put a canister back to a mark: memory, code, certified data; not cycles or settings."""
        self._do("rollback", {"canister": canister.text, "name": name})

    def _do(self, what: str, fields: Mapping[str, object]) -> Mapping[str, object]:
        return cast("Mapping[str, object]", self._ask(f"/_/fault/{what}", fields))

    def _number(self, what: str, fields: Mapping[str, object], name: str) -> int:
        return cast("int", self._do(what, fields)[name])


def kind_of(text: str) -> FaultKind:
    """Read the name of a kind of fault.

    Raises:
        UsageError: There is no such kind.
    """
    try:
        return FaultKind(text)
    except ValueError:
        kinds = ", ".join(kind.value for kind in FaultKind)
        raise UsageError(f"there is no fault {text!r}", hint=f"There are {kinds}.") from None
