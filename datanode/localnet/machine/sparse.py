"""Copies sparse files inside the kernel: holes stay holes, blocks are shared where that can be.

Nothing of a file passes through this process, so copying a stable memory of any size takes no
memory here. Where the kernel cannot copy between two files, the bytes are read and written.
"""

import errno
import os
from pathlib import Path
from typing import Final

from datanode.localnet.machine.undo import extents, write_all
from datanode.units import GIB, MIB

_STEP_BYTES: Final = GIB
_PIECE_BYTES: Final = 4 * MIB
_CANNOT: Final = (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)
_BLOCK_BYTES: Final = 512


def copy(source: Path, target: Path, length: int) -> None:
    """Make a file of a length whose content is that of another; one that is there is replaced.

    Raises:
        OSError: A file could not be read or written; the target may then hold a part.
    """
    read = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        write = os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            for has_data, start, end in extents(read, 0, length):
                if has_data:
                    _copy_range(read, write, start, end)
            os.ftruncate(write, length)
        finally:
            os.close(write)
    finally:
        os.close(read)


def empty(target: Path, length: int) -> None:
    """Make a file of a length that is one hole."""
    descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(descriptor, length)
    finally:
        os.close(descriptor)


def disk_bytes(path: Path) -> int:
    """How much room a file takes on the disk."""
    return path.stat().st_blocks * _BLOCK_BYTES


def _copy_range(read: int, write: int, start: int, end: int) -> None:
    at = start
    while at < end:
        try:
            count = os.copy_file_range(read, write, min(end - at, _STEP_BYTES), at, at)
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
            count = write_all(write, os.pread(read, min(end - at, _PIECE_BYTES), at), at)
        if not count:
            return
        at += count
