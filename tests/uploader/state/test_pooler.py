"""Several uploads through a pooler that lends two connections by the transaction."""

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import sqlalchemy as sa

from datanode.errors import LeaseHeldError
from tests.uploader.state.facts import FILES, NODE, POSTGRES, SENDER, STORED, record, send
from uploader.state.database import open_database
from uploader.state.location import StateLocation
from uploader.state.store import StateStore
from uploader.state.upload_lock import Queueing, upload_lock

POOLER: Final = os.environ.get("DATANODE_TEST_PGBOUNCER") or shutil.which("pgbouncer")
UPLOADS: Final = 4
MESSAGES: Final = 30


@pytest.fixture
def pooled(tmp_path: Path) -> Iterator[str]:
    if not (POSTGRES and POOLER):
        pytest.skip("no PostgreSQL server or no pgbouncer")
    server = sa.make_url(POSTGRES)
    engine = sa.create_engine(POSTGRES)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = tmp_path / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\nstate = host={server.host} port={server.port} dbname={server.database} "
        f"user={server.username}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        "auth_type = any\npool_mode = transaction\ndefault_pool_size = 2\nunix_socket_dir =\n"
    )
    command = [str(POOLER), str(settings)]
    if not os.geteuid():  # it refuses to run as root
        shutil.copy(settings, settings := Path("/tmp") / f"pgbouncer-{port}.ini")
        settings.chmod(0o644)
        command = ["setpriv", "--reuid=nobody", "--clear-groups", str(POOLER), str(settings)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as pooler:
        for _ in range(200):
            with socket.socket() as attempt:
                if not attempt.connect_ex(("127.0.0.1", port)):
                    break
            time.sleep(0.05)
        yield f"postgresql://{server.username}@127.0.0.1:{port}/state"
        pooler.terminate()
    settings.unlink()


class TestPostgresql:
    def test_uploads_at_once_do_not_meet_in_a_session(self, pooled: str) -> None:
        failures: list[BaseException] = []

        def work(number: int) -> None:
            try:
                with open_database(pooled) as database:
                    store = StateStore(database, me=SENDER)
                    upload = store.begin_upload(NODE, f"m{number}", FILES).id
                    for index in range(MESSAGES):
                        request = send(store, upload, (number, index), [index])
                        store.settle(request, [STORED], b"receipt")
                        assert store.known(NODE, [record(index).content])
            except BaseException as error:  # noqa: BLE001 - a thread reports
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(UPLOADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        with open_database(pooled) as database:
            counts = [info.chunks for info in StateStore(database, me=SENDER).uploads()]
        assert [sum(count.values()) for count in counts] == [MESSAGES] * UPLOADS

    def test_the_lock_is_held_while_connections_change_hands(
        self, pooled: str, tmp_path: Path
    ) -> None:
        one = StateLocation(folder=tmp_path / "one", url=pooled)
        other = StateLocation(folder=tmp_path / "other", url=pooled)
        at_once = Queueing(wait=False)
        with upload_lock(one, NODE, SENDER, "first", at_once):
            for _ in range(5):
                with open_database(pooled) as database:
                    StateStore(database, me=SENDER).uploads()
            with (
                pytest.raises(LeaseHeldError, match="first, pid"),
                upload_lock(other, NODE, SENDER, "second", at_once),
            ):
                raise AssertionError("two holders")
        with upload_lock(other, NODE, SENDER, "second", at_once):
            pass
