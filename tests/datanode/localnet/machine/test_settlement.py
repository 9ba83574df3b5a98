"""Recovery after `kill -9` of real processes."""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import closing
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import pytest

from tests.datanode.localnet import hammer
from tests.datanode.localnet.wasm_canisters import ENVIRONMENT, counts

KILLS = int(os.environ.get("DATANODE_KILLS", "15"))
MOST_OPERATIONS = 60
STATE_FILES = 4


def start(
    context: ForkServerContext, target: Callable[..., None], *arguments: object, **options: object
) -> ForkServerProcess:
    process = context.Process(target=target, args=arguments, kwargs=options, daemon=True)
    process.start()
    return process


def test_no_acknowledged_update_is_lost_and_none_is_half_applied(
    tmp_path: Path, context: ForkServerContext
) -> None:
    chance = random.Random(20_261_123)
    updates = 0
    with closing(hammer.database(tmp_path)) as base:
        for turn in range(KILLS):
            receive, send = context.Pipe(duplex=False)
            process = start(context, hammer.increment_until_killed, tmp_path, send, turn)
            send.close()
            acknowledged = receive.recv()
            time.sleep(chance.random() * 0.02)
            process.kill()
            process.join()
            assert process.exitcode == -signal.SIGKILL
            while True:
                try:
                    acknowledged = receive.recv()
                except (EOFError, OSError):
                    break
            receive.close()
            sequence, count = hammer.last(base)
            assert sequence >= acknowledged[0]
            assert count >= acknowledged[1]
            made = hammer.open_machine(tmp_path, sequence)
            assert counts(made.query("read", b"", ENVIRONMENT)) == {count}
            made.close()
            updates = sequence
    assert updates > KILLS


@pytest.mark.parametrize("torn", [False, True])
@pytest.mark.parametrize(
    "action", ["increment", "grow", "grow_and_trap", "install", "upgrade", "uninstall", "go_back"]
)
def test_a_death_at_any_file_operation_of_a_message_undoes_it(
    tmp_path: Path, context: ForkServerContext, action: str, *, torn: bool
) -> None:
    ready = tmp_path / "ready"
    ready.mkdir()
    process = start(context, hammer.prepare, ready)
    process.join()
    assert process.exitcode == 0
    before = files(ready)
    for operation in range(1, MOST_OPERATIONS):
        folder = tmp_path / str(operation)
        shutil.copytree(ready, folder)
        process = start(
            context, hammer.act_and_die, folder, action, operation, torn=torn, recorded=False
        )
        process.join()
        if process.exitcode == 0:
            assert operation > 3
            return
        assert process.exitcode == -signal.SIGKILL
        made = hammer.open_machine(folder, 2)
        assert files(folder) == before
        assert counts(made.query("read", b"", ENVIRONMENT)) == {1}
        made.close()
        shutil.rmtree(folder)
    pytest.fail("the message never ended")


@pytest.mark.parametrize("action", ["grow", "install", "upgrade", "uninstall", "go_back"])
def test_a_death_while_a_recorded_message_is_committed_keeps_it(
    tmp_path: Path, context: ForkServerContext, action: str
) -> None:
    ready = tmp_path / "ready"
    ready.mkdir()
    process = start(context, hammer.prepare, ready)
    process.join()
    whole = tmp_path / "whole"
    shutil.copytree(ready, whole)
    start(context, hammer.act_and_die, whole, action, 0, torn=False, recorded=True).join()
    for operation in range(1, MOST_OPERATIONS):
        folder = tmp_path / str(operation)
        shutil.copytree(ready, folder)
        process = start(
            context, hammer.act_and_die, folder, action, operation, torn=False, recorded=True
        )
        process.join()
        hammer.open_machine(folder, 3).close()
        assert files(folder) == files(whole)
        shutil.rmtree(folder)
        if process.exitcode == 0:
            return
    pytest.fail("the commit never ended")


def files(folder: Path) -> dict[str, bytes]:
    """Read the state without the undo log, which may hold an old message's entries."""
    found = (folder / "canister").iterdir()
    return {path.name: path.read_bytes() for path in found if path.name != "undo.log"}
