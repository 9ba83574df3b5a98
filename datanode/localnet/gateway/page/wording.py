"""Numbers, times and foreign texts as the page shows them."""

from datetime import UTC, datetime
from typing import Final

from datanode.localnet.state.canister_record import Canister
from datanode.principal import Principal
from datanode.text import printable
from datanode.units import DAY_S, HOUR_S, MINUTE_S, SECOND_NS, format_duration

MAX_METHOD: Final = 60
MAX_LOG_LINE: Final = 240
"""Characters that are shown of texts that canisters and clients chose."""

_YEAR_S: Final = 365 * DAY_S
_SHOWN_BYTES: Final = 64
_DIGEST_DIGITS: Final = 12
_LONG_GROUPS: Final = 5
_LAST_S: Final = int(datetime.max.replace(tzinfo=UTC).timestamp())
"""Canister time may run ahead of what the calendar knows."""


def method(name: str) -> str:
    """Show a method's name, which is anything that a client sent."""
    return printable(name, MAX_METHOD) or "(no name)"


def log_line(line: bytes) -> str:
    """Show what a canister printed."""
    return printable(line, MAX_LOG_LINE)


def number(count: int) -> str:
    """Group a number's digits."""
    return f"{count:,}".replace("-", "\N{MINUS SIGN}")


def hexadecimal(data: bytes) -> str:
    """Show the beginning of some bytes."""
    if not data:
        return "none"
    left = len(data) - _SHOWN_BYTES
    return data[:_SHOWN_BYTES].hex() + (f"... and {left:,} more bytes" if left > 0 else "")


def digest(data: bytes | None) -> str:
    """Show as much of a hash as tells it from others at a glance."""
    return "none" if data is None else data.hex()[:_DIGEST_DIGITS]


def short(principal: Principal) -> str:
    """Show the beginning and the end of a principal, as wallets do."""
    first, *_, last = principal.text.split("-")
    return principal.text if principal.text.count("-") < _LONG_GROUPS else f"{first}...{last}"


def moment(time_ns: int) -> str:
    """Show a time, in UTC and to the second."""
    seconds = min(time_ns // SECOND_NS, _LAST_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"


def span(seconds: int) -> str:
    """Show how long something takes, in the unit that one thinks in."""
    for unit_s, name in ((_YEAR_S, "years"), (DAY_S, "days")):
        if seconds >= 2 * unit_s:
            return f"{seconds // unit_s:,} {name}"
    if seconds >= HOUR_S:
        return f"{seconds // HOUR_S} h {seconds % HOUR_S // MINUTE_S} min"
    return format_duration(seconds)


def until_frozen(canister: Canister, *, idle_cycles_per_day: int, frozen_below_cycles: int) -> str:
    """Say how long a canister lasts if nothing but its existence costs."""
    spare_cycles = canister.balance_cycles - frozen_below_cycles
    if spare_cycles < 0:
        return "frozen"
    if not idle_cycles_per_day:
        return "never"
    return span(spare_cycles * DAY_S // idle_cycles_per_day)
