"""Read a range of a file that lies behind a network, again from where a connection broke."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import TypeAlias

from datanode.agent.retry import retrying
from datanode.errors import NetworkError, TruncatedSourceError
from uploader.source.base import PinnedFile

OpenRange: TypeAlias = Callable[[PinnedFile, int, int], AbstractContextManager[Iterator[bytes]]]
"""Opens the bytes of a file from a start to an end, in parts; never more than these."""


def read_range(
    open_range: OpenRange,
    file: PinnedFile,
    offset_bytes: int,
    length_bytes: int,
    *,
    sleep: Callable[[float], None],
) -> bytes:
    """Return exactly `length_bytes` bytes of a pinned file.

    Args:
        open_range: Opens a range.
        file: The file.
        offset_bytes: First byte.
        length_bytes: How many.
        sleep: Waits between attempts, seconds.

    Raises:
        TruncatedSourceError: The file ends before the range does.
        DataNodeError: As `open_range`; a network error only after several attempts.
    """
    end = offset_bytes + length_bytes
    if end > file.length_bytes:
        raise TruncatedSourceError(
            f"{file.path} ends {end - file.length_bytes} bytes early, at {file.length_bytes}"
        )
    data = bytearray()
    while len(data) < length_bytes:
        retrying(partial(_read_on, open_range, file, offset_bytes, end, data), sleep=sleep)
    return bytes(data)


def _read_on(
    open_range: OpenRange, file: PinnedFile, start: int, end: int, data: bytearray, /
) -> None:
    """Add bytes to what was read from `start` on; a break after some bytes is no failure."""
    before = len(data)
    try:
        with open_range(file, start + before, end) as parts:
            for part in parts:
                data += part
    except NetworkError:
        if len(data) == before:
            raise
