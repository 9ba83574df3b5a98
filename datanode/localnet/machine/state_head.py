"""The head of a canister's folder: which files hold its state, and how long they are.

File `head.bin`, little-endian::

    offset size field
         0    4 magic "DNHD"
         4    1 version, 1
         5    1 flags: bit 0, a module is installed
         6    2 reserved, zero
         8    8 generation of the heap: file `heap-<n>.bin`
        16    8 generation of the stable memory: file `stable-<n>.bin`
        24    8 pages of the stable memory, 64 KiB each
        32    8 pages of the heap
        40   32 SHA-256 of the module as given: file `module-<hex>.wasm`
        72    4 count of globals, u32
        76 17*n mutable globals: kind of the value, 16 bytes of it

Files that the head does not name are leftovers and are deleted.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from datanode.errors import FormatError, UnsupportedVersionError
from datanode.localnet.machine.instance import GLOBAL_BYTES

_MAGIC: Final = b"DNHD"
_VERSION: Final = 1
_LAYOUT: Final = struct.Struct("<4sBBHQQQQ32sI")
_INSTALLED: Final = 1
NAME: Final = "head.bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Files that make up a canister's state.

    Attributes:
        heap_generation: Number in the name of the heap mirror.
        stable_generation: Number in the name of the stable memory.
        stable_pages: Size of the stable memory, Wasm pages.
        heap_pages: Size of the heap, Wasm pages.
        module_hash: SHA-256 of the module as given; None when there is none.
        globals: Saved mutable globals.
    """

    heap_generation: int = 0
    stable_generation: int = 0
    stable_pages: int = 0
    heap_pages: int = 0
    module_hash: bytes | None = None
    globals: bytes = b""

    def pack(self) -> bytes:
        """Return the file's content."""
        return (
            _LAYOUT.pack(
                _MAGIC,
                _VERSION,
                _INSTALLED if self.module_hash else 0,
                0,
                self.heap_generation,
                self.stable_generation,
                self.stable_pages,
                self.heap_pages,
                self.module_hash or bytes(32),
                len(self.globals) // GLOBAL_BYTES,
            )
            + self.globals
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the file's content; bytes after the last global are ignored.

        Raises:
            UnsupportedVersionError: Another version wrote it.
            FormatError: It is not a head.
        """
        if len(data) < _LAYOUT.size or not data.startswith(_MAGIC):
            raise FormatError("the canister's head.bin is damaged")
        _, version, flags, _, heap, stable, stable_pages, heap_pages, module, count = (
            _LAYOUT.unpack_from(data)
        )
        if version != _VERSION:
            raise UnsupportedVersionError(f"head.bin has version {version}, not {_VERSION}")
        saved = data[_LAYOUT.size : _LAYOUT.size + count * GLOBAL_BYTES]
        if len(saved) != count * GLOBAL_BYTES:
            raise FormatError("the canister's head.bin is cut short")
        return cls(
            heap_generation=heap,
            stable_generation=stable,
            stable_pages=stable_pages,
            heap_pages=heap_pages,
            module_hash=module if flags & _INSTALLED else None,
            globals=saved,
        )


class HeadFile:
    """The file of the head, in a canister's folder.

    Attributes:
        descriptor: The open file, for the undo log.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / NAME
        if not path.exists():
            part = folder / f"{NAME}.part"
            part.write_bytes(Head().pack())
            part.replace(path)
        self.descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    @property
    def size(self) -> int:
        """Length of the file, bytes."""
        return os.fstat(self.descriptor).st_size

    def read(self) -> Head:
        """Read the head."""
        return Head.parse(os.pread(self.descriptor, self.size, 0))

    def write(self, head: Head) -> None:
        """Write the head in place; its former content is in the undo log."""
        os.pwrite(self.descriptor, head.pack(), 0)

    def close(self) -> None:
        """Release the file."""
        os.close(self.descriptor)
