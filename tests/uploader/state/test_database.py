"""uploader.state.database: opened at the right revision, or refused in its own words."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from datanode.errors import (
    DataNodeError,
    DiskFullError,
    LeaseHeldError,
    NetworkError,
    StateDamagedError,
    StateNewerError,
    UsageError,
)
from datanode.model import ChunkRecord
from tests.repetitions import repeated
from tests.uploader.state.facts import (
    FILES,
    NODE,
    SENDER,
    STORED,
    digest,
    message,
    outgoing,
    record,
)
from uploader.state import database_errors, schema
from uploader.state.database import StateDatabase, open_database
from uploader.state.store import StateStore

ROOT = Path(__file__).parents[3]
FLIPS = repeated(80, 2_000)


@pytest.fixture
def path(tmp_path: Path, ready_made: Path) -> Path:
    shutil.copy(ready_made, tmp_path / "state.db")
    return tmp_path / "state.db"


def opened(path: Path) -> StateDatabase:
    return open_database(f"sqlite:///{path}")


def fill(path: Path, chunks_count: int = 300) -> int:
    with opened(path) as database:
        store = StateStore(database, me=SENDER)
        upload = store.begin_upload(NODE, "m", FILES).id
        for number in range(0, chunks_count, 10):
            out = message(number)
            store.record_intent(upload, out, 1, outgoing(range(number, number + 10)), 1)
            if number < chunks_count - 10:
                store.settle(out.request_id, [STORED] * 10, b"receipt")
        store.finish_file(upload, 0, digest("sha256"), 0, 1)
    return upload


def learn_all(store: StateStore, batches: list[list[ChunkRecord]]) -> None:
    for batch in batches:
        store.learn(NODE, batch)


def test_a_new_database_is_made_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "state.db"
    opened(path).close()
    assert path.stat().st_size > 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_what_is_committed_is_there_when_it_is_opened_again(path: Path) -> None:
    upload = fill(path)
    with opened(path) as database:
        assert len(list(StateStore(database, me=SENDER).chunk_records(upload))) == 290


def test_a_block_that_raises_commits_nothing(database: StateDatabase) -> None:
    def fail() -> None:
        with database.transaction() as connection:
            connection.execute(
                schema.manifest_part.insert(), {"digest": bytes(32), "frame": b"", "used_ns": 1}
            )
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with database.reading() as connection:
        assert connection.execute(sa.select(schema.manifest_part)).all() == []


def test_a_reader_does_not_wait_for_a_writer(database: StateDatabase) -> None:
    with database.transaction() as writer:
        writer.execute(
            schema.manifest_part.insert(), {"digest": bytes(32), "frame": b"", "used_ns": 1}
        )
        with database.reading() as reader:
            assert reader.execute(sa.select(schema.manifest_part)).all() == []


def test_concurrent_writers_lose_no_update(database: StateDatabase) -> None:
    upload = StateStore(database, me=SENDER).begin_upload(NODE, "m", FILES).id
    StateStore(database, me=SENDER).record_intent(upload, message(1), 1, outgoing([0]), 1)

    def add() -> None:
        for _ in range(20):
            StateStore(database, me=SENDER).retried(message(1).request_id, 1)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert StateStore(database, me=SENDER).totals(upload).retried_bytes == 80


def test_a_digest_of_another_length_is_refused_by_the_schema(database: StateDatabase) -> None:
    with pytest.raises(StateDamagedError), database.transaction() as connection:
        connection.execute(
            schema.manifest_part.insert(), {"digest": bytes(31), "frame": b"", "used_ns": 1}
        )


def test_a_held_database_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uploader.state.database._PRAGMAS", ("PRAGMA busy_timeout = 50",))
    with (
        opened(path) as one,
        opened(path) as other,
        one.transaction(),
        pytest.raises(LeaseHeldError, match="another program"),
        other.transaction(),
    ):
        raise AssertionError("two writers")


class TestRefused:
    def test_a_newer_revision(self, path: Path) -> None:
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.close()
        with pytest.raises(StateNewerError, match="9999"):
            opened(path)

    def test_a_database_of_something_else(self, tmp_path: Path) -> None:
        with sqlite3.connect(tmp_path / "other.db") as connection:
            connection.execute("CREATE TABLE songs (title TEXT)")
        connection.close()
        with pytest.raises(StateDamagedError, match="something else"):
            opened(tmp_path / "other.db")

    def test_a_database_without_its_tables(self, path: Path) -> None:
        with sqlite3.connect(path) as connection:
            connection.execute("DROP TABLE upload")
        connection.close()
        with pytest.raises(StateDamagedError, match="lacks its tables"):
            opened(path)

    @pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + bytes(5000)])
    def test_what_is_no_database(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "state.db").write_bytes(content)
        with pytest.raises(StateDamagedError):
            opened(tmp_path / "state.db")

    def test_a_folder_in_its_place(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="cannot be opened"):
            open_database(f"sqlite:///{tmp_path}")

    def test_a_file_in_the_place_of_its_folder(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(UsageError, match="cannot be made"):
            opened(tmp_path / "file" / "state.db")

    @pytest.mark.parametrize(
        "url",
        ["nonsense", "mysql://x/y", "sqlite://", "sqlite:///:memory:", "oracle:///x", "a://b"],
    )
    def test_urls_that_hold_no_state(self, url: str) -> None:
        with pytest.raises(UsageError):
            open_database(url)

    def test_a_server_that_does_not_answer_and_no_password_is_told(self) -> None:
        with pytest.raises(NetworkError, match="does not answer") as caught:
            open_database("postgresql://me:secret@127.0.0.1:1/state?connect_timeout=2")
        assert "secret" not in str(caught.value)
        with pytest.raises(UsageError) as refused:
            open_database("nonsense://me:secret@host/x")
        assert "secret" not in str(refused.value)

    def test_a_driver_that_is_not_installed(self) -> None:
        error = database_errors.translate(ImportError("no", name="psycopg"), "postgresql://h/x")
        assert isinstance(error, UsageError)
        assert "datanode[postgres]" in error.hint


class TestDamage:
    def everything(self, path: Path, upload: int) -> set[object]:
        """Read all that a session reads; what comes must be what was written."""
        with opened(path) as database:
            store = StateStore(database, me=SENDER)
            found: set[object] = set(store.chunk_records(upload))
            found |= set(store.known(NODE, [record(n).content for n in range(300)]).values())
            found |= set(store.file_digests(upload).items())
            found |= {(m.request_id, m.expiry_ns, m.frames) for m in store.open_messages(NODE)}
            store.uploads()
            store.ledger()
        return found

    def test_a_flipped_bit_is_refused_or_harmless_but_never_believed(self, path: Path) -> None:
        upload = fill(path)
        whole = self.everything(path, upload)
        image = path.read_bytes()
        assert not path.with_name("state.db-wal").exists()
        chance = random.Random(1)
        refused_count = 0
        for _ in range(FLIPS):
            flipped = bytearray(image)
            flipped[chance.randrange(len(image))] ^= 1 << chance.randrange(8)
            path.write_bytes(flipped)
            try:
                assert self.everything(path, upload) <= whole
            except DataNodeError:
                refused_count += 1
        assert refused_count > FLIPS // 5

    @pytest.mark.parametrize("kept", [0.001, 0.1, 0.5, 0.9, 0.999])
    def test_a_truncated_database_is_refused(self, path: Path, kept: float) -> None:
        fill(path)
        os.truncate(path, int(path.stat().st_size * kept))
        with pytest.raises(StateDamagedError):
            opened(path)

    def test_an_overwritten_page_is_refused(self, path: Path) -> None:
        upload = fill(path)
        image = bytearray(path.read_bytes())
        for page in range(1, len(image) // 4096):
            damaged = bytearray(image)
            damaged[page * 4096 : (page + 1) * 4096] = bytes(4096)
            path.write_bytes(damaged)
            with pytest.raises(StateDamagedError):
                self.everything(path, upload)


class TestFullDisk:
    def test_a_full_disk_is_told_and_loses_nothing(self, path: Path) -> None:
        upload = fill(path)
        with opened(path) as database:
            store = StateStore(database, me=SENDER)
            with database.reading() as connection:
                pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
                connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            with pytest.raises(DiskFullError, match="full"):
                store.learn(NODE, [record(("new", number)) for number in range(5_000)])
            assert len(list(store.chunk_records(upload))) == 290
        with opened(path) as database:
            assert StateStore(database, me=SENDER).known(NODE, [record(("new", 0)).content]) == {}

    def test_a_write_beyond_a_limit_of_the_system_is_told(self, path: Path) -> None:
        upload = fill(path)
        script = (
            "import resource, sys\n"
            "from tests.uploader.state.facts import NODE, SENDER, record\n"
            "from uploader.state.database import open_database\n"
            "from uploader.state.store import StateStore\n"
            "from datanode.errors import DiskFullError\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))\n"
            "store = StateStore(open_database(sys.argv[1]), me=SENDER)\n"
            "try:\n"
            "    for batch in range(100):\n"
            "        store.learn(NODE, [record((batch, n)) for n in range(200)])\n"
            "except DiskFullError:\n"
            "    sys.exit(14)\n"
        )
        command = [sys.executable, "-c", script, f"sqlite:///{path}"]
        assert subprocess.run(command, cwd=ROOT, check=False).returncode == 14
        with opened(path) as database:
            assert len(list(StateStore(database, me=SENDER).chunk_records(upload))) == 290

    def test_a_new_database_on_a_full_disk_is_told(self, tmp_path: Path) -> None:
        script = (
            "import resource, sys\n"
            "from uploader.state.database import open_database\n"
            "from datanode.errors import DiskFullError\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))\n"
            "try:\n"
            "    open_database(sys.argv[1])\n"
            "except DiskFullError:\n"
            "    sys.exit(14)\n"
        )
        command = [sys.executable, "-c", script, f"sqlite:///{tmp_path / 'state.db'}"]
        assert subprocess.run(command, cwd=ROOT, check=False).returncode == 14

    def test_a_real_small_file_system_fills_up_and_work_goes_on_once_there_is_room(
        self, tmp_path: Path
    ) -> None:
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
        if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
            pytest.skip("no right to mount a file system")
        try:
            (tmp_path / "ballast").write_bytes(bytes(500_000))
            with opened(tmp_path / "state.db") as database:
                store = StateStore(database, me=SENDER)
                batches = [[record((batch, n)) for n in range(200)] for batch in range(20)]
                with pytest.raises(DiskFullError, match="full"):
                    learn_all(store, batches)
                known = [len(store.known(NODE, [r.content for r in batch])) for batch in batches]
                assert set(known) == {0, 200}
                (tmp_path / "ballast").unlink()
                store.learn(NODE, batches[known.index(0)])
        finally:
            subprocess.run(["umount", str(tmp_path)], check=True)
