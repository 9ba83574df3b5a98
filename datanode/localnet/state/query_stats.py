"""Query statistics of canisters: `query_stats` of their status.

A query changes nothing, and it does not wait for the disk: the numbers are kept in memory and
written now and then and at the end, so a kill may lose the last ones. On the Internet Computer each
node counts the queries that it answers, and the numbers show up minutes later.
"""

import threading
from dataclasses import dataclass
from typing import Final, Self, cast

from datanode.localnet.state.network_database import NetworkDatabase
from datanode.principal import Principal

_COLUMNS: Final = "calls, instructions, request_bytes, response_bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryTotals:
    """Query statistics of a canister.

    Attributes:
        calls: How many were executed.
        instructions: What they executed.
        request_bytes: Size of their arguments.
        response_bytes: Size of their replies.
    """

    calls: int = 0
    instructions: int = 0
    request_bytes: int = 0
    response_bytes: int = 0

    def __add__(self, other: Self) -> "QueryTotals":
        return QueryTotals(
            calls=self.calls + other.calls,
            instructions=self.instructions + other.instructions,
            request_bytes=self.request_bytes + other.request_bytes,
            response_bytes=self.response_bytes + other.response_bytes,
        )


class QueryStats:
    """The numbers of all canisters; safe to be used from many threads."""

    def __init__(self, database: NetworkDatabase) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._totals: dict[Principal, QueryTotals] = {}
        self._changed: set[Principal] = set()
        for raw, *numbers in database.rows(f"SELECT canister, {_COLUMNS} FROM query_stats"):  # noqa: S608
            calls, instructions, request_bytes, response_bytes = cast("list[int]", numbers)
            self._totals[Principal(cast("bytes", raw))] = QueryTotals(
                calls=calls,
                instructions=instructions,
                request_bytes=request_bytes,
                response_bytes=response_bytes,
            )

    def count(
        self, canister: Principal, instructions: int, request: bytes, reply: bytes | None
    ) -> None:
        """Count a query that was executed."""
        one = QueryTotals(
            calls=1,
            instructions=instructions,
            request_bytes=len(request),
            response_bytes=len(reply or b""),
        )
        with self._lock:
            self._totals[canister] = self._totals.get(canister, QueryTotals()) + one
            self._changed.add(canister)

    def of(self, canister: Principal) -> QueryTotals:
        """Return what the queries of a canister come to."""
        with self._lock:
            return self._totals.get(canister, QueryTotals())

    def forget(self, canister: Principal) -> None:
        """Forget a canister whose deletion is committed, its row included."""
        with self._lock:
            self._totals.pop(canister, None)
            self._changed.discard(canister)

    def keep(self) -> None:
        """Write what has changed.

        Raises:
            DiskFullError: There is no room; it is written another time.
        """
        with self._lock:
            changed = {each: self._totals[each] for each in self._changed}
            if not changed:
                return
            with self._database.transaction():
                for canister, total in changed.items():
                    self._database.write(
                        f"INSERT OR REPLACE INTO query_stats (canister, {_COLUMNS})"  # noqa: S608
                        " VALUES (?,?,?,?,?)",
                        (
                            canister.raw,
                            total.calls,
                            total.instructions,
                            total.request_bytes,
                            total.response_bytes,
                        ),
                    )
            self._changed.clear()
