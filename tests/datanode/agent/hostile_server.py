"""A loopback server that reads a request and then talks as a test likes."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Talk = Callable[[socket.socket], None]


@contextmanager
def talking(talk: Talk, *, reads: bool = True) -> Iterator[str]:
    """Serve one connection after the other; `reads` waits for the end of a request's headers."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(5)
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                try:
                    received = b""
                    while reads and b"\r\n\r\n" not in received:
                        received += connection.recv(65_536)
                    if not stopped.is_set():
                        talk(connection)
                except OSError:
                    continue

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stopped.set()
        # Wakes the thread out of accept.
        with socket.create_connection(listener.getsockname()) as wake:
            wake.sendall(b"\r\n\r\n")
        thread.join()
        listener.close()
