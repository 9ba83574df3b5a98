"""Runs the server of a state folder in this process, until it is told to stop."""

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from datanode.errors import LocalNetworkError
from datanode.localnet.gateway import http
from datanode.localnet.gateway.application import Application
from datanode.localnet.gateway.ic_interface import Interface
from datanode.localnet.state.network_state import NetworkState, cache_folder
from datanode.localnet.state.state_folder import DESCRIPTION, LOCK
from datanode.localnet.state.subnet import SubnetChoice

HOST: Final = "127.0.0.1"
_BACKLOG: Final = 256
_KEEP_ALIVE_S: Final = 300
"""Longer than clients pause between two messages: a connection that closes just when it is used
again leaves them in doubt."""
_UMASK: Final = 0o077
"""Files of a network hold seeds, arguments of calls and memories: they are their owner's alone."""
MAX_HEAD_BYTES: Final = 65_536
"""Largest request line with headers. Ours."""
MAX_HEADERS: Final = 100
MAX_OVERHEAD_BYTES: Final = 512 * 1024
"""Most bytes of a request beside its body: headers, trailers, extensions of chunks. Ours: more than
one piece that the server reads at once."""
_log: Final = logging.getLogger("datanode.localnet")


class _Protocol(HttpToolsProtocol):
    """HTTP with bounded headers, and a way to cut the connection, for faults on cue."""

    _overhead_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Refuse a request whose headers, trailers or chunk extensions do not end."""
        self._overhead_bytes += len(data)
        super().data_received(data)
        if self._overhead_bytes > MAX_OVERHEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The request's headers are too large.")

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= MAX_HEADERS:
            raise ValueError("too many headers")  # answered with 400 by the base class
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        head_bytes = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if head_bytes > MAX_HEAD_BYTES:
            raise ValueError("headers too large")
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        # A byte of body in a chunk of its own costs five of framing.
        self._overhead_bytes -= min(self._overhead_bytes, 8 * len(body))
        super().on_body(body)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._overhead_bytes = 0
        cast("http.Event", self.scope)[http.ABORT] = self.transport.abort


def serve(state_dir: Path, *, port: int, subnet: SubnetChoice) -> None:
    """Serve until SIGINT or SIGTERM.

    While it runs, the folder holds `network.json` with the address, the root key and the process.

    Args:
        state_dir: State folder; created when absent.
        port: Where to listen on the loopback; 0 picks a free port.
        subnet: What kind of subnet it is to stand for.

    Raises:
        LocalNetworkError: The folder is in use, or the port.
    """
    os.umask(_UMASK)
    state_dir.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    _log.setLevel(logging.INFO)
    with _locked(state_dir), _listening(port) as listener:
        (state_dir / DESCRIPTION).unlink(missing_ok=True)
        network = NetworkState(state_dir, module_cache=_cache(state_dir), subnet=subnet)
        application = Application(Interface(network))
        server = uvicorn.Server(
            uvicorn.Config(
                application,
                http=_Protocol,
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=5,
            )
        )
        url = _describe(state_dir, network, listener.getsockname()[1])
        _log.info("the embedded network answers at %s", url)
        try:
            with _stopped_by_signals(server):
                _run(server, listener)
        finally:
            (state_dir / DESCRIPTION).unlink(missing_ok=True)


def _run(server: uvicorn.Server, listener: socket.socket) -> None:
    serving = server.serve(sockets=[listener])
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        asyncio.run(serving)
    else:
        uvloop.run(serving)


@contextlib.contextmanager
def _stopped_by_signals(server: uvicorn.Server) -> Iterator[None]:
    """Let a signal stop the server also before uvicorn listens for it, and after it did.

    uvicorn raises the signal that stopped it once more, when nothing is left to stop.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _describe(state_dir: Path, network: NetworkState, port: int) -> str:
    """Tell other processes where the network is; returns its address."""
    url = f"http://{HOST}:{port}"
    text = json.dumps(
        {
            "url": url,
            "root_key": network.topology.root_key.hex(),
            "subnet": network.topology.subnet_id.text,
            "pid": os.getpid(),
        },
        indent=1,
    )
    part = state_dir / f"{DESCRIPTION}.part"
    part.write_text(f"{text}\n")
    part.replace(state_dir / DESCRIPTION)
    return url


@contextlib.contextmanager
def _locked(state_dir: Path) -> Iterator[None]:
    """Hold the folder; the system lets go of it when the process ends, however it ends."""
    with (state_dir / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise LocalNetworkError(f"a network is already running in {state_dir}") from error
        yield


@contextlib.contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            raise LocalNetworkError(
                f"port {port} is in use: {error.strerror}",
                hint="Choose another one with --port, or 0 for any.",
            ) from error
        listener.listen(_BACKLOG)
        yield listener


def _cache(state_dir: Path) -> Path | None:
    """Use the user's cache of compiled modules where it can be written."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return state_dir / "modules"
    return folder if os.access(folder, os.W_OK) else state_dir / "modules"
