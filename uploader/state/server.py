"""A PostgreSQL server that keeps the state: how to reach it, and how long to wait for it.

A pooler may stand in front of it and lend connections by the transaction, so nothing is kept in a
session: no prepared statement, no setting, no lock.
"""

import time
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Final, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, text

if TYPE_CHECKING:
    import psycopg
    from psycopg.abc import PQGen
    from sqlalchemy import Dialect
    from sqlalchemy.pool import ConnectionPoolEntry

CONNECT_S: Final = 10
"""How long a connection may take, seconds, unless the URL has a `connect_timeout`."""

KEEPALIVE_S: Final = 60
"""How long a connection may be idle before it is kept alive, seconds: that of the lock is."""

ANSWER_S: Final = 60.0
"""How long a statement may take, seconds. Client side: a server that stopped cannot tell the time.
"""

_LOOK_UP_S: Final = 0.1
"""How often a wait looks at the time, seconds."""

_MIGRATING: Final = text("SELECT pg_advisory_xact_lock(4207017325437182464)")
"""An arbitrary number that stands for the migration of this project's tables."""

_Value = TypeVar("_Value")


def server_engine(url: URL) -> Engine:
    """Return an engine for a server; nothing is connected yet."""
    options: dict[str, str | int | None] = {
        # A server of SQL_ASCII would have text come as bytes; what we write is UTF-8 in any case.
        "client_encoding": "utf8",
        "prepare_threshold": None,
        "application_name": "datanode",
        "keepalives_idle": KEEPALIVE_S,
        **({} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_S}),
    }
    engine = create_engine(url, connect_args=options)
    event.listen(engine, "do_connect", _connect)
    return engine


def lock_migration(connection: Connection) -> None:
    """Let one host migrate at a time, until the transaction ends."""
    connection.execute(_MIGRATING)


def _connect(
    _dialect: "Dialect",
    _record: "ConnectionPoolEntry",
    arguments: Sequence[str],
    options: dict[str, str | int | None],
) -> "psycopg.Connection":
    return _patient_connection().connect(*arguments, **options)  # type: ignore[arg-type]


@cache
def _patient_connection() -> "type[psycopg.Connection]":
    # Imported here: the driver is an extra.
    import psycopg  # noqa: PLC0415

    class Patient(psycopg.Connection):
        """A connection that gives up on a server that does not answer."""

        def wait(
            self, gen: "PQGen[_Value]", interval: float = _LOOK_UP_S, timeout: float | None = None
        ) -> _Value:
            late = psycopg.OperationalError(f"no answer for {ANSWER_S:g} s")
            try:
                return super().wait(_bounded(gen, late), interval, timeout)
            except psycopg.OperationalError as error:
                if error is late:
                    self.close()  # in the midst of a statement: it is of no further use
                raise

    return Patient


def _bounded(steps: "PQGen[_Value]", late: Exception) -> "PQGen[_Value]":
    """Pass the steps of a wait on until the answer has taken too long."""
    deadline = time.monotonic() + ANSWER_S
    ready: int | None = None
    while True:
        try:
            wanted = next(steps) if ready is None else steps.send(ready)
        except StopIteration as end:
            value: _Value = end.value
            return value
        ready = yield wanted
        if not ready and time.monotonic() > deadline:
            raise late
