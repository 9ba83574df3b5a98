"""Rollback memory: the highest version of each model that an auditor has seen.

One small JSON file a model, named by the SHA-256 of root key, node and model name::

    {"v": 1, "root_key": <SHA-256, hex>, "node": text, "model": text,
     "latest": number, "digests": <manifest and placement of `latest`, hex, or empty>}

It is replaced atomically and fsynced before the caller goes on: a version that was once believed
is remembered after a power cut. A restored snapshot of a canister brings old certified data back
with a fresh, valid certificate; only memory can tell.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from datanode import record_file
from datanode.errors import RollbackError, StateDamagedError
from datanode.files import locked
from datanode.principal import Principal
from datanode.reader.proof import TrustedVersion
from datanode.record_file import RecordFields

_VERSION: Final = 1


class SeenVersion(Protocol):
    """Remembers the highest version of each model."""

    def check(self, root_key: bytes, trusted: TrustedVersion) -> None:
        """Compare with what was seen before, and remember what is newer.

        Raises:
            RollbackError: The node shows an older state than it has shown before.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Memory:
    latest: int
    digests: str


class RollbackMemory:
    """Memory in a folder, shared by all processes of a user.

    Args:
        folder: Where the files lie; it is made when needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def check(self, root_key: bytes, trusted: TrustedVersion) -> None:
        """See `SeenVersion`.

        Raises:
            RollbackError: As there.
            StateDamagedError: The file is damaged.
            UsageError: The file cannot be read.
            DiskFullError: What was proven cannot be remembered, so it is not believed either.
        """
        path = self._path(root_key, trusted.node, trusted.model)
        # Without it two readers at once could write the lower version last.
        with locked(self._folder / "lock"):
            before = _load(path)
            after = _judge(before, trusted, path)
            if after != before:
                content = {
                    "root_key": hashlib.sha256(root_key).hexdigest(),
                    "node": trusted.node.text,
                    "model": trusted.model,
                    "latest": after.latest,
                    "digests": after.digests,
                }
                record_file.write(path, content, version=_VERSION)

    def _path(self, root_key: bytes, node: Principal, model: str) -> Path:
        key = hashlib.sha256(root_key).digest() + bytes([len(node.raw)]) + node.raw
        return self._folder / (hashlib.sha256(key + model.encode()).hexdigest() + ".json")


def _judge(before: _Memory | None, trusted: TrustedVersion, path: Path) -> _Memory:
    digests = ""
    if trusted.version == trusted.latest:
        digests = (trusted.manifest + trusted.placement).hex()
    if before is None or trusted.latest > before.latest:
        return _Memory(latest=trusted.latest, digests=digests)
    if trusted.latest < before.latest:
        raise RollbackError(
            f"the node shows version {trusted.latest} of {trusted.model} as the latest; "
            f"it has shown {before.latest} before",
            hint=_explained(path),
        )
    if before.digests and digests and before.digests != digests:
        raise RollbackError(
            f"version {trusted.latest} of {trusted.model} is not what it was: "
            "the node has shown another manifest under that number",
            hint=_explained(path),
        )
    return _Memory(latest=before.latest, digests=before.digests or digests)


def _explained(path: Path) -> str:
    return f"{RollbackError.default_hint} If that was meant, move {path} away to accept it."


def _load(path: Path) -> _Memory | None:
    damaged = StateDamagedError(
        f"{path} cannot be read: it remembers the highest version seen",
        hint="Move the file away to accept the version that the node shows now.",
    )
    return record_file.read(path, _parse, version=_VERSION, damaged=damaged)


def _parse(fields: RecordFields) -> _Memory:
    return _Memory(latest=fields.number("latest"), digests=fields.text("digests"))
