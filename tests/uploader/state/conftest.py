"""A fresh state database for each test: SQLite always, PostgreSQL where a server is named."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.uploader.state.facts import POSTGRES, SENDER
from uploader.state.database import StateDatabase, open_database
from uploader.state.store import StateStore


@pytest.fixture(scope="session")
def ready_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make one migrated SQLite file; a copy costs less than a migration."""
    path = tmp_path_factory.mktemp("state") / "state.db"
    open_database(f"sqlite:///{path}").close()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path, ready_made: Path) -> str:
    if request.param == "sqlite":
        shutil.copy(ready_made, tmp_path / "state.db")
        return f"sqlite:///{tmp_path / 'state.db'}"
    if not POSTGRES:
        pytest.skip("DATANODE_TEST_POSTGRES names no server")
    engine = sa.create_engine(POSTGRES)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()
    return POSTGRES


@pytest.fixture
def database(url: str) -> Iterator[StateDatabase]:
    with open_database(url) as opened:
        yield opened


@pytest.fixture
def store(database: StateDatabase) -> StateStore:
    ticks = iter(range(1, 10**9))
    return StateStore(database, me=SENDER, clock_ns=lambda: next(ticks))
