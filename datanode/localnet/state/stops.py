"""Who waits for which canister to stop."""

from dataclasses import dataclass
from typing import Final, cast

from datanode.localnet.state.database import Database, Row
from datanode.localnet.state.open_calls import Origin
from datanode.principal import Principal

_COLUMNS: Final = "id, canister, caller, method, request_id, callback, cycles, time_ns"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
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
    origin: Origin
    cycles: int = 0
    time_ns: int


class Stops:
    """The list, in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, stop: Stop) -> None:
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

    def of(self, canister: Principal) -> list[Stop]:
        """List who waits for a canister."""
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM stops WHERE canister = ? ORDER BY id",  # noqa: S608
            (canister.raw,),
        )
        return [_stop(row) for row in rows]

    def all(self) -> list[Stop]:
        """List everybody who waits, the longest first."""
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM stops ORDER BY time_ns")  # noqa: S608
        return [_stop(row) for row in rows]

    def remove(self, stop: Stop) -> None:
        """Forget one, as part of a transaction."""
        self._database.write("DELETE FROM stops WHERE id = ?", (stop.id,))


def _stop(row: Row) -> Stop:
    number, canister, caller, method, request_id, callback, cycles, time_ns = row
    return Stop(
        id=cast("int", number),
        canister=Principal(cast("bytes", canister)),
        origin=Origin.stored(caller, method, request_id, callback),
        cycles=int(str(cycles)),
        time_ns=cast("int", time_ns),
    )
