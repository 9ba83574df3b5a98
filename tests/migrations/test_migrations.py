"""migrations/: the chain is linear, reversible, and ends at the schema the code declares."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from tests.uploader.state.facts import (
    FILES,
    NODE,
    POSTGRES,
    SENDER,
    digest,
    message,
    outgoing,
    record,
)
from uploader.state.database import StateDatabase, migrations_dir, open_database
from uploader.state.schema import REVISION, metadata
from uploader.state.store import StateStore

GOLDEN = Path(__file__).parents[1] / "golden" / "state_0001.db"


def config() -> Config:
    made = Config()
    made.set_main_option("script_location", str(migrations_dir()))
    return made


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateDatabase]:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    if request.param == "postgresql":
        if not POSTGRES:
            pytest.skip("DATANODE_TEST_POSTGRES names no server")
        url = POSTGRES
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
        engine.dispose()
    with open_database(url) as opened:
        yield opened


def test_head_matches_the_tables(database: StateDatabase) -> None:
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def described(connection: sa.Connection) -> dict[str, list[str]]:
    """Everything that a database says about its tables."""
    found = sa.inspect(connection)
    return {table: sorted(_facts(found, table)) for table in found.get_table_names()}


def _facts(found: sa.Inspector, table: str) -> Iterator[str]:
    yield str(found.get_pk_constraint(table)["constrained_columns"])
    yield str(found.get_table_options(table))
    yield from (f"{column} {column['type']!r}" for column in found.get_columns(table))
    yield from map(str, found.get_foreign_keys(table))
    for check in found.get_check_constraints(table):
        yield f"{check['name']} {check['sqltext']}"
    for index in found.get_indexes(table):
        options = index.pop("dialect_options", {})
        yield f"{index} {[(name, str(value)) for name, value in options.items()]}"


def test_a_new_database_has_the_tables_that_migrations_give(database: StateDatabase) -> None:
    made = config()
    with database.transaction() as connection:
        new = described(connection)
        made.attributes["connection"] = connection
        command.downgrade(made, "base")
        command.upgrade(made, "head")
        migrated = described(connection)
    assert new.keys() == migrated.keys()
    for table, what in new.items():
        assert what == migrated[table], table


def test_the_chain_is_linear_and_ends_where_the_code_says() -> None:
    script = ScriptDirectory.from_config(config())
    assert script.get_heads() == [REVISION]
    revisions = [revision.revision for revision in script.walk_revisions()]
    assert revisions == [f"{number:04}" for number in range(len(revisions), 0, -1)]


def test_every_step_goes_back_and_forth(database: StateDatabase) -> None:
    made = config()
    with database.transaction() as connection:
        made.attributes["connection"] = connection
        command.downgrade(made, "base")
        assert set(sa.inspect(connection).get_table_names()) == {"alembic_version"}
        command.upgrade(made, "head")
        assert set(metadata.tables) < set(sa.inspect(connection).get_table_names())


def test_an_interrupted_migration_leaves_nothing_half_done(database: StateDatabase) -> None:
    made = config()

    def interrupt() -> None:
        with database.transaction() as connection:
            made.attributes["connection"] = connection
            command.downgrade(made, "base")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    with database.reading() as connection:
        assert set(metadata.tables) < set(sa.inspect(connection).get_table_names())
        assert MigrationContext.configure(connection).get_current_revision() == REVISION


def test_revisions_ship_with_the_package() -> None:
    assert (migrations_dir() / "env.py").is_file()
    assert (migrations_dir() / "script.py.mako").is_file()


def test_a_database_of_the_first_release_is_still_read(tmp_path: Path) -> None:
    shutil.copy(GOLDEN, tmp_path / "state.db")
    with open_database(f"sqlite:///{tmp_path / 'state.db'}") as database:
        store = StateStore(database, me=SENDER)
        upload = store.begin_upload(NODE, "m", FILES)
        assert upload.resumed
        assert dict(store.chunk_records(upload.id)) == {0: record(0), 2: record(2)}
        assert set(store.known(NODE, [record(n).content for n in range(4)]).values()) == {
            record(0),
            record(3),
        }
        (open_message,) = store.open_messages(NODE)
        assert open_message.request_id == message(2).request_id
        assert open_message.frames == tuple(outgoing([1, None]))
        assert store.file_digests(upload.id) == {0: digest("file")}
        assert store.receipt(message(1).request_id) == b"receipt"


def test_what_several_identities_knew_is_asked_anew(database: StateDatabase) -> None:
    made = config()
    with database.transaction() as connection:
        made.attributes["connection"] = connection
        command.downgrade(made, "0002")
        for number, (node, model, sender) in enumerate(
            [("one", "m", "a"), ("one", "n", "a"), ("two", "m", "a"), ("two", "n", "b")], start=1
        ):
            upload = {"id": number, "node": node, "model": model}
            connection.execute(sa.text(UPLOAD_0002), upload)
            request = {"id": digest(number), "of": number, "node": node, "sender": sender}
            connection.execute(sa.text(MESSAGE_0002), request)
        for node in ("one", "two"):
            held = {"node": node, "digest": digest("held")}
            connection.execute(sa.text(HELD_0002), held)
            connection.execute(sa.text("INSERT INTO learned VALUES (:node, :digest)"), held)
        command.upgrade(made, "head")
    with database.reading() as connection:
        rows = connection.execute(sa.text("SELECT node, sender FROM upload ORDER BY id")).all()
        assert [tuple(row) for row in rows] == [
            ("one", "a"),
            ("one", "a"),
            ("two", "a"),
            ("two", "b"),
        ]
        found = connection.execute(sa.text("SELECT node, sender FROM held")).all()
        assert [tuple(row) for row in found] == [("one", "a")]


UPLOAD_0002 = (
    "INSERT INTO upload (id, node, model, location, status, created_ns, changed_ns) "
    "VALUES (:id, :node, :model, '', 'open', 1, 1)"
)
MESSAGE_0002 = (
    "INSERT INTO message (request_id, upload_id, node, sender, lease_id, expiry_ns, frames_count, "
    "envelope_bytes, body_digest, status, estimated_cycles, retried_bytes, created_ns, rowsum) "
    "VALUES (:id, :of, :node, :sender, 1, 1, 1, 1, :id, 'settled', 1, 0, 1, 1)"
)
HELD_0002 = "INSERT INTO held VALUES (:node, :digest, :digest, 1, 1, 0, 0, 1)"


def write_golden(path: Path) -> None:
    """Write the golden file; done once, when a revision is born."""
    from tests.uploader.state.facts import STORED

    with open_database(f"sqlite:///{path}") as database:
        store = StateStore(database, me=SENDER, clock_ns=lambda: 10**18)
        upload = store.begin_upload(NODE, "m", FILES, location="/models/m").id
        store.record_intent(upload, message(1), 7, outgoing([0]), 10**9)
        store.settle(message(1).request_id, [STORED], b"receipt")
        store.record_intent(upload, message(2), 7, outgoing([1, None]), 10**9)
        store.record_known(upload, [(2, record(2))])
        store.learn(NODE, [record(3)])
        store.finish_file(upload, 0, digest("file"), 0, 1)
