"""uploader.state.server: a server behind a pooler, a server that is silent, errors of a server."""

import socket
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from datanode.errors import (
    DataNodeError,
    DiskFullError,
    NetworkError,
    StateDamagedError,
    UsageError,
)
from tests.uploader.state.facts import NODE, POSTGRES, SENDER, begin, record
from uploader.state import server
from uploader.state.database import open_database
from uploader.state.database_errors import translate
from uploader.state.store import StateStore

needs_server = pytest.mark.skipif(not POSTGRES, reason="DATANODE_TEST_POSTGRES names no server")


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a server that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"postgresql://me:secret@127.0.0.1:{listener.getsockname()[1]}/x"


def test_a_server_that_says_nothing_is_given_up_on(
    silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CONNECT_S", 2)
    with pytest.raises(NetworkError, match=r"does not answer: .*timeout") as caught:
        open_database(silent)
    assert "secret" not in str(caught.value)
    with pytest.raises(NetworkError):
        open_database(f"{silent}?connect_timeout=2")


@needs_server
class TestPostgresql:
    def test_a_statement_without_an_answer_is_given_up_on(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with open_database(POSTGRES) as database:
            monkeypatch.setattr(server, "ANSWER_S", 0.2)
            with (
                pytest.raises(NetworkError, match=r"does not answer: no answer for 0.2 s"),
                database.reading() as connection,
            ):
                connection.exec_driver_sql("SELECT pg_sleep(30)")
            monkeypatch.undo()
            with database.reading() as connection:
                assert connection.exec_driver_sql("SELECT 1").scalar() == 1

    def test_nothing_is_kept_in_a_session(self) -> None:
        with open_database(POSTGRES) as database:
            store = StateStore(database, me=SENDER)
            upload = begin(store)
            for number in range(20):
                store.record_known(upload, [(number, record(number))])
                store.known(NODE, [record(number).content])
            with database.reading() as connection:
                prepared = "SELECT count(*) FROM pg_prepared_statements"
                assert connection.exec_driver_sql(prepared).scalar() == 0


class _Reported(psycopg.Error):
    def __init__(self, state: str) -> None:
        super().__init__("the reason\nDETAIL: more")
        self.sqlstate = state


def reported(state: str) -> DBAPIError:
    return ProgrammingError("SELECT 1", {}, _Reported(state))


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("53100", DiskFullError),
        ("28P01", UsageError),
        ("3D000", UsageError),
        ("3F000", UsageError),
        ("42501", UsageError),
        ("25006", UsageError),
        ("08006", NetworkError),
        ("25P03", NetworkError),
        ("40P01", NetworkError),
        ("53300", NetworkError),
        ("55P03", NetworkError),
        ("57014", NetworkError),
        ("57P01", NetworkError),
        ("58030", NetworkError),
        ("42P05", StateDamagedError),
        ("42P01", StateDamagedError),
        ("XX001", StateDamagedError),
    ],
)
def test_an_error_of_a_server_names_the_server_and_no_file(
    state: str, kind: type[DataNodeError]
) -> None:
    error = translate(reported(state), "postgresql://me:***@h/x")
    assert type(error) is kind
    assert "server of postgresql://me:***@h/x" in error.what
    assert "file" not in f"{error.what} {error.safe} {error.hint}".lower()


def test_a_lost_connection_names_the_server() -> None:
    error = translate(OperationalError("", {}, psycopg.OperationalError("gone")), "postgresql://h")
    assert isinstance(error, NetworkError)
    assert "database server of postgresql://h does not answer: gone" in error.what


@pytest.mark.parametrize(
    "code", ["SQLITE_IOERR_LOCK", "SQLITE_IOERR_RDLOCK", "SQLITE_IOERR_SHMLOCK", "SQLITE_PROTOCOL"]
)
def test_a_file_system_without_locks_is_named_with_the_remedy(code: str) -> None:
    import sqlite3

    error = sqlite3.OperationalError("locking protocol")
    error.sqlite_errorcode = getattr(sqlite3, code)
    told = translate(error, "sqlite:////x.db")
    assert isinstance(told, UsageError)
    assert "sqlite:////x.db" in told.what
    assert "--state" in told.hint


def test_times_beyond_a_column_are_stored(tmp_path: Path) -> None:
    """A file of the year 2300 has a time above 2^63 nanoseconds; one of 1900 has a negative."""
    import dataclasses

    from tests.uploader.state.facts import FILES

    with open_database(f"sqlite:///{tmp_path}/state.db") as database:
        store = StateStore(database, me=SENDER)
        for stamp in (-(10**18), 2**63 - 1, 2**63, 10_413_792_000 * 10**9, 2**64 + 5):
            files = [dataclasses.replace(FILES[0], stamp=stamp)]
            model = f"m{stamp}"
            first = store.begin_upload(NODE, model, files)
            assert store.begin_upload(NODE, model, files).id == first.id
            changed = [dataclasses.replace(FILES[0], stamp=stamp + 2**40)]
            with pytest.raises(DataNodeError, match="was written to"):
                store.begin_upload(NODE, model, changed)
