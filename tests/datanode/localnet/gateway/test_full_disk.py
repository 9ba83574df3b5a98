"""A disk that really is full: a small file system of its own, where this user may mount one."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from datanode.agent.identity import Identity
from datanode.agent.message_outcome import CertifiedReply
from datanode.agent.network import Network
from datanode.errors import DataNodeError
from datanode.localnet.api import LocalNetwork
from datanode.localnet.state import ledger
from datanode.units import MIB
from tests.datanode.localnet.gateway_client import Client
from tests.datanode.localnet.wasm_canisters import COUNTER
from tests.fakes.counter import argument, number
from tests.fakes.gateway import Gateway, RejectedError

Disk = Callable[[int], Path]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Mount a file system of some size; it is gone after the test."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size_bytes: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, check=False)
        except OSError:
            pytest.skip("there is no mount")
        if done.returncode:
            pytest.skip("this user may not mount a file system")
        return folder

    yield mount
    if os.path.ismount(folder):
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path, leave_bytes: int) -> Path:
    """Write a file that leaves no more room than this."""
    filler = folder / "filler"
    with filler.open("wb") as file:
        found = os.statvfs(folder)
        os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - leave_bytes)
    return filler


def test_a_server_on_a_full_disk_refuses_updates_and_answers_queries(
    disk: Disk, alice: Identity
) -> None:
    folder = disk(256 * MIB)
    with LocalNetwork(folder / "net") as net:
        where = Network(url=net.url, root_key=net.root_key, name="test")
        with Client(where, alice) as client:
            canister = client.counter()
            assert number(client.call(canister, "add", argument(1))) == 1
            filler = fill(folder, leave_bytes=64 * MIB)
            message = client.agent.prepare(canister, "add", argument(1))
            with pytest.raises(DataNodeError, match="updates are refused, queries are answered"):
                client.call(canister, "add", argument(1))
            assert not isinstance(_sent(client, message), CertifiedReply)
            assert number(client.query(canister, "get")) == 1
            net.kill()
            net.start()
            assert number(client.query(canister, "get")) == 1
            filler.unlink()
            assert isinstance(client.agent.send(message), CertifiedReply)
            assert number(client.query(canister, "get")) == 2


def _sent(client: Client, message: object) -> object:
    try:
        return client.agent.send(message)  # type: ignore[arg-type]
    except DataNodeError as error:
        return error


def test_a_write_that_finds_no_room_undoes_its_message(disk: Disk, alice: Identity) -> None:
    """Without the reserve that keeps updates away, each write is where the room may end."""
    folder = disk(48 * MIB)
    net = Gateway(folder / "net")
    try:
        counter, many = net.counter(alice), net.create(alice)
        net.install(alice, many, wasm=COUNTER)
        net.call(alice, many, "increment")
        for left_bytes in (0, 4096, 3 * 4096, 10 * 4096, 30 * 4096):
            filler = fill(folder, leave_bytes=left_bytes)
            refused = 0
            for method in ("increment", "grow", "increment", "grow") * 3:
                refused += _is_refused(lambda: net.call(alice, many, method))  # noqa: B023
                _agree(net.query(alice, many, "read"))
            assert refused
            assert number(net.query(alice, counter, "get")) == 0
            filler.unlink()
            net.reopen()
            _agree(net.query(alice, many, "read"))
        before = _agree(net.query(alice, many, "read"))
        net.call(alice, many, "increment")
        assert _agree(net.query(alice, many, "read")) == before + 1
        mine = [
            entry for entry in ledger.page(net.network.records.database) if entry.canister == many
        ]
        assert net.balance(many) == -sum(entry.total_cycles for entry in mine)
        assert sum(entry.status == "replied" for entry in mine[2:]) == before + 1
    finally:
        net.close()


def _is_refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except RejectedError as rejected:
        return (rejected.error_code, "full" in str(rejected)) == ("IC0507", True)
    return False


def _agree(reply: bytes) -> int:
    """Global, heap and stable memory hold one number."""
    values = {reply[at : at + 8] for at in range(0, len(reply), 8)}
    assert len(values) == 1
    return int.from_bytes(values.pop(), "little")
