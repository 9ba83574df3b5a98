"""A model over a fleet: which part of it each member runs, and how the parts go together.

The member with the embedding drives: it has the tokenizer and the first blocks, chooses tokens, and
calls the members with the further blocks in turn. A part is read from the tensors that a member
holds, as it has certified them.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from datanode.errors import ConflictError, DataNodeError
from datanode.fleet_index import FleetIndex, FleetPart
from datanode.inference.client import FleetRole, InferenceNode, LoadPlan, LoadStep, ModelPart
from datanode.part_names import part_name
from datanode.principal import Principal
from datanode.reader.fleet_version import NodeOf, is_fleet_version, open_part, read_index
from datanode.reader.version_reader import Reader

NodeAt = Callable[[Principal], InferenceNode]
"""Opens the `model_*` methods of a member."""

_BLOCK: Final = re.compile(r"model\.layers\.(\d+)\.")
_EMBEDDING: Final = "model.embed_tokens.weight"
_HEAD: Final = "lm_head.weight"
_MATRIX_DIMENSIONS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningPart:
    """Part of a model that one member runs.

    Attributes:
        node: The member.
        model: Name of the model that holds its part.
        version: Version of that model.
        part: Blocks, embedding and head.
        role: How it goes together with the others.
    """

    node: Principal
    model: str
    version: int
    part: ModelPart
    role: FleetRole


def running_parts(
    reader: Reader, node_of: NodeOf, model: str, version: int | None = None
) -> tuple[RunningPart, ...] | None:
    """Divide a version among the members that hold it, the driver first.

    Args:
        reader: Reads the coordinator.
        node_of: Opens a member.
        model: Name of the model.
        version: Version; the latest by default.

    Returns:
        The parts; None if one node holds the version.

    Raises:
        ConflictError: The tensors do not lie as running them takes; the text says why.
        DataNodeError: A member does not prove its part.
    """
    opened = reader.open_version(model, version)
    if not is_fleet_version(opened.head):
        return None
    index, _, _ = read_index(opened)
    held = []
    for at, part in enumerate(index.parts):
        # A part has copies of small tensors beside what it holds of the whole.
        own = [range(first, first + count) for each, first, count in index.segments if each == at]
        tensors = open_part(reader.on(node_of(part.node)), model, part).tensors()
        names = [
            each.name
            for each in tensors
            if len(each.shape) == _MATRIX_DIMENSIONS and any(each.first_chunk in run for run in own)
        ]
        held.append((part, names))
    return divide(index, model, held)


def divide(
    index: FleetIndex, model: str, held: Sequence[tuple[FleetPart, Sequence[str]]]
) -> tuple[RunningPart, ...]:
    """Divide a model by the matrices that each member holds, the driver first.

    Raises:
        ConflictError: A block is on two members, or blocks are not in their order.
    """
    parts = [(part, _part_of(names)) for part, names in held]
    first = [(part, run) for part, run in parts if run.embed]
    if len(first) != 1 or first[0][1].first_block:
        raise _misplaced("one member must have the embedding and the first blocks")
    others = [(part, run) for part, run in parts if not run.embed and run.end_block]
    chain = [*first, *sorted(others, key=lambda each: each[1].first_block)]
    for (_, before), (_, after) in pairwise(chain):
        if before.end_block != after.first_block:
            raise _misplaced(
                f"blocks {min(before.end_block, after.first_block)} and following lie on two "
                "members, or on none"
            )
    heads = [run for _, run in parts if run.head]
    if heads and heads not in ([chain[0][1]], [chain[-1][1]]):
        raise _misplaced("the head lies on another member than the first or the last blocks")
    driver, *members = [part.node for part, _ in chain]
    return tuple(
        RunningPart(
            node=part.node,
            model=part_name(model),
            version=part.version,
            # A model without a head of its own uses its embedding.
            part=ModelPart(
                first_block=run.first_block,
                end_block=run.end_block,
                embed=run.embed,
                head=run.head if heads else run.embed,
            ),
            role=FleetRole(
                whole=bytes(index.manifest),
                drivers=() if part.node == driver else (driver,),
                blocks=tuple(members) if part.node == driver else (),
            ),
        )
        for part, run in chain
    )


def _part_of(names: Sequence[str]) -> ModelPart:
    blocks = {int(found[1]) for found in map(_BLOCK.match, names) if found}
    low, high = (min(blocks), max(blocks) + 1) if blocks else (0, 0)
    if len(blocks) != high - low:
        raise _misplaced(f"a member has some of the blocks {low} to {high - 1}, and not all")
    return ModelPart(
        first_block=low, end_block=high, embed=_EMBEDDING in names, head=_HEAD in names
    )


def _misplaced(why: str) -> ConflictError:
    return ConflictError(
        f"the model cannot be run where it lies: {why}",
        safe="What is stored is unchanged.",
        hint="Upload it again with --rebalance.",
    )


def configure_fleet(
    parts: Sequence[RunningPart], node_at: NodeAt, *, exact: bool
) -> tuple[int, int]:
    """Choose what each member runs; returns weights and bytes of heap of all together.

    Raises:
        DataNodeError: A member refuses; it is named.
    """
    plans = [_configure(part, node_at(part.node), exact=exact) for part in parts]
    return sum(plan.weights_count for plan in plans), sum(plan.heap_bytes for plan in plans)


def load_fleet(
    parts: Sequence[RunningPart], node_at: NodeAt, *, exact: bool
) -> Iterator[tuple[RunningPart, LoadStep]]:
    """Configure and load what is not, one member after the other; again: continue.

    Raises:
        DataNodeError: A member refuses; it is named.
    """
    for part in parts:
        node = node_at(part.node)
        with _naming(part.node):
            status = node.status()
            wanted = (part.model, part.version, exact, part.part, part.role)
            if (status.model, status.version, status.exact, status.part, status.role) != wanted:
                _configure(part, node, exact=exact)
            for step in node.load():
                yield part, step


def _configure(part: RunningPart, node: InferenceNode, *, exact: bool) -> LoadPlan:
    with _naming(part.node):
        plan = node.configure(
            part.model, version=part.version, exact=exact, part=part.part, role=part.role
        )
        if node.status().role is None:
            raise ConflictError(
                "its module is of a release that runs no fleets",
                hint="Run `datanode node upgrade` on the fleet, then the same command again.",
            )
        return plan


@contextmanager
def _naming(node: Principal) -> Iterator[None]:
    """Say in an error which member it is about."""
    try:
        yield
    except DataNodeError as error:
        if node.text not in error.what:
            error.what = f"member {node}: {error.what}"
        raise
