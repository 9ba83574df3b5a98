"""The logs of canisters: what updates printed and how they trapped, kept like all of their state.

A log holds as much as the canister's `log_memory_limit`, each line with 40 bytes of its own; the
oldest lines give way. Lines are numbered from 0, and a number is never given twice.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, cast

from datanode.localnet.machine.log_room import LINE_BYTES
from datanode.localnet.state.canister_record import Canister
from datanode.localnet.state.network_database import NetworkDatabase
from datanode.principal import Principal

Line = tuple[int, int, bytes]
"""Number, time in ns, text."""

_OF: Final = "FROM logs WHERE canister = ? ORDER BY number"


def append(
    database: NetworkDatabase, canister: Canister, lines: Sequence[str], time_ns: int
) -> Canister:
    """Write lines, as part of a transaction; returns the canister with its log's new size."""
    limit = canister.settings.log_memory_limit_bytes
    kept: list[bytes] = []
    new_bytes = 0
    for line in reversed(lines):
        text = line.encode()[: max(0, limit - LINE_BYTES)]
        if new_bytes + LINE_BYTES + len(text) > limit:
            break  # a message may print any number of lines; those that give way are not written
        new_bytes += LINE_BYTES + len(text)
        kept.append(text)
    count = canister.log_count + len(lines)
    used = canister.log_bytes
    if len(kept) < len(lines):
        clear(database, canister.id)
        used = 0
    elif used + new_bytes > limit:
        used -= _drop(database, canister.id, used + new_bytes - limit)
    for number, text in enumerate(reversed(kept), count - len(kept)):
        database.write(
            "INSERT INTO logs VALUES (?,?,?,?)", (canister.id.raw, number, time_ns, text)
        )
    return replace(canister, log_bytes=used + new_bytes, log_count=count)


def _drop(database: NetworkDatabase, canister: Principal, wanted_bytes: int) -> int:
    """Delete the oldest lines until so much is free; returns how much is."""
    most = wanted_bytes // LINE_BYTES + 1
    rows = database.rows(f"SELECT number, length(text) {_OF} LIMIT ?", (canister.raw, most))
    freed, last = 0, -1
    for number, size in rows:
        if freed >= wanted_bytes:
            break
        freed += LINE_BYTES + cast("int", size)
        last = cast("int", number)
    key = (canister.raw, last)
    database.write("DELETE FROM logs WHERE canister = ? AND number <= ?", key)
    return freed


def lines(database: NetworkDatabase, canister: Principal) -> list[Line]:
    """Read a log, the oldest line first."""
    rows = database.rows(f"SELECT number, time_ns, text {_OF}", (canister.raw,))
    return [cast("Line", row) for row in rows]


def newest(database: NetworkDatabase, canister: Principal, count: int) -> list[Line]:
    """Read the last lines of a log, the newest first."""
    rows = database.rows(
        f"SELECT number, time_ns, text {_OF} DESC LIMIT ?",
        (canister.raw, count),
    )
    return [cast("Line", row) for row in rows]


def clear(database: NetworkDatabase, canister: Principal) -> None:
    """Empty a log, as part of a transaction."""
    database.write("DELETE FROM logs WHERE canister = ?", (canister.raw,))
