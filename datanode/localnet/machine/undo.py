"""The undo log: what a message overwrote, on disk before it is overwritten.

File, little-endian::

    offset size field
         0    4 magic "DNUL"
         4    1 version, 1
         5    1 state: 0 idle, 1 a message is under way or prepared
         6    2 reserved, zero
         8    8 sequence of that message
        16    8 end of the valid entries, an offset in this file
        24    - reserved, zero, up to 4,096
      4096    - entries, each: 1 target, 1 kind (0 bytes, 1 zeros), 6 zero, 8 offset, 8 length,
                then `length` bytes unless the kind is zeros

The header page is mapped. Magic and version are written once. An entry is written first, then the
end moves over it by one store of eight bytes, then the bytes that it saves are overwritten. One
store: `struct.pack_into` clears the bytes before it fills them, and a kill in between would leave
an end of zero; an item of a cast memoryview is copied whole. A process that dies between any two
of these steps leaves a log whose entries are whole and cover every byte that changed, because the
kernel keeps what a killed process wrote. A power failure does not keep that order: nothing is
synced, and the embedded network does not survive one.
"""

import errno
import mmap
import os
import struct
from collections.abc import Iterator, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Final

from datanode.errors import UnsupportedVersionError
from datanode.units import MIB

_MAGIC: Final = b"DNUL"
_VERSION: Final = 1
_HEADER_BYTES: Final = 4096
_HEADER: Final = struct.Struct("<4sBBHQQ")
_ENTRY: Final = struct.Struct("<BB6xQQ")
_STATE_AT: Final = 5
_SEQUENCE_WORD: Final = 1
_END_WORD: Final = 2
_KEPT_BYTES: Final = 64 * MIB
_PIECE_BYTES: Final = 4 * MIB
_BYTES, _ZEROS = 0, 1
_IDLE, _ACTIVE = 0, 1


class UndoFile(IntEnum):
    """The file that an entry belongs to."""

    HEAD = 0
    STABLE = 1
    HEAP = 2
    SNAPSHOT = 3


def extents(descriptor: int, offset: int, length: int) -> Iterator[tuple[bool, int, int]]:
    """Split a range of a sparse file into (holds data, start, end) parts."""
    end = offset + length
    while offset < end:
        try:
            data = min(os.lseek(descriptor, offset, os.SEEK_DATA), end)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            data = end
        if data > offset:
            yield False, offset, data
            offset = data
        if offset < end:
            offset = min(os.lseek(descriptor, data, os.SEEK_HOLE), end)
            yield True, data, offset


class UndoLog:
    """The undo log of one canister.

    Args:
        path: Its file; created when absent.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(self._descriptor).st_size < _HEADER_BYTES:
            # Bytes, not a hole: a store into a mapped hole of a full disk kills the process.
            header = _HEADER.pack(_MAGIC, _VERSION, _IDLE, 0, 0, _HEADER_BYTES)
            write_all(self._descriptor, header.ljust(_HEADER_BYTES, b"\0"), 0)
        self._header = mmap.mmap(self._descriptor, _HEADER_BYTES)
        magic, version, state, _, sequence, end = _HEADER.unpack_from(self._header)
        if (magic, version) != (_MAGIC, _VERSION):
            self._header.close()
            os.close(self._descriptor)
            raise UnsupportedVersionError(f"{path.name} is not an undo log of version {_VERSION}")
        self._words = memoryview(self._header).cast("Q")
        self._active = state == _ACTIVE
        self._sequence: int = sequence
        self._end: int = end

    @property
    def sequence(self) -> int | None:
        """Sequence of the message whose log this is; None when there is none."""
        return self._sequence if self._active else None

    def begin(self, sequence: int) -> None:
        """Start the log of a message."""
        self._sequence, self._end, self._active = sequence, _HEADER_BYTES, True
        self._words[_SEQUENCE_WORD] = sequence
        self._words[_END_WORD] = self._end
        self._header[_STATE_AT] = _ACTIVE

    def save(
        self,
        target: UndoFile,
        descriptor: int,
        offset: int,
        length: int,
        mapped: memoryview | None = None,
    ) -> None:
        """Log the present content of a range of a file, which may then be overwritten.

        Args:
            target: Which file it is.
            descriptor: The file.
            offset: Where the range begins.
            length: Its length in bytes.
            mapped: The whole file in memory, if it is mapped: saves reading it.
        """
        at = self._end
        for has_data, start, end in extents(descriptor, offset, length):
            if not has_data:
                entry = _ENTRY.pack(target, _ZEROS, start, end - start)
                at += write_all(self._descriptor, entry, at)
                continue
            for piece in range(start, end, _PIECE_BYTES):
                stop = min(piece + _PIECE_BYTES, end)
                data = mapped[piece:stop] if mapped else os.pread(descriptor, stop - piece, piece)
                entry = _ENTRY.pack(target, _BYTES, piece, len(data))
                at += write_all(self._descriptor, entry, at)
                at += write_all(self._descriptor, data, at)
        self._end = at
        self._words[_END_WORD] = at

    def replay(self, files: Mapping[UndoFile, int], *, since: int = _HEADER_BYTES) -> None:
        """Put back what the entries saved of these files, the last one first; may be repeated."""
        entries = []
        at = since
        while at < self._end:
            target, kind, offset, length = _ENTRY.unpack(
                os.pread(self._descriptor, _ENTRY.size, at)
            )
            at += _ENTRY.size
            if UndoFile(target) in files:
                entries.append((files[UndoFile(target)], kind, offset, length, at))
            at += length if kind == _BYTES else 0
        for descriptor, kind, offset, length, at in reversed(entries):
            if kind == _BYTES:
                write_all(descriptor, os.pread(self._descriptor, length, at), offset)
            else:
                clear(descriptor, offset, length)

    @property
    def mark(self) -> int:
        """How long the log is: a place to `rewind` to."""
        return self._end

    def rewind(self, mark: int, files: Mapping[UndoFile, int]) -> None:
        """Put back what was saved since a mark, and forget it."""
        self.replay(files, since=mark)
        self._end = mark
        self._words[_END_WORD] = mark

    def end(self) -> None:
        """Forget the message: its changes stay as they are."""
        self._header[_STATE_AT] = _IDLE
        self._active = False
        if self._end > _KEPT_BYTES:
            os.ftruncate(self._descriptor, _HEADER_BYTES)

    def close(self) -> None:
        """Release the file."""
        self._words.release()
        self._header.close()
        os.close(self._descriptor)


def write_all(descriptor: int, data: bytes | memoryview, offset: int) -> int:
    """Write all of some bytes at an offset; return how many they are."""
    view = memoryview(data)
    while view:
        view = view[os.pwrite(descriptor, view, offset + len(data) - len(view)) :]
    return len(data)


def clear(descriptor: int, offset: int, length: int) -> None:
    """Zero the parts of a range that hold data: that needs no room on the disk."""
    for has_data, start, end in list(extents(descriptor, offset, length)):
        if has_data:
            for piece in range(start, end, _PIECE_BYTES):
                write_all(descriptor, bytes(min(_PIECE_BYTES, end - piece)), piece)
