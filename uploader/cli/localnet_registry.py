"""Folders of embedded networks that this user started, so that one is found from anywhere.

`STATE/localnets` holds a file a network, named by the SHA-256 of its folder, with the folder's path
as UTF-8. It is a hint: a network runs where the lock of its folder is held.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from datanode.files import disk_errors, replace_file
from datanode.folders import state_folder
from datanode.localnet import process

_FOLDER: Final = "localnets"


def remember(state_dir: Path) -> None:
    """Remember a network's folder.

    Raises:
        DiskFullError: No space is left.
    """
    path = str(state_dir.resolve()).encode("utf-8", "surrogateescape")
    place = state_folder() / _FOLDER / hashlib.sha256(path).hexdigest()
    with disk_errors(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        replace_file(place, path)


def running() -> Iterator[process.RunningProcess]:
    """Find the networks that run, wherever they were started."""
    for place in sorted((state_folder() / _FOLDER).glob("*")):
        try:
            state_dir = Path(place.read_bytes().decode("utf-8", "surrogateescape"))
        except OSError:
            continue
        if not state_dir.is_dir():
            place.unlink(missing_ok=True)
        elif (found := process.status(state_dir)) is not None:
            yield found
