"""Byte and cycle units; every quantity in the project is an `int` in its base unit.

Names carry the unit: `length_bytes`, `fee_cycles`, `expires_ns`. Only this file renders them.
"""

import math
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

TC: Final = 10**12
"""One trillion cycles."""

SECOND_NS: Final = 10**9
MINUTE_S: Final = 60
HOUR_S: Final = 3600
DAY_S: Final = 86_400


def format_bytes(count: int) -> str:
    """Render a byte count in the largest binary unit that keeps it at or above one."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if count >= unit:
            return f"{count / unit:.2f} {name}"
    return f"{count} B"


def format_cycles(count: int) -> str:
    """Render cycles in trillions, the unit canister owners are billed in."""
    if 0 < abs(count) < 10**6:
        return f"{count:,} cycles"
    if 0 < abs(count) < TC // 1000:
        return f"{count / 10**9:.3f} G cycles"
    return f"{count / TC:.4f} TC"


def format_tc(count: int) -> str:
    """Render cycles in trillions whatever their number, so that the rows of a table compare."""
    tc = abs(count) / TC
    digits = 4 if not tc else max(4, 1 - math.floor(math.log10(tc)))
    return f"{count / TC:.{digits}f} TC"


def format_duration(seconds: float) -> str:
    """Render a duration as `1h02m`, `3m07s` or `12s`."""
    whole = int(seconds)
    if whole >= HOUR_S:
        return f"{whole // HOUR_S}h{whole % HOUR_S // MINUTE_S:02}m"
    if whole >= MINUTE_S:
        return f"{whole // MINUTE_S}m{whole % MINUTE_S:02}s"
    return f"{whole}s"
