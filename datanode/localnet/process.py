"""Starts, finds and stops the process of an embedded network.

The process holds a lock on its state folder as long as it lives, so a `network.json` that a killed
process left behind deceives nobody: a network runs where the lock is held.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from datanode.cleanup import always_after, rollback_on_error
from datanode.errors import LocalNetworkError
from datanode.files import PRIVATE_FOLDER, make_private
from datanode.localnet.extra import require_extra
from datanode.localnet.state.state_folder import DESCRIPTION, LOCK
from datanode.localnet.state.subnet import Subnet, SubnetChoice

if TYPE_CHECKING:
    from datanode.localnet.state.ledger import BillEntry
    from datanode.localnet.state.network_database import NetworkDatabase

DEFAULT_STATE_DIR: Final = Path(".datanode/localnet")
DEFAULT_PORT: Final = 4943
LOG: Final = "log.txt"
HINT: Final = "next: "
"""Before what a server that cannot start advises, behind what happened."""
_START_TIMEOUT_S: Final = 60.0
_STOP_TIMEOUT_S: Final = 20.0
_POLL_S: Final = 0.02
_LOG_TAIL_BYTES: Final = 2_000
_AS_IT_WAS: Final = SubnetChoice()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningProcess:
    """A network that runs.

    Attributes:
        url: Its address, e.g. `http://127.0.0.1:4943`.
        root_key: Its root key in DER.
        pid: Its process.
        state_dir: Its folder.
    """

    url: str
    root_key: bytes
    pid: int
    state_dir: Path

    @property
    def page(self) -> str:
        """Where a browser shows what it holds and bills."""
        return f"{self.url}/"


def start(
    state_dir: Path = DEFAULT_STATE_DIR,
    *,
    port: int = DEFAULT_PORT,
    detach: bool = False,
    subnet: SubnetChoice = _AS_IT_WAS,
    follow: bool = False,
) -> RunningProcess | None:
    """Start a network.

    Args:
        state_dir: Its folder; a network that was there goes on.
        port: Where to listen on the loopback; 0 picks a free port.
        detach: Start a process of its own and return once it answers; otherwise serve here until
            interrupted, and return None.
        subnet: What kind of subnet it is to stand for.
        follow: Whether the process of its own ends when this one does, however that ends.

    Raises:
        UsageError: There is no such subnet.
        LocalNetworkError: The extra is not installed, a network runs there already, the port is
            taken, or it does not start.
    """
    require_extra()
    Subnet().changed(subnet)
    if status(state_dir) is not None:
        raise LocalNetworkError(
            f"a network is already running in {state_dir}",
            hint="`datanode localnet status` shows it, `datanode localnet stop` ends it.",
        )
    if not detach:
        from datanode.localnet import serving  # noqa: PLC0415 - clients do without the server

        serving.serve(state_dir, port=port, subnet=subnet)
        return None
    return _spawn(state_dir, port, subnet, follow=follow)


def status(state_dir: Path = DEFAULT_STATE_DIR) -> RunningProcess | None:
    """Find the network of a folder; None when none runs."""
    if not _is_locked(state_dir):
        return None
    try:
        fields = json.loads((state_dir / DESCRIPTION).read_text())
        os.kill(fields["pid"], 0)
        return RunningProcess(
            url=fields["url"],
            root_key=bytes.fromhex(fields["root_key"]),
            pid=fields["pid"],
            state_dir=state_dir,
        )
    except (OSError, ValueError, KeyError, TypeError):
        # Just starting: the lock is taken, and what is written may be of the process before.
        return None


def stop(state_dir: Path = DEFAULT_STATE_DIR) -> bool:
    """Stop the network of a folder; False when none runs.

    Raises:
        LocalNetworkError: It does not end.
    """
    running = status(state_dir)
    if running is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(running.pid, signal.SIGTERM)
    if not _wait(lambda: not _is_locked(state_dir), _STOP_TIMEOUT_S):
        raise LocalNetworkError(
            f"the process {running.pid} does not end",
            safe="Its state is consistent at any time.",
            hint=f"End it with: kill -9 {running.pid}",
        )
    with contextlib.suppress(ChildProcessError):
        os.waitpid(running.pid, 0)
    return True


def reset(state_dir: Path = DEFAULT_STATE_DIR) -> bool:
    """Stop the network of a folder and delete everything in it, its keys included.

    Returns:
        Whether there was one: a folder of anything else is left alone.
    """
    stop(state_dir)
    if not ((state_dir / "seed").exists() or (state_dir / LOCK).exists()):
        return False
    shutil.rmtree(state_dir)
    return True


def read_ledger(state_dir: Path = DEFAULT_STATE_DIR, *, after: int = 0) -> "list[BillEntry]":
    """Read what every message cost, whether the network runs or not.

    Raises:
        LocalNetworkError: There is no network in the folder.
    """
    from datanode.localnet.state import ledger  # noqa: PLC0415 - a database comes along

    entries: list[BillEntry] = []
    with _database(state_dir) as database:
        while page := ledger.page(database, after=after):
            entries += page
            after = page[-1].sequence
    return entries


def read_subnet(state_dir: Path = DEFAULT_STATE_DIR) -> Subnet:
    """Read what kind of subnet a network stands for, whether it runs or not.

    Raises:
        LocalNetworkError: There is no network in the folder.
    """
    with _database(state_dir) as database:
        return Subnet.read(database)


@contextlib.contextmanager
def _database(state_dir: Path) -> "Iterator[NetworkDatabase]":
    from datanode.localnet.state.network_database import NetworkDatabase  # noqa: PLC0415

    path = state_dir / "network.db"
    if not path.exists():
        raise LocalNetworkError(
            f"there is no network in {state_dir}",
            hint="Start it: `datanode localnet start --detach`, or name another --state-dir.",
        )
    database = NetworkDatabase(path)
    with always_after(database.close):
        yield database


def _spawn(state_dir: Path, port: int, subnet: SubnetChoice, *, follow: bool) -> RunningProcess:
    state_dir.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    make_private(state_dir / LOG)
    command = [sys.executable, "-m", "datanode.localnet"]
    command += ["--state-dir", str(state_dir), "--port", str(port), *_options(subnet)]
    if follow:
        command.append(f"--follow={os.getpid()}")
    # The same package as here, also when it is a checkout and the current folder another one.
    paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    with (state_dir / LOG).open("ab") as log:
        server = subprocess.Popen(  # noqa: S603 - our own interpreter and program
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
    running: RunningProcess | None = None

    def is_settled() -> bool:
        nonlocal running
        found = status(state_dir)
        running = found if found is not None and found.pid == server.pid else None
        return running is not None or server.poll() is not None

    # Whoever interrupts the start wants no network.
    with rollback_on_error(partial(_end, server)):
        _wait(is_settled, _START_TIMEOUT_S)
    if running is not None:
        # It runs on after this process; nobody is there to be told how it ended.
        server.returncode = 0
        return running
    _end(server)
    tail = (state_dir / LOG).read_bytes()[-_LOG_TAIL_BYTES:].decode("utf-8", "replace")
    said = tail.strip().splitlines() or ["it said nothing"]
    advice = said.pop().removeprefix(HINT) if said[-1].startswith(HINT) and said[1:] else ""
    raise LocalNetworkError(
        f"the network did not start: {said[-1]}",
        hint=f"{advice} Its log is {state_dir / LOG}.".strip(),
    )


def _end(server: "subprocess.Popen[bytes]") -> None:
    server.kill()
    server.wait()


def _options(subnet: SubnetChoice) -> list[str]:
    values = {
        "--fees": subnet.fees,
        "--metering": subnet.metering,
        "--subnet-nodes": subnet.nodes,
        "--subnet-used-gib": subnet.used_gib,
    }
    out = [f"{name}={value}" for name, value in values.items() if value is not None]
    if subnet.sev is not None:
        out.append("--subnet-sev" if subnet.sev else "--no-subnet-sev")
    return out


def _is_locked(state_dir: Path) -> bool:
    try:
        with (state_dir / LOCK).open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _wait(condition: Callable[[], bool], timeout_s: float) -> bool:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(_POLL_S)
    return condition()
