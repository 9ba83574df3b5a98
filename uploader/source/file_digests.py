"""Digests of the files of a source, of each as a whole."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from datanode.units import MIB
from uploader.source.base import Source

_PIECE_BYTES: Final = 8 * MIB


@dataclass(frozen=True, slots=True)
class FileDigest:
    """A file of a source.

    Attributes:
        path: Its path below the source.
        sha256: Digest of its bytes.
    """

    path: str
    sha256: bytes


def digest_files(source: Source, stage: Callable[[str], object]) -> list[FileDigest]:
    """Read every file once.

    Args:
        source: The files.
        stage: Told the path of each file before it is read.

    Raises:
        SourceChangedError: A file changed while the others were read.
    """
    found = []
    for index, file in enumerate(source.files()):
        stage(file.path)
        sha256 = hashlib.sha256()
        for at in range(0, file.length_bytes, _PIECE_BYTES):
            sha256.update(source.read(index, at, min(_PIECE_BYTES, file.length_bytes - at)))
        source.check_digest(index, sha256.digest())
        found.append(FileDigest(file.path, sha256.digest()))
    source.check_unchanged()
    return found
