"""Files on this machine's disk: a folder, walked with its links held inside it.

A link is followed if it stays inside the folder, or if the folder is part of a snapshot of a hub
cache and the link leads into that snapshot or its blobs; or if the operator asks for it.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from datanode.errors import SourceError
from datanode.text import shown
from uploader.source import pinned
from uploader.source.base import PinnedFile
from uploader.source.hub_cache import blobs_of

_MAX_DEPTH: Final = 16


class Folder:
    """The files below a folder.

    Args:
        location: Where it lies, as the operator named it.
        root: The folder.
        confined: Refuse links that lead out of it; false if the operator named the files one by
            one.
        follow_links: Walk into folders that are links, too.
        ignore_inode: Do not compare inode numbers.
    """

    def __init__(
        self,
        location: str,
        root: Path,
        *,
        confined: bool,
        follow_links: bool = False,
        ignore_inode: bool = False,
    ) -> None:
        self._location = location
        self._root = root
        self._allowed = _allowed_roots(root) if confined else ()
        self._follow_links = follow_links
        self._ignore_inode = ignore_inode

    @property
    def location(self) -> str:
        """Where it lies, as the operator named it."""
        return self._location

    def names(self) -> Iterator[str]:
        """List every file and link below the folder, hidden ones left out."""
        return _walk(self._root, follow_links=self._follow_links)

    def holds(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self._root / name).is_file()

    def pin(self, name: str) -> PinnedFile:
        """Note what a file looks like now."""
        path = self._root / name
        if self._allowed:
            _check_link(name, path, self._allowed)
        return pinned.pin(path, name, ignore_inode=self._ignore_inode)

    def read(self, file: PinnedFile, offset_bytes: int, length_bytes: int) -> bytes:
        """Return exactly `length_bytes` bytes of a pinned file."""
        return pinned.read_exact(self._root / file.path, file, offset_bytes, length_bytes)

    def check(self, file: PinnedFile) -> None:
        """Compare a file with its pin."""
        pinned.check(self._root / file.path, file)

    @contextmanager
    def opened(self, file: PinnedFile, head: bytes) -> Iterator[Path]:  # noqa: ARG002 - a port
        """Give the path of the file itself."""
        yield self._root / file.path

    def close(self) -> None:
        """Do nothing: no file stays open between reads."""


def _walk(
    root: Path, prefix: str = "", depth: int = 0, *, follow_links: bool = False
) -> Iterator[str]:
    """Yield the names of regular files and links, hidden ones left out."""
    if depth > _MAX_DEPTH:
        raise SourceError(
            f"{shown(prefix)} lies more than {_MAX_DEPTH} folders deep",
            hint="A link that leads back to its own folder does that, too.",
        )
    try:
        with os.scandir(root) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        raise SourceError(f"{shown(str(root))} cannot be read: {error.strerror}") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        name = prefix + entry.name
        if entry.is_dir(follow_symlinks=follow_links):
            yield from _walk(Path(entry.path), f"{name}/", depth + 1, follow_links=follow_links)
        elif entry.is_symlink() or entry.is_file():
            yield name


def _allowed_roots(root: Path) -> tuple[Path, ...]:
    """Where links of a folder may lead: inside it, or to the snapshot and blobs of a hub cache."""
    real = root.resolve()
    return (real, *blobs_of(real))


def _check_link(name: str, path: Path, allowed: Sequence[Path]) -> None:
    if not path.is_symlink():
        return
    try:
        target = path.resolve()
    except (OSError, RuntimeError) as error:
        raise SourceError(f"{shown(name)} is a link that leads nowhere") from error
    if not any(target.is_relative_to(root) for root in allowed):
        raise SourceError(
            f"{shown(name)} is a link that leads out of the folder, to {shown(str(target))}",
            hint="Run with --follow-links to follow it, or leave it out with --exclude.",
        )
    if target.is_dir():
        raise SourceError(
            f"{shown(name)} is a link to a folder",
            hint="Run with --follow-links to follow it, or leave it out with --exclude.",
        )
