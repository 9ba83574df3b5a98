"""datanode.localnet.state.network_database: made once, whoever comes first."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from datanode.errors import LocalNetworkError
from datanode.localnet.state.network_database import VERSION, NetworkDatabase

THREADS = 8
ROUNDS = 10


def test_many_that_open_a_new_database_at_once_find_its_tables(tmp_path: Path) -> None:
    barrier = Barrier(THREADS)

    def opened(path: Path) -> str | None:
        barrier.wait()
        database = NetworkDatabase(path)
        try:
            database.set_fact("name", "value")
            return database.fact("name")
        finally:
            database.close()

    with ThreadPoolExecutor(THREADS) as pool:
        for turn in range(ROUNDS):
            path = tmp_path / f"{turn}.db"
            # Empty, and in WAL mode: SQLite does not let others wait while that is changed.
            with sqlite3.connect(path) as new:
                new.execute("PRAGMA journal_mode=WAL")
            new.close()
            assert list(pool.map(opened, [path] * THREADS)) == ["value"] * THREADS


def test_a_database_of_another_layout_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "network.db"
    with sqlite3.connect(path) as other:
        other.execute(f"PRAGMA user_version={VERSION + 1}")
    other.close()
    with pytest.raises(LocalNetworkError, match=f"layout {VERSION + 1}"):
        NetworkDatabase(path)


def test_a_transaction_that_fails_writes_nothing_and_the_next_one_is_whole(tmp_path: Path) -> None:
    database = NetworkDatabase(tmp_path / "network.db")

    def write_and_fail() -> None:
        with database.transaction():
            database.set_fact("a", "1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    with database.transaction():
        database.set_fact("b", "2")
    assert (database.fact("a"), database.fact("b")) == (None, "2")
    database.close()
