"""Everything that can be known before anything is paid: `plan` and `upload` ask the same question.

A pure function over facts. `gather_facts` in `facts.py` collects what the node knows; the layout
says what the source holds. What only the node can decide (its memory, its cycles, a quota) it is
asked again with the first message, before that is signed.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from datanode.errors import (
    ConflictError,
    CyclesError,
    DataNodeError,
    NodeFullError,
    SourceError,
    UsageError,
)
from datanode.limits import MAX_MODEL_NAME_BYTES, MAX_MODELS, MAX_STABLE_BYTES, MAX_VERSIONS
from datanode.node.port import NodeSettings, StatusDetails
from datanode.units import format_bytes
from uploader.chunker import Layout
from uploader.session.manifest_builder import check_sealable

_MODEL_NAME: Final = re.compile(r"[A-Za-z0-9._/-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """Facts about a node, gathered before an upload.

    Attributes:
        versions_count: Versions that the model has.
        is_new: The name has no model yet.
        details: Cycles, memory and counts, where this identity may see them.
        settings: What bounds its growth, where this identity may see it and it matters.
    """

    versions_count: int
    is_new: bool
    details: StatusDetails | None
    settings: NodeSettings | None = None


def find_problems(
    model: str | None,
    layout: Layout | None,
    metadata: Mapping[str, str],
    facts: NodeFacts | None = None,
) -> list[DataNodeError]:
    """List every reason why an upload cannot end in a sealed version.

    Args:
        model: Name to store it under; None if it is not chosen yet.
        layout: Files, tensors and chunks of the source; None: a manifest that a node has sealed.
        metadata: Texts that travel in the manifest.
        facts: What the node tells; None without a node.
    """
    problems: list[DataNodeError] = []
    if model is not None:
        problems += _name_problems(model)
    if layout is not None:
        problems += _manifest_problems(layout, metadata)
    if facts is not None:
        problems += _node_problems(facts)
    return problems


def require_none(problems: Sequence[DataNodeError]) -> None:
    """Raise the first problem; it names the others.

    Raises:
        DataNodeError: There is one.
    """
    if problems:
        first, *others = problems
        raise type(first)(
            "; also: ".join([first.what, *(other.what for other in others)]),
            safe="Nothing was sent.",
            hint=first.hint,
        )


def _name_problems(model: str) -> list[DataNodeError]:
    if len(model) <= MAX_MODEL_NAME_BYTES and _MODEL_NAME.fullmatch(model) and ".." not in model:
        return []
    return [
        UsageError(
            f"{model!r} is not the name of a model: 1 to {MAX_MODEL_NAME_BYTES} of "
            "A-Z a-z 0-9 . _ / - without two dots in a row",
            hint="Choose another name with --as.",
        )
    ]


def _manifest_problems(layout: Layout, metadata: Mapping[str, str]) -> list[DataNodeError]:
    try:
        check_sealable(layout, metadata)
    except SourceError as error:
        return [error]
    return []


def _node_problems(facts: NodeFacts) -> list[DataNodeError]:
    problems: list[DataNodeError] = []
    if facts.versions_count >= MAX_VERSIONS:
        problems.append(
            ConflictError(
                f"the model has {facts.versions_count:,} versions; a node keeps {MAX_VERSIONS:,}",
                hint="Delete old ones with `datanode delete MODEL --version N`.",
            )
        )
    details = facts.details
    if details is None:
        return problems
    if facts.is_new and details.models_count >= MAX_MODELS:
        problems.append(
            ConflictError(
                f"the node has {details.models_count:,} models; it keeps {MAX_MODELS:,}",
                hint="Delete a model with `datanode delete MODEL`, or use another node.",
            )
        )
    if not details.freezing_days:
        problems.append(
            CyclesError("the node has reached its freezing threshold and takes no frames")
        )
    if details.stable_bytes >= MAX_STABLE_BYTES and not details.free_bytes:
        problems.append(
            NodeFullError(
                f"the node's memory has reached {format_bytes(MAX_STABLE_BYTES)}, the limit",
            )
        )
    return problems
