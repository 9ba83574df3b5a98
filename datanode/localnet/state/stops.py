"""Pending requests to stop canisters."""

from dataclasses import dataclass
from typing import Final, cast

from datanode.localnet.state.network_database import NetworkDatabase, Row
from datanode.localnet.state.open_calls import CallOrigin
from datanode.principal import Principal

_COLUMNS: Final = "id, canister, caller, method, request_id, callback, cycles, time_ns"


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingStop:
    """A `stop_canister` that is not answered yet.

    Attributes:
        id: Its number; 0 before it is written.
        canister: Who is to stop.
        origin: Who asked.
        cycles: What came along, and goes back.
        time_ns: When, in canister time.
    """

    id: int = 0
    canister: Principal
    origin: CallOrigin
    cycles: int = 0
    time_ns: int


class PendingStops:
    """The list, in the database."""

    def __init__(self, database: NetworkDatabase) -> None:
        self._database = database

    def add(self, stop: PendingStop) -> None:
        """Write one down, as part of a transaction."""
        origin = stop.origin
        self._database.write(
            f"INSERT INTO stops ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?)",  # noqa: S608
            (
                None,
                stop.canister.raw,
                origin.caller.raw,
                origin.method,
                origin.request_id,
                origin.callback,
                str(stop.cycles),
                stop.time_ns,
            ),
        )

    def of(self, canister: Principal) -> list[PendingStop]:
        """List who waits for a canister."""
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM stops WHERE canister = ? ORDER BY id",  # noqa: S608
            (canister.raw,),
        )
        return [_stop(row) for row in rows]

    def all(self) -> list[PendingStop]:
        """List everybody who waits, the longest first."""
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM stops ORDER BY time_ns")  # noqa: S608
        return [_stop(row) for row in rows]

    def remove(self, stop: PendingStop) -> None:
        """Forget one, as part of a transaction."""
        self._database.write("DELETE FROM stops WHERE id = ?", (stop.id,))


def _stop(row: Row) -> PendingStop:
    number, canister, caller, method, request_id, callback, cycles, time_ns = row
    return PendingStop(
        id=cast("int", number),
        canister=Principal(cast("bytes", canister)),
        origin=CallOrigin.stored(caller, method, request_id, callback),
        cycles=int(str(cycles)),
        time_ns=cast("int", time_ns),
    )
