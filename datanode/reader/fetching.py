"""Back from the node to the disk: files byte for byte, or one tensor.

A file is written beside its place (`destination.py`), fsynced, compared with the SHA-256 of the
manifest, and only then renamed. Every place is checked before the first byte is fetched. After an
interruption the unfinished file is read again, its good chunks are kept, and the rest is fetched.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from datanode.digest import content_digest
from datanode.errors import CorruptionError, NotFoundError
from datanode.files import disk_errors
from datanode.globs import is_chosen
from datanode.manifest import FileEntry, TensorEntry
from datanode.reader.destination import check_place, finish, place_of, unfinished
from datanode.reader.tensors import read_tensor
from datanode.reader.version import JOBS, VerifiedVersion

if TYPE_CHECKING:
    from hashlib import _Hash

_SAFE: Final = "Finished files are whole; an unfinished one is continued."


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSummary:
    """Summary of a fetch.

    Attributes:
        files_count: Files of the version that were asked for.
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
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    jobs: int = JOBS,
    on_bytes: Callable[[int, int], object] = lambda _done, _total: None,
) -> FetchSummary:
    """Rebuild the files of a version below a folder.

    Args:
        version: What to fetch.
        destination: A folder; it is made when needed. Files of the same content are left alone.
        include: Globs; when given, only files that match one are fetched.
        exclude: Globs; files that match one are not fetched.
        jobs: Queries in flight.
        on_bytes: Called with the bytes that are in place, and their total.

    Raises:
        NotFoundError: No file matches.
        CorruptionError: A chunk or a file is not what the manifest names.
        DiskFullError: No space is left; finished files are whole.
        DestinationError: Something lies in a place that is not replaced; nothing was fetched.
        UsageError: The destination cannot be written, or another process is writing to it.
    """
    files = [entry for entry in version.head.files if is_chosen(entry.path, include, exclude)]
    if not files and (include or exclude):
        raise NotFoundError(
            f"no file of {version.model} matches",
            hint=f"`datanode show {version.model}` lists its files.",
        )
    total_bytes = sum(entry.length_bytes for entry in files)
    skipped = fetched = done = 0

    def arrived(count: int) -> None:
        nonlocal done
        done += count
        on_bytes(done, total_bytes)

    with disk_errors(destination, safe=_SAFE):
        places = [place_of(destination, entry.path) for entry in files]
    for entry, place in zip(files, places, strict=True):
        with disk_errors(place, safe=_SAFE):
            if _is_there(place, entry):
                skipped += 1
                arrived(entry.length_bytes)
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            fetched += _fetch_file(version, entry, place, jobs, arrived)
    return FetchSummary(
        files_count=len(files),
        skipped_count=skipped,
        raw_bytes=total_bytes,
        fetched_bytes=fetched,
    )


def fetch_tensor(
    version: VerifiedVersion,
    name: str,
    destination: Path,
    *,
    jobs: int = JOBS,
    on_bytes: Callable[[int, int], object] = lambda _done, _total: None,
) -> TensorEntry:
    """Write one tensor's raw little-endian bytes to a file.

    Args:
        version: Holds the tensor.
        name: Name of the tensor.
        destination: The file.
        jobs: Queries in flight.
        on_bytes: Called with the bytes that are written, and their total.

    Returns:
        Its entry: dtype and shape say how to read the bytes.

    Raises:
        NotFoundError: There is no such tensor.
        CorruptionError: A chunk is not what the manifest names.
        DestinationError: Something lies in the place that is not replaced.
        DiskFullError: No space is left; the old file is unchanged.
    """
    with disk_errors(destination):
        check_place(destination)
    entry = version.tensor(name)
    parts = read_tensor(version, entry, jobs=jobs)
    with disk_errors(destination), unfinished(destination) as aside:
        aside.truncate(0)
        for raw in parts:
            aside.write(raw)
            on_bytes(aside.tell(), entry.length_bytes)
        finish(aside, destination)
    return entry


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
    with unfinished(place) as aside:
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
        finish(aside, place)
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
