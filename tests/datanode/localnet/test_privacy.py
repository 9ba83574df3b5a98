"""A network's folder is its owner's alone, whatever the umask; its server bounds what it reads."""

import os
import socket
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from datanode.files import make_private
from datanode.localnet.api import LocalNetwork
from datanode.localnet.serving import MAX_HEAD_BYTES, MAX_HEADERS, MAX_OVERHEAD_BYTES
from datanode.localnet.state.network_database import NetworkDatabase


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    before = os.umask(0)
    try:
        with LocalNetwork(tmp_path_factory.mktemp("privacy") / "net") as network:
            yield network
    finally:
        os.umask(before)


def readable_by_others(folder: Path) -> list[str]:
    return [
        f"{path} {stat.S_IMODE(path.stat().st_mode):o}"
        for path in (folder, *folder.rglob("*"))
        if path.stat().st_mode & 0o077
    ]


def test_nothing_of_a_running_network_is_readable_by_others(network: LocalNetwork) -> None:
    network.create_canister()
    folder = network.directory
    assert (folder / "network.db-wal").exists()
    assert readable_by_others(folder) == []


def test_older_database_becomes_private(tmp_path: Path, no_umask: None) -> None:
    path = tmp_path / "network.db"
    NetworkDatabase(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    wal = tmp_path / "network.db-wal"
    wal.touch()
    database = NetworkDatabase(path)
    assert readable_by_others(path) == readable_by_others(wal) == []
    database.close()


def test_making_a_file_private_keeps_the_locks_of_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    first = sqlite3.connect(path, isolation_level=None)
    first.execute("BEGIN EXCLUSIVE")
    make_private(path)
    second = sqlite3.connect(path, timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        second.execute("CREATE TABLE x (y)")
    second.close()
    first.close()


def answer_to(network: LocalNetwork, head: bytes, again: bytes, count: int) -> bytes:
    """Send a request's beginning and then pieces until the other side answers or hangs up."""
    host, port = network.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        try:
            client.sendall(head)
            for _ in range(count):
                client.sendall(again)
        except OSError:
            pass  # it has hung up
        try:
            return client.recv(4096)
        except OSError:
            return b""


POST = b"POST /api/v2/canister/aaaaa-aa/query HTTP/1.1\r\nhost: localhost\r\n"
CHUNKED = POST + b"content-type: application/cbor\r\ntransfer-encoding: chunked\r\n\r\n"
ENDLESS = 300_000_000 // 65_536


@pytest.mark.parametrize(
    ("head", "again"),
    [
        (POST + b"x-long: ", b"x" * 65_536),
        (POST, b"x-header: " + b"y" * 1000 + b"\r\n"),
        (b"GET /", b"x" * 65_536),
        (CHUNKED + b"1;", b"x" * 65_536),
        (CHUNKED + b"0\r\n", b"x-trailer: " + b"y" * 1000 + b"\r\n"),
        (b"", b"\r\n" * 30_000),
    ],
    ids=["one header", "headers", "target", "chunk extension", "trailers", "empty lines"],
)
def test_heads_that_do_not_end_are_cut_off(
    network: LocalNetwork, head: bytes, again: bytes
) -> None:
    found = answer_to(network, head, again, ENDLESS)
    assert found == b"" or found.startswith(b"HTTP/1.1 4")
    assert network.time()


@pytest.mark.parametrize(
    ("more", "status"),
    [
        (b"".join(b"x-%d: y\r\n" % n for n in range(MAX_HEADERS - 2)), b"200"),
        (b"".join(b"x-%d: y\r\n" % n for n in range(MAX_HEADERS)), b"400"),
        (b"x: " + b"y" * (MAX_HEAD_BYTES - 1000) + b"\r\n", b"200"),
        (b"x: " + b"y" * MAX_HEAD_BYTES + b"\r\n", b"400"),
    ],
)
def test_headers_are_bounded_in_number_and_size(
    network: LocalNetwork, more: bytes, status: bytes
) -> None:
    head = b"GET /api/v2/status HTTP/1.1\r\nhost: localhost\r\n" + more + b"\r\n"
    assert answer_to(network, head, b"", 0).split()[1] == status


def test_small_chunks_are_read_whole(network: LocalNetwork) -> None:
    """A body of single bytes has more framing than the bound on what is beside a body."""
    count = MAX_OVERHEAD_BYTES // 4
    found = answer_to(network, CHUNKED, b"1\r\nx\r\n" * count + b"0\r\n\r\n", 1)
    assert found.split()[1] == b"400"
    assert b"too large" not in found
