"""Progress of cloning a node: a file in the state folder, so that another run goes on.

::

    {"v": 1, "source": text, "module_hash": hex, "was_running": bool, "known": [hex, ...],
     "snapshot": hex or null, "root": hex, "loaded": [text, ...]}

It is written before the source is stopped, and goes when the snapshot is deleted. `known` lists the
snapshots that were there before: one that is not among them was taken by a run whose answer was
lost.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from datanode import record_file
from datanode.errors import UsageError
from datanode.files import disk_errors, locked
from datanode.principal import Principal
from datanode.record_file import RecordFields

_FOLDER: Final = "clones"
_VERSION: Final = 1


@dataclass(slots=True, kw_only=True)
class CloneJournal:
    """Facts about a clone under way.

    Attributes:
        path: The file.
        source: The node that is cloned.
        module_hash: Certified hash of the module that it runs.
        was_running: Whether it ran before it was stopped.
        known: Snapshots that it had before.
        snapshot: The snapshot that copies are loaded from, once it is taken.
        root: Certified data that it holds.
        loaded: Copies that have loaded it.
    """

    path: Path
    source: Principal
    module_hash: bytes
    was_running: bool
    known: tuple[bytes, ...]
    snapshot: bytes | None = None
    root: bytes = b""
    loaded: list[Principal] = field(default_factory=list)

    def write(self) -> None:
        """Make the facts durable.

        Raises:
            DiskFullError: No space is left.
        """
        content = {
            "source": self.source.text,
            "module_hash": self.module_hash.hex(),
            "was_running": self.was_running,
            "known": [each.hex() for each in self.known],
            "snapshot": None if self.snapshot is None else self.snapshot.hex(),
            "root": self.root.hex(),
            "loaded": [each.text for each in self.loaded],
        }
        record_file.write(self.path, content, version=_VERSION)

    def forget(self) -> None:
        """Remove the file: nothing is left to be done."""
        with disk_errors(self.path):
            self.path.unlink(missing_ok=True)


@contextmanager
def journal_path(state_dir: Path, root_key: bytes, source: Principal) -> Iterator[Path]:
    """Hold the clones of one node for the block, and name the file of its journal."""
    name = hashlib.sha256(root_key + source.raw).hexdigest()[:32]
    path = state_dir / _FOLDER / f"{name}.json"
    with locked(path.with_suffix(".lock")):
        yield path


def read(path: Path) -> CloneJournal | None:
    """Read what an earlier run left; None: there is nothing.

    Raises:
        UsageError: The file is damaged.
        UnsupportedVersionError: A newer release wrote it.
    """

    def parse(fields: RecordFields) -> CloneJournal:
        snapshot = fields.optional_text("snapshot")
        return CloneJournal(
            path=path,
            source=Principal.parse(fields.text("source")),
            module_hash=bytes.fromhex(fields.text("module_hash")),
            was_running=fields.flag("was_running"),
            known=tuple(bytes.fromhex(each) for each in fields.texts("known")),
            snapshot=None if snapshot is None else bytes.fromhex(snapshot),
            root=bytes.fromhex(fields.text("root")),
            loaded=[Principal.parse(each) for each in fields.texts("loaded")],
        )

    damaged = UsageError(
        f"{path} is damaged",
        safe="Nothing was changed now.",
        hint="It kept the progress of a clone: start the source if it is stopped, then move "
        "the file away.",
    )
    return record_file.read(path, parse, version=_VERSION, damaged=damaged)
