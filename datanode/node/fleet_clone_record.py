"""A cloned fleet whose indexes may still name other members: a file in the state folder.

::

    {"v": 1, "roots": [hex, ...]}

`roots` is what each member of the source certified when it was cloned, empty for nothing. The file
is there from when all members are cloned until no index of the copy names a member of the source.
Another run then goes on with the indexes: sealing one changes what the copy certifies, so it is not
like its source any more, and would be cloned again.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from datanode import record_file
from datanode.errors import UsageError
from datanode.files import disk_errors
from datanode.principal import Principal
from datanode.record_file import RecordFields

_FOLDER: Final = "clones"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class FleetCloneRecord:
    """The record of one source and one copy, both fleets."""

    path: Path

    @classmethod
    def of(
        cls,
        state_dir: Path,
        root_key: bytes,
        sources: Sequence[Principal],
        copies: Sequence[Principal],
    ) -> "FleetCloneRecord":
        """Name the file."""
        named = b"".join(len(each.raw).to_bytes() + each.raw for each in (*sources, *copies))
        name = hashlib.sha256(root_key + named).hexdigest()[:32]
        return cls(state_dir / _FOLDER / f"{name}.fleet.json")

    def write(self, roots: Sequence[bytes | None]) -> None:
        """Note durably that all members are cloned.

        Raises:
            DiskFullError: No space is left.
        """
        shown = ["" if root is None else root.hex() for root in roots]
        record_file.write(self.path, {"roots": shown}, version=_VERSION)

    def roots(self) -> list[bytes | None] | None:
        """Return what the members of the source certified; None: there is nothing to go on with.

        Raises:
            UsageError: The file is damaged.
            UnsupportedVersionError: A newer release wrote it.
        """

        def parse(fields: RecordFields) -> list[bytes | None]:
            return [bytes.fromhex(each) or None for each in fields.texts("roots")]

        damaged = UsageError(
            f"{self.path} is damaged",
            safe="Nothing was changed.",
            hint="It kept the progress of a clone: move the file away.",
        )
        return record_file.read(self.path, parse, version=_VERSION, damaged=damaged)

    def forget(self) -> None:
        """Remove the file: nothing is left to be done."""
        with disk_errors(self.path):
            self.path.unlink(missing_ok=True)
