"""Amounts and names as people type them."""

import re
from dataclasses import dataclass
from typing import Final

from datanode.agent.names import LOCAL
from datanode.errors import FormatError, UsageError
from datanode.folders import config_folder
from datanode.node import registry
from datanode.principal import Principal
from datanode.units import DAY_S, GIB, HOUR_S, KIB, MIB, MINUTE_S, TC

_DURATION: Final = re.compile(r"([0-9]{1,9})([smhd])")
_RATE: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?([A-Za-z]{3})?")
_UNIT_S: Final = {"s": 1, "m": MINUTE_S, "h": HOUR_S, "d": DAY_S}


def parse_cycles(text: str) -> int:
    """Read a count of cycles: an integer, or a decimal number of TC.

    Raises:
        UsageError: It is neither.
    """
    number = text.strip().upper().replace("_", "")
    try:
        cycles = (
            int(float(number.removesuffix("TC")) * TC) if number.endswith("TC") else int(number)
        )
    except (ValueError, OverflowError):
        raise UsageError(f"not a count of cycles: {text!r}") from None
    if cycles < 0:
        raise UsageError("a count of cycles cannot be negative")
    return cycles


def parse_duration(text: str) -> int:
    """Read a duration such as `90m`, `36h` or `7d`; returns seconds.

    Raises:
        UsageError: It is none.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"not a duration: {text!r}; write 90m, 36h or 7d")
    return int(match[1]) * _UNIT_S[match[2]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Currency:
    """A currency in which costs are shown beside cycles.

    Attributes:
        name: E.g. `USD`; empty if it was not named.
        units_per_xdr: What one XDR costs; so does 1 TC.
    """

    name: str
    units_per_xdr: float

    def cost(self, cycles: int) -> float:
        """Convert cycles."""
        return cycles / TC * self.units_per_xdr

    def shown(self, cycles: int) -> str:
        """Render cycles in this currency."""
        return f"{self.cost(cycles):,.4f} {self.name}".rstrip()


def parse_xdr_rate(text: str | None) -> Currency | None:
    """Read what an XDR costs: `1.37`, or `1.37USD`; None if there is none.

    Raises:
        UsageError: It is neither.
    """
    if text is None:
        return None
    match = _RATE.fullmatch(text.strip())
    if match is None or not float(match[1]):
        raise UsageError(f"not a rate: {text!r}", hint="Write what one XDR costs, e.g. 1.37USD.")
    return Currency(name=(match[2] or "").upper(), units_per_xdr=float(match[1]))


def parse_bytes(text: str) -> int:
    """Read a count of bytes: an integer, or a decimal number of KiB, MiB or GiB.

    Raises:
        UsageError: It is neither.
    """
    number = text.strip().lower().replace("_", "").removesuffix("b")
    units = {"ki": KIB, "mi": MIB, "gi": GIB}
    unit = units.get(number[-2:], 1)
    try:
        count = int(float(number[:-2]) * unit) if unit > 1 else int(number)
    except (ValueError, OverflowError):
        raise UsageError(f"not a count of bytes: {text!r}", hint="E.g. 512MiB.") from None
    if count < 0:
        raise UsageError("a count of bytes cannot be negative")
    return count


def parse_rate(text: str | None) -> int | None:
    """Read a number of bytes a second, as `parse_bytes` does; None if there is none.

    Raises:
        UsageError: It is none.
    """
    return None if text is None else parse_bytes(text.removesuffix("/s"))


def parse_principal(text: str) -> Principal:
    """Read a principal.

    Raises:
        UsageError: It is none.
    """
    try:
        return Principal.parse(text)
    except FormatError as error:
        raise UsageError(error.what, hint="It looks like `aaaaa-aa` or `w7x7r-cok77-xa`.") from None


def parse_canister(text: str) -> Principal:
    """Read a canister of the embedded network: its id, or the name of a node there.

    Raises:
        UsageError: It is neither.
    """
    known = registry.nodes(config_folder(), network=LOCAL).get(text)
    return parse_principal(text) if known is None else known
