"""OpenStack Swift with its S3 interface: a real server, strict on signatures and preconditions."""

import getpass
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tests.conformance.own_venv import python_with

FOLDER: Final = Path(__file__).with_name("swift")
KEY: Final = "test:tester"
SECRET: Final = "testing"  # noqa: S105 - of a server that lives for a test
_BACKENDS: Final = ("account", "container", "object")
_DEFAULT: Final = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {folder}
devices = {folder}
mount_check = false
workers = 0
user = {user}
log_address = {folder}/no-log
[pipeline:main]
"""
_BACKEND: Final = """\
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
[{kind}-replicator]
"""
_PROXY: Final = """\
pipeline = catch_errors s3api tempauth copy slo dlo proxy-server
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
"""
_CLUSTER: Final = """\
[swift-hash]
swift_hash_path_prefix = a
swift_hash_path_suffix = b
[storage-policy:0]
name = one
default = yes
"""


@contextmanager
def swift(folder: Path) -> Iterator[str]:
    """Run a Swift below a folder; yields the address of its S3 interface."""
    python = python_with("swift", FOLDER / "requirements.txt")
    ports = {kind: _free_port() for kind in (*_BACKENDS, "proxy")}
    (folder / "disk").mkdir(parents=True)
    (folder / "swift.conf").write_text(_CLUSTER)
    rings: list[str | Path] = [
        python,
        FOLDER / "rings.py",
        folder,
        *(str(ports[kind]) for kind in _BACKENDS),
    ]
    subprocess.run(rings, check=True)
    with ExitStack() as servers:
        for kind, port in ports.items():
            body = _PROXY if kind == "proxy" else _BACKEND.format(kind=kind)
            head = _DEFAULT.format(port=port, folder=folder, user=getpass.getuser())
            (folder / f"{kind}.conf").write_text(head + body)
            servers.enter_context(_server(python, folder, kind, port))
        yield f"http://127.0.0.1:{ports['proxy']}"


@contextmanager
def _server(python: Path, folder: Path, kind: str, port: int) -> Iterator[None]:
    log = folder / f"{kind}.log"
    command = [python.with_name(f"swift-{kind}-server"), folder / f"{kind}.conf"]
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            while not _answers(port):
                assert process.poll() is None, log.read_text()
                time.sleep(0.02)
            yield
        finally:
            process.kill()


def keeps_attributes(folder: Path) -> bool:
    """Whether files of a folder can have user attributes, in which Swift keeps what it knows."""
    try:
        os.setxattr(folder, "user.datanode", b"1")
    except OSError:
        return False
    return True


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
