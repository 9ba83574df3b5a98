"""Compiled modules on disk, shared by all networks of a user and safe between processes.

File `<key>.module`, little-endian::

    offset size field
         0    4 magic "DNCM"
         4    4 length of the notes, u32
         8   32 SHA-256 of everything behind it
        40    - the notes, JSON: what the instrumenter found
         -    - the engine's serialized code, to the end

The engine trusts the code that it is given, so a byte that rotted must be found here: whatever is
not what was written counts as absent. Entries are written aside and renamed, so a reader sees a
whole one or none, and are read whole before use, so another process may delete them at any time.

The folder is bounded: the entries that were used longest ago give way to a new one.
"""

import contextlib
import hashlib
import os
import struct
import threading
import time
from pathlib import Path
from typing import Final

from datanode.units import HOUR_S, MIB

MOST_BYTES: Final = 512 * MIB
"""How much of a disk compiled modules may take: a hundred times the storage canister's."""

_MAGIC: Final = b"DNCM"
_HEADER: Final = struct.Struct("<4sI32s")
_SUFFIX: Final = ".module"


def load(folder: Path, key: str) -> tuple[bytes, bytes] | None:
    """Return the notes and the code of an entry; None when there is none that is whole."""
    path = folder / f"{key}{_SUFFIX}"
    try:
        data = path.read_bytes()
        os.utime(path)
    except OSError:
        return None
    if len(data) < _HEADER.size:
        return None
    magic, notes_bytes, digest = _HEADER.unpack_from(data)
    body = memoryview(data)[_HEADER.size :]
    if magic != _MAGIC or hashlib.sha256(body).digest() != digest:
        return None
    return bytes(body[:notes_bytes]), bytes(body[notes_bytes:])


def keep(
    folder: Path, key: str, notes: bytes, code: bytes, *, most_bytes: int = MOST_BYTES
) -> None:
    """Write an entry; a disk that is full or read-only costs the cache, and nothing else."""
    digest = hashlib.sha256(notes + code).digest()
    part = folder / f"{key}.{os.getpid()}-{threading.get_ident()}.part"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(_HEADER.pack(_MAGIC, len(notes), digest) + notes + code)
            part.replace(folder / f"{key}{_SUFFIX}")
        finally:
            part.unlink(missing_ok=True)
        _make_room(folder, most_bytes)


def _make_room(folder: Path, most_bytes: int) -> None:
    """Delete what was used longest ago, and what killed processes and older releases left."""
    entries = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            found = path.stat()
            if path.suffix == _SUFFIX:
                entries.append((found.st_mtime_ns, found.st_size, path))
            elif found.st_mtime < time.time() - HOUR_S:
                path.unlink()
    left_bytes = most_bytes
    for _, size_bytes, path in sorted(entries, reverse=True):
        left_bytes -= size_bytes
        if left_bytes < 0:
            path.unlink(missing_ok=True)
