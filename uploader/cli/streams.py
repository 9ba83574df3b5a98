"""Standard streams for the duration of a command: open, encodable, and never broken in silence.

A stream whose reader has gone away must not end in exit code 0, and must not stop work that is
under way either: stdout raises `OutputClosedError`, stderr goes on and remembers what it lost.
"""

import contextlib
import errno
import os
import sys
import threading
from collections.abc import Iterator
from typing import Final, TextIO, cast

from datanode.errors import OutputClosedError

_CLOSED: Final = frozenset({errno.EPIPE, errno.EBADF})
_STANDARD_DESCRIPTORS: Final = (0, 1, 2)


class GuardedStream:
    """A text stream that notices when nothing it is given arrives any more.

    Args:
        stream: The stream; None if the process was started without it.
        is_result: The stream carries results: a loss is raised, not only remembered.

    Attributes:
        is_lost: Text was lost because the stream is closed.
        only_thread: The one thread whose text is written; None: all.
    """

    def __init__(self, stream: TextIO | None, *, is_result: bool) -> None:
        self._stream = stream
        self._is_result = is_result
        self._has_failed = False
        self.is_lost = False
        self.only_thread: threading.Thread | None = None

    def write(self, text: str) -> int:
        """Write text.

        Raises:
            OutputClosedError: The stream carries results and is closed.
        """
        if self.only_thread not in {None, threading.current_thread()}:
            return len(text)
        if self._stream is None:
            if text:
                self._lose("standard output is closed")
            return len(text)
        with self._noticing():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush buffered text.

        Raises:
            OutputClosedError: As `write`.
        """
        if self._stream is not None:
            with self._noticing():
                self._stream.flush()

    def isatty(self) -> bool:
        """Tell whether the stream is a terminal."""
        return self._stream is not None and self._stream.isatty()

    @property
    def encoding(self) -> str:
        """Encoding of the stream."""
        return "utf-8" if self._stream is None else self._stream.encoding

    def __getattr__(self, name: str) -> object:
        if self._stream is None:
            raise AttributeError(name)
        return getattr(self._stream, name)

    def discard(self) -> None:
        """Drop what a stream that failed still buffers: the interpreter would flush it again."""
        if self._stream is None or not self._has_failed:
            return
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    @contextlib.contextmanager
    def _noticing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._has_failed = True
            if error.errno not in _CLOSED:
                raise
            self._lose("")

    def _lose(self, what: str) -> None:
        self.is_lost = True
        if self._is_result:
            raise OutputClosedError(what)


@contextlib.contextmanager
def guarded_streams() -> Iterator[tuple[GuardedStream, GuardedStream]]:
    """Guard stdout and stderr while the block runs.

    Characters that a stream cannot encode are escaped. Missing descriptors 0 to 2 are opened, for
    otherwise the next file that is opened takes their number, and the messages of a library.
    """
    _open_missing_descriptors()
    before = sys.stdout, sys.stderr
    for stream in before:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    out = GuardedStream(before[0], is_result=True)
    err = GuardedStream(before[1], is_result=False)
    sys.stdout, sys.stderr = cast("TextIO", out), cast("TextIO", err)
    try:
        yield out, err
    finally:
        sys.stdout, sys.stderr = before
        out.discard()
        err.discard()


def _open_missing_descriptors() -> None:
    for descriptor in _STANDARD_DESCRIPTORS:
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is taken: this one.
            os.open(os.devnull, os.O_RDWR)
