"""Open the state database at exactly the schema that this release was written for.

SQLite by its own defaults loses updates and migrates in pieces. Here the
driver leaves transactions to us, a writer begins with `BEGIN IMMEDIATE`, a reader with `BEGIN
DEFERRED`, and with WAL and `synchronous=FULL` committed rows survive a power cut.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import Final, Self

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, inspect, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from datanode.cleanup import rollback_on_error
from datanode.errors import StateDamagedError, StateNewerError, UsageError
from datanode.files import PRIVATE_FOLDER, make_private
from datanode.units import MIB
from uploader.state.database_errors import mapped
from uploader.state.schema import REVISION, metadata, revisions, upload
from uploader.state.server import lock_migration, server_engine

_THOROUGH_BYTES: Final = 64 * MIB
"""Largest SQLite file that is checked wholly at open; beyond, indices are left out."""
_PRAGMAS: Final = (
    "PRAGMA busy_timeout = 5000",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
)
_DRIVERS: Final = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg"}


class StateDatabase:
    """An engine whose errors are ours; a context manager that disposes of it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.shown_url: Final = shown(engine.url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Open a transaction that commits, durably, unless the block raises."""
        with mapped(self.shown_url), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a snapshot for reading; it never waits for a writer."""
        with mapped(self.shown_url), self._engine.connect() as connection:
            yield connection.execution_options(readonly=True)

    def insert(self, table: Table) -> "sqlite.Insert | postgresql.Insert":
        """Return an insert that knows `on_conflict_do_update`."""
        if self._engine.dialect.name == "sqlite":
            return sqlite.insert(table)
        return postgresql.insert(table)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def open_database(url: str) -> StateDatabase:
    """Create, check and upgrade the database at `url`.

    Args:
        url: `sqlite:///PATH` or `postgresql://...`.

    Raises:
        StateDamagedError: It is not a state database, or a damaged one.
        StateNewerError: A newer release wrote it.
        DiskFullError: There is no room for it.
        UsageError: The URL, the driver or the permissions are wrong.
    """
    with mapped(_hidden(url)):
        engine = database_engine(make_url(url))
        with rollback_on_error(engine.dispose):
            if engine.dialect.name == "sqlite":
                _check_file(engine)
            _bring_to_head(engine)
        return StateDatabase(engine)


def migrations_dir() -> Path:
    """Find the revisions: inside the installed package, or beside it in a checkout."""
    package = Path(str(resources.files("uploader")))
    installed = package / "_migrations"
    return installed if installed.is_dir() else package.parent / "migrations"


def database_engine(url: URL) -> Engine:
    """Return an engine for the database of a state; nothing is connected yet.

    Raises:
        UsageError: It is no database that can hold the state.
    """
    backend = url.get_backend_name()
    if backend not in _DRIVERS or (backend == "sqlite" and url.database in {None, "", ":memory:"}):
        raise UsageError(
            f"{shown(url)} is not a database that can hold the state",
            hint="Use sqlite:///PATH or postgresql://USER@HOST/NAME.",
        )
    url = url.set(drivername=_DRIVERS[backend])
    if backend == "postgresql":
        return server_engine(url)
    _make_private(Path(str(url.database)))
    engine = create_engine(url)
    event.listen(engine, "connect", _prepare_connection)
    event.listen(engine, "begin", _begin)
    return engine


def _make_private(path: Path) -> None:
    folder = path.parent
    try:
        folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror}") from error
    # A file that cannot be made or changed is told about by the database itself.
    with suppress(OSError):
        make_private(path)


def _prepare_connection(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        for pragma in _PRAGMAS:
            cursor.execute(pragma)
    except BaseException:
        connection.close()
        raise
    cursor.close()


def _begin(connection: Connection) -> None:
    readonly = connection.get_execution_options().get("readonly", False)
    connection.exec_driver_sql("BEGIN DEFERRED" if readonly else "BEGIN IMMEDIATE")


def _check_file(engine: Engine) -> None:
    path = Path(str(engine.url.database))
    large = path.exists() and path.stat().st_size > _THOROUGH_BYTES
    with engine.connect().execution_options(readonly=True) as connection:
        check = "quick_check" if large else "integrity_check"
        verdict = connection.exec_driver_sql(f"PRAGMA {check}(1)").scalar_one()
    if verdict != "ok":
        raise StateDamagedError(f"the state database {path} is damaged: {verdict}")


def _bring_to_head(engine: Engine) -> None:
    with engine.connect().execution_options(readonly=True) as connection:
        tables = set(inspect(connection).get_table_names())
        found = None
        if "alembic_version" in tables:
            found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if found is None and tables - {"alembic_version"}:
        raise StateDamagedError(
            f"{shown(engine.url)} is a database of something else",
            hint="Name another with --state.",
        )
    if not tables:
        _create(engine)
    elif found != REVISION:
        _migrate(engine, found)
    elif upload.name not in tables:
        raise StateDamagedError(f"the state database {shown(engine.url)} lacks its tables")


def _create(engine: Engine) -> None:
    """Make a new database at once, not revision by revision: tenths of a second of a first command.

    `tests/migrations` holds that both ways give the same schema.
    """
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            lock_migration(connection)
        if not inspect(connection).get_table_names():  # nobody else was quicker
            metadata.create_all(connection, checkfirst=False)
            revisions.create(connection)
            connection.execute(revisions.insert().values(version_num=REVISION))


def _migrate(engine: Engine, found: str | None) -> None:
    # Imported here: needed once a release, and a fifth of a second of every command's start.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(migrations_dir()).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise StateNewerError(
            f"the state database {shown(engine.url)} is at revision {found!r}, "
            f"this release knows up to {REVISION}"
        )
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            lock_migration(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def shown(url: URL) -> str:
    """Return a URL for people, without its password."""
    return url.render_as_string(hide_password=True)


def _hidden(url: str) -> str:
    """Show a URL that may not parse, without what could be a password."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
