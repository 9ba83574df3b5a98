"""The lock of uploads in a PostgreSQL server: an advisory lock in a transaction of its own.

A lock of the session would outlive it behind a pooler that lends connections by the transaction.
"""

import hashlib
from typing import Final

from sqlalchemy import URL, Connection, Engine, text

from datanode.cleanup import rollback_on_error
from uploader.state.database import database_engine, shown
from uploader.state.database_errors import mapped

_KEY_BYTES: Final = 8
_NAME_CHARACTERS: Final = 63
"""Longest application name that the server keeps."""

_TRY: Final = text("SELECT pg_try_advisory_xact_lock(:key)")
_HOLDER: Final = text(
    "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
    "WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 "
    "AND (l.classid::bigint << 32) | l.objid::bigint = :key"
)
_NAMED: Final = text("SELECT set_config('application_name', :name, true)")
_NO_TIMEOUTS: Final = text(
    "SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN "
    "('idle_in_transaction_session_timeout', 'transaction_timeout')"
)


class ServerLock:
    """A lock that all hosts see which keep their state in this server."""

    def __init__(self, url: URL, name: str) -> None:
        self._engine: Final[Engine] = database_engine(url)
        self._shown: Final = shown(url)
        digest = hashlib.sha256(name.encode()).digest()
        self._key: Final = int.from_bytes(digest[:_KEY_BYTES], "big", signed=True)
        self._connection: Connection | None = None

    def try_acquire(self, holder: str) -> str | None:
        """Acquire for `holder` and return None, or return who holds it."""
        with mapped(self._shown):
            connection = self._engine.connect()
            with rollback_on_error(connection.close):
                if connection.scalar(_TRY, {"key": self._key}):
                    connection.execute(_NO_TIMEOUTS)
                    connection.execute(_NAMED, {"name": holder[:_NAME_CHARACTERS]})
                    self._connection = connection
                    return None
                other = connection.scalar(_HOLDER, {"key": self._key})
            connection.close()
            return str(other or "another session")

    def release(self) -> None:
        """End the transaction, and with it the lock."""
        connection, self._connection = self._connection, None
        with mapped(self._shown):
            if connection is not None:
                connection.close()
            self._engine.dispose()
