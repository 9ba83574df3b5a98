"""The network's database: everything but memories, one transaction a message.

SQLite in WAL mode with `synchronous=NORMAL`: a killed process loses no committed transaction. A
power cut may lose the last ones, which for a development network is a fair price for not waiting
on the disk.

| table | holds |
| --- | --- |
| `canisters` | settings, status, balance, certified data, number of the last committed message |
| `requests` | the answer to every ingress message, until it is forgotten |
| `ledger` | what each message cost, item by item |
| `chunks` | Wasm chunks in the stores of canisters and of snapshots |
| `snapshots` | what snapshots consist of, their memories apart |
| `logs` | what canisters printed |
| `accounts`, `blocks` | balances and transactions of the built-in cycles ledger |
| `contexts` | calls that have callbacks to come |
| `callbacks` | what canisters do when calls that they made are answered |
| `stops` | who waits for which canister to stop |
| `queue` | messages between canisters that are not executed yet |
| `query_stats` | how often canisters were queried, with what |
| `facts` | single facts about the network, by name |
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeAlias

from datanode.cleanup import rollback_on_error
from datanode.errors import DataNodeError, DiskFullError, LocalNetworkError
from datanode.files import make_private

VERSION: Final = 5
"""Kept in `user_version`; another one is refused."""

_SCHEMA: Final = """
CREATE TABLE canisters (
    id BLOB PRIMARY KEY, settings TEXT NOT NULL, status TEXT NOT NULL, balance TEXT NOT NULL,
    reserved TEXT NOT NULL, module_hash BLOB, certified_data BLOB NOT NULL,
    version INTEGER NOT NULL, sequence INTEGER NOT NULL,
    heap_bytes INTEGER NOT NULL, stable_bytes INTEGER NOT NULL,
    module_bytes INTEGER NOT NULL, chunk_bytes INTEGER NOT NULL, charged_ns INTEGER NOT NULL,
    timer_ns TEXT NOT NULL, low_memory_hook TEXT NOT NULL,
    global_bytes INTEGER NOT NULL, section_bytes INTEGER NOT NULL,
    log_bytes INTEGER NOT NULL, log_count INTEGER NOT NULL,
    snapshot_bytes INTEGER NOT NULL, snapshot_count INTEGER NOT NULL,
    history BLOB NOT NULL, history_bytes INTEGER NOT NULL, history_count INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE requests (
    id BLOB PRIMARY KEY, sender BLOB NOT NULL, canister BLOB NOT NULL, reply BLOB,
    reject_code INTEGER, reject_message TEXT, error_code TEXT,
    time_ns INTEGER NOT NULL, forget_ns INTEGER NOT NULL
);
CREATE INDEX requests_forget ON requests (forget_ns);
CREATE TABLE ledger (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, time_ns INTEGER NOT NULL, canister BLOB NOT NULL,
    method TEXT NOT NULL, sender BLOB NOT NULL, request_id BLOB NOT NULL,
    envelope_bytes INTEGER NOT NULL, argument_bytes INTEGER NOT NULL,
    instructions INTEGER NOT NULL, items TEXT NOT NULL, balance TEXT NOT NULL,
    status TEXT NOT NULL, reply BLOB NOT NULL
);
CREATE INDEX ledger_canister ON ledger (canister, sequence);
CREATE INDEX ledger_messages ON ledger (sequence) WHERE NOT (sender = x'' AND method = 'rent');
CREATE INDEX ledger_own ON ledger (canister, sequence) WHERE NOT (sender = x'' AND method = 'rent');
CREATE TABLE chunks (
    canister BLOB NOT NULL, hash BLOB NOT NULL, data BLOB NOT NULL, PRIMARY KEY (canister, hash)
);
CREATE TABLE snapshots (
    canister BLOB NOT NULL, number INTEGER NOT NULL, taken_ns INTEGER NOT NULL,
    version INTEGER NOT NULL, uploaded INTEGER NOT NULL, module_bytes INTEGER NOT NULL,
    heap_pages INTEGER NOT NULL, stable_pages INTEGER NOT NULL, globals BLOB NOT NULL,
    certified_data BLOB NOT NULL, timer_ns TEXT, hook TEXT, total_bytes INTEGER NOT NULL,
    PRIMARY KEY (canister, number)
) WITHOUT ROWID;
CREATE TABLE logs (
    canister BLOB NOT NULL, number INTEGER NOT NULL, time_ns INTEGER NOT NULL,
    text BLOB NOT NULL, PRIMARY KEY (canister, number)
) WITHOUT ROWID;
CREATE TABLE accounts (
    owner BLOB NOT NULL, subaccount BLOB NOT NULL, balance TEXT NOT NULL,
    PRIMARY KEY (owner, subaccount)
) WITHOUT ROWID;
CREATE TABLE contexts (
    id INTEGER PRIMARY KEY AUTOINCREMENT, canister BLOB NOT NULL, caller BLOB NOT NULL,
    method TEXT NOT NULL, request_id BLOB, callback INTEGER, deadline_ns INTEGER NOT NULL,
    responded INTEGER NOT NULL, deleted INTEGER NOT NULL, available TEXT NOT NULL,
    instructions INTEGER NOT NULL
);
CREATE INDEX contexts_canister ON contexts (canister);
CREATE TABLE callbacks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, context INTEGER NOT NULL, canister BLOB NOT NULL,
    callee BLOB NOT NULL, method TEXT NOT NULL, reply_function TEXT NOT NULL,
    reply_environment TEXT NOT NULL, reject_function TEXT NOT NULL,
    reject_environment TEXT NOT NULL, cleanup_function TEXT, cleanup_environment TEXT,
    cycles TEXT NOT NULL, transmission TEXT NOT NULL, execution TEXT NOT NULL,
    deadline_ns INTEGER NOT NULL
);
CREATE INDEX callbacks_context ON callbacks (context);
CREATE INDEX callbacks_callee ON callbacks (canister, callee);
CREATE INDEX callbacks_deadline ON callbacks (deadline_ns) WHERE deadline_ns > 0;
CREATE TABLE stops (
    id INTEGER PRIMARY KEY AUTOINCREMENT, canister BLOB NOT NULL, caller BLOB NOT NULL,
    method TEXT NOT NULL, request_id BLOB, callback INTEGER, cycles TEXT NOT NULL,
    time_ns INTEGER NOT NULL
);
CREATE TABLE queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT, sender BLOB NOT NULL, receiver BLOB NOT NULL,
    callback INTEGER NOT NULL, response INTEGER NOT NULL, method TEXT NOT NULL,
    payload BLOB NOT NULL, cycles TEXT NOT NULL, deadline_ns INTEGER NOT NULL,
    reject_code INTEGER NOT NULL
);
CREATE INDEX queue_receiver ON queue (receiver, id);
CREATE TABLE blocks (
    id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, kind TEXT NOT NULL, owner BLOB NOT NULL,
    subaccount BLOB NOT NULL, cycles TEXT NOT NULL, key BLOB UNIQUE, canister BLOB
);
CREATE TABLE icp_accounts (id BLOB PRIMARY KEY, e8s TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE icp_blocks (
    id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, sender BLOB NOT NULL,
    receiver BLOB NOT NULL, e8s TEXT NOT NULL, memo TEXT NOT NULL, key BLOB UNIQUE, minted TEXT
);
CREATE TABLE query_stats (
    canister BLOB PRIMARY KEY, calls INTEGER NOT NULL, instructions INTEGER NOT NULL,
    request_bytes INTEGER NOT NULL, response_bytes INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

Value: TypeAlias = "bytes | str | int | None"
Row: TypeAlias = tuple[Value, ...]


class NetworkDatabase:
    """One connection, used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._path = path
        with _mapped(path):
            # It holds arguments of calls, and so secrets; SQLite gives its other files this mode.
            with suppress(OSError):  # which SQLite reports
                for each in (path, *_beside(path)):
                    make_private(each)
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            with rollback_on_error(self._connection.close):
                for pragma in ("busy_timeout=5000", "journal_mode=WAL", "synchronous=NORMAL"):
                    self._connection.execute(f"PRAGMA {pragma}")
                self._prepare()

    def _prepare(self) -> None:
        if self._version() == 0:
            with self.transaction():
                if self._version() == 0:  # and nobody else has just made the tables
                    for statement in _SCHEMA.split(";"):
                        self._connection.execute(statement)
                    self._connection.execute(f"PRAGMA user_version={VERSION}")
        if (version := self._version()) != VERSION:
            raise LocalNetworkError(
                f"{self._path} has layout {version}, this release writes {VERSION}",
                hint="`datanode localnet reset` starts a new, empty network.",
            )

    def _version(self) -> int:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        return int(version)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all of the writes of the block, or none of them.

        Raises:
            DiskFullError: There is no room for them; none is done.
        """
        with self._lock, _mapped(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            with rollback_on_error(self._roll_back):
                yield
                self._connection.execute("COMMIT")

    def _roll_back(self) -> None:
        if self._connection.in_transaction:  # SQLite itself rolls back on some errors
            self._connection.execute("ROLLBACK")

    def write(self, statement: str, values: Sequence[Value] = ()) -> int:
        """Run a statement; returns the number of the row that it inserted."""
        with self._lock, _mapped(self._path):
            return self._connection.execute(statement, values).lastrowid or 0

    def rows(self, statement: str, values: Sequence[Value] = ()) -> list[Row]:
        """Run a query."""
        with self._lock, _mapped(self._path):
            return self._connection.execute(statement, values).fetchall()

    def row(self, statement: str, values: Sequence[Value] = ()) -> Row | None:
        """Run a query for its first row."""
        found = self.rows(statement, values)
        return found[0] if found else None

    def fact(self, name: str) -> str | None:
        """Read a fact about the network."""
        found = self.row("SELECT value FROM facts WHERE name = ?", (name,))
        return None if found is None else str(found[0])

    def set_fact(self, name: str, value: str) -> None:
        """Write a fact about the network."""
        self.write("INSERT OR REPLACE INTO facts VALUES (?,?)", (name, value))

    def close(self) -> None:
        """Close the connection; what is committed stays."""
        with self._lock:
            self._connection.close()


def _beside(path: Path) -> list[Path]:
    """Files that an earlier process left beside the database."""
    names = (path.with_name(f"{path.name}{ending}") for ending in ("-wal", "-shm"))
    return [name for name in names if name.exists()]


@contextmanager
def _mapped(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise DiskFullError(
                f"the disk that holds {path.parent} is full",
                safe="The message was not executed; what was acknowledged before is kept.",
            ) from error
        raise _failed(path, error) from error
    except sqlite3.DatabaseError as error:
        raise _failed(path, error) from error


def _failed(path: Path, error: sqlite3.DatabaseError) -> DataNodeError:
    return LocalNetworkError(
        f"the database {path} failed: {error}",
        hint="`datanode localnet reset` starts a new, empty network.",
    )
