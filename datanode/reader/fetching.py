"""Back from the node to the disk: files byte for byte, or one tensor.

A file is written beside its place, under a name that no manifest can contain (`~` is not among its
letters), fsynced, compared with the SHA-256 of the manifest, and only then renamed. After an
interruption the unfinished file is read again, its good chunks are kept, and the rest is fetched.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from datanode.digest import content_digest
from datanode.errors import CorruptionError, UsageError
from datanode.files import disk_errors, sync_folder
from datanode.manifest import FileEntry, TensorEntry
from datanode.reader.version import JOBS, VerifiedVersion

if TYPE_CHECKING:
    from hashlib import _Hash

_ASIDE: Final = "~datanode"
_SAFE: Final = "Finished files are whole; an unfinished one is continued."


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSummary:
    """What a fetch came to.

    Attributes:
        files_count: Files of the version.
        skipped_count: Of those, files that were there, byte for byte.
        raw_bytes: Bytes of all files.
        fetched_bytes: Of those, bytes that came from the node now.
    """

    files_count: int
    skipped_count: int
    raw_bytes: int
    fetched_bytes: int


def fetch_model(
    version: VerifiedVersion,
    destination: Path,
    *,
    jobs: int = JOBS,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> FetchSummary:
    """Rebuild every file of a version below a folder.

    Args:
        version: What to fetch.
        destination: A folder; it is made when needed. Files of the same content are left alone.
        jobs: Queries in flight.
        on_bytes: Called with each number of bytes that are in place now.

    Raises:
        CorruptionError: A chunk or a file is not what the manifest names.
        DiskFullError: No space is left; finished files are whole.
        UsageError: The destination cannot be written, or somebody else is writing to it.
    """
    skipped = fetched = 0
    for entry in version.head.files:
        place = _place(destination, entry.path)
        with disk_errors(place, safe=_SAFE):
            if _is_there(place, entry):
                skipped += 1
                on_bytes(entry.length_bytes)
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            fetched += _fetch_file(version, entry, place, jobs, on_bytes)
    return FetchSummary(
        files_count=len(version.head.files),
        skipped_count=skipped,
        raw_bytes=version.raw_bytes,
        fetched_bytes=fetched,
    )


def fetch_tensor(
    version: VerifiedVersion, name: str, destination: Path, *, jobs: int = JOBS
) -> TensorEntry:
    """Write one tensor's raw little-endian bytes to a file.

    Returns:
        Its entry: dtype and shape say how to read the bytes.

    Raises:
        NotFoundError: There is no such tensor.
        CorruptionError: A chunk is not what the manifest names.
        DiskFullError: No space is left; the old file is unchanged.
    """
    entry = version.tensor(name)
    chunks = range(entry.first_chunk, entry.first_chunk + entry.chunk_count)
    with disk_errors(destination), _aside(destination) as aside:
        aside.truncate(0)
        for raw in version.chunks(chunks, jobs=jobs):
            aside.write(raw)
        _finish(aside, destination)
    return entry


def _place(destination: Path, path: str) -> Path:
    """Find where a file goes; a link inside the destination must not lead out of it."""
    place = destination / path
    try:
        is_inside = place.parent.resolve().is_relative_to(destination.resolve())
    except (OSError, RuntimeError) as error:  # RuntimeError: how Python 3.12 calls a circle
        raise UsageError(f"{place.parent} leads nowhere: {error}") from error
    if not is_inside:
        raise UsageError(f"{place.parent} leads out of {destination}: nothing is written there")
    return place


def _is_there(place: Path, entry: FileEntry) -> bool:
    if not place.is_file() or place.stat().st_size != entry.length_bytes:
        return False
    with place.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest() == entry.sha256


def _fetch_file(
    version: VerifiedVersion,
    entry: FileEntry,
    place: Path,
    jobs: int,
    on_bytes: Callable[[int], None],
) -> int:
    """Complete one file; returns the bytes that came from the node."""
    with _aside(place) as aside:
        kept, sha256 = _resume(version, entry, aside)
        kept_bytes = aside.tell()
        on_bytes(kept_bytes)
        left = range(entry.first_chunk + kept, entry.first_chunk + entry.chunk_count)
        for raw in version.chunks(left, jobs=jobs):
            aside.write(raw)
            sha256.update(raw)
            on_bytes(len(raw))
        length_bytes = aside.tell()
        if length_bytes != entry.length_bytes or sha256.digest() != entry.sha256:
            aside.truncate(0)
            raise CorruptionError(
                f"{entry.path}: its chunks are what the manifest names, and the file is not: "
                "it was sealed wrong",
                safe="No file was replaced.",
            )
        _finish(aside, place)
    return length_bytes - kept_bytes


def _resume(version: VerifiedVersion, entry: FileEntry, aside: BinaryIO) -> "tuple[int, _Hash]":
    """Keep the leading chunks of an unfinished file that are what the manifest names."""
    sha256 = hashlib.sha256()
    kept = end = 0
    if os.fstat(aside.fileno()).st_size:
        for index in range(entry.first_chunk, entry.first_chunk + entry.chunk_count):
            record = version.record(index)
            raw = aside.read(record.raw_bytes)
            if len(raw) != record.raw_bytes or content_digest(raw) != record.content:
                break
            sha256.update(raw)
            kept += 1
            end += len(raw)
    aside.seek(end)
    aside.truncate()
    return kept, sha256


@contextlib.contextmanager
def _aside(place: Path) -> Iterator[BinaryIO]:
    """Open the unfinished file of a place, for this process alone."""
    path = _aside_path(place)
    # A link in its place would make us write somewhere else.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    with os.fdopen(descriptor, "r+b") as file:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _busy(place) from None
        if not _is_still_at(path, descriptor):
            # Whoever had the lock has renamed it to its place: this is the finished file now.
            raise _busy(place)
        yield file


def _busy(place: Path) -> UsageError:
    return UsageError(f"another process is writing {place}")


def _is_still_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _aside_path(place: Path) -> Path:
    return place.with_name(place.name + _ASIDE)


def _finish(aside: BinaryIO, place: Path) -> None:
    aside.flush()
    os.fsync(aside.fileno())
    _aside_path(place).replace(place)
    sync_folder(place.parent)
