"""The list of a batch: one JSON object a line, `{"source": ..., "model": ..., "node": ...}`.

A source that is a relative path is looked for beside the list; `node` is a name or a canister id,
or the name of a fleet, and may be left out where the command names one. Blank lines are skipped.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from datanode.errors import UsageError
from datanode.files import disk_errors
from datanode.principal import Principal
from datanode.strict_json import StrictJson
from datanode.units import MIB

MAX_LIST_BYTES: Final = 16 * MIB
"""Largest list, bytes. Ours: room for 100,000 jobs."""

_KEYS: Final = {"source", "model", "node"}
_JSON: Final = StrictJson(refused=UsageError, max_entries=1_000)
"""A job has three entries. Ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchJob:
    """One job: bring a source to a node.

    Attributes:
        source: The checkpoint, as it stands in the list.
        model: Name to store it under.
        members: Where it goes: the members of a fleet, or one node.
    """

    source: str
    model: str
    members: tuple[Principal, ...]

    @property
    def node(self) -> Principal:
        """The node, or the coordinator of the fleet."""
        return self.members[0]


def read_list(path: Path, resolve: Callable[[str | None], tuple[Principal, ...]]) -> list[BatchJob]:
    """Read a list of jobs.

    Args:
        path: The file.
        resolve: Finds the members of a name or an id; of None, of what the command names.

    Raises:
        UsageError: A line is not a job, or two jobs have the same model on the same node.
        NotFoundError: A node is not known.
    """
    with disk_errors(path), path.open("rb") as file:
        data = file.read(MAX_LIST_BYTES + 1)
    if len(data) > MAX_LIST_BYTES:
        raise UsageError(f"{path} has more than {MAX_LIST_BYTES:,} bytes")
    jobs = [_job(path, number, fields, resolve) for number, fields in _objects(path, data)]
    if not jobs:
        raise UsageError(f"{path} lists no jobs")
    seen: set[tuple[Principal, str]] = set()
    for job in jobs:
        if (job.node, job.model) in seen:
            raise UsageError(f"{path} names {job.model} on {job.node} twice")
        seen.add((job.node, job.model))
    return jobs


def batch_id(jobs: Sequence[BatchJob], *, root_key: bytes, me: Principal) -> str:
    """Name a batch by its jobs, network and identity, so that a list is one batch everywhere."""
    facts = [[job.source, job.model, *(each.text for each in job.members)] for job in jobs]
    named = json.dumps([root_key.hex(), me.text, facts])
    return hashlib.sha256(named.encode()).hexdigest()


def located(source: str, folder: Path) -> str:
    """Return where a source lies; relative paths are those of the list's folder."""
    return source if "://" in source else str(folder / Path(source).expanduser())


def _objects(path: Path, data: bytes) -> Iterator[tuple[int, dict[str, object]]]:
    for number, line in enumerate(data.splitlines(), start=1):
        if line.strip():
            yield number, _JSON.read_object(line, f"{path}: line {number}")


def _job(
    path: Path,
    number: int,
    fields: dict[str, object],
    resolve: Callable[[str | None], tuple[Principal, ...]],
) -> BatchJob:
    source, model, node = (fields.get(key) for key in ("source", "model", "node"))
    if not (isinstance(source, str) and isinstance(model, str) and source and model):
        raise UsageError(f"{path}: line {number} needs the texts `source` and `model`")
    if not (node is None or isinstance(node, str)) or fields.keys() - _KEYS:
        raise UsageError(f"{path}: line {number} may have `source`, `model` and `node`, all texts")
    return BatchJob(source=source, model=model, members=resolve(node))
