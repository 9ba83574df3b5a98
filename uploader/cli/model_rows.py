"""Rows of `datanode models`: a model once, whether one node holds it or a fleet."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from datanode.command_context import CommandContext
from datanode.errors import DataNodeError
from datanode.node.port import ModelInfo
from datanode.part_names import is_part_name, part_name
from datanode.principal import Principal

if TYPE_CHECKING:
    from datanode.fleet_index import FleetIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """One model.

    Attributes:
        info: As the node tells it.
        raw_bytes: Bytes of all files of the latest version.
        frame_bytes: Bytes of its frames; None: not all members tell.
        members: The nodes that hold it; one for most.
    """

    info: ModelInfo
    raw_bytes: int
    frame_bytes: int | None
    members: tuple[Principal, ...]


def model_rows(context: CommandContext) -> tuple[list[ModelRow], int]:
    """List the models of a node or a fleet; returns parts of models elsewhere as a count."""
    node = context.coordinator()
    models = node.models()
    names = {model.name for model in models}
    rows = [
        _row(context, model, node.principal, is_fleet=part_name(model.name) in names)
        for model in models
        if not is_part_name(model.name)
    ]
    shown = {part_name(row.info.name) for row in rows}
    return rows, sum(is_part_name(name) and name not in shown for name in names)


def _row(context: CommandContext, model: ModelInfo, node: Principal, *, is_fleet: bool) -> ModelRow:
    if is_fleet and (found := _over_fleet(context, model)) is not None:
        return found
    last = model.versions[-1] if model.versions else None
    return ModelRow(
        info=model,
        raw_bytes=0 if last is None else last.raw_bytes,
        frame_bytes=0 if last is None else last.frame_bytes,
        members=(node,),
    )


def _over_fleet(context: CommandContext, model: ModelInfo) -> ModelRow | None:
    """Describe a model by its index; None: its latest version has none, or it cannot be read."""
    from datanode.reader.fleet_version import is_fleet_version, read_index  # noqa: PLC0415 - see `upload`

    try:
        opened = context.reader(context.coordinator()).open_version(model.name)
        if not is_fleet_version(opened.head):
            return None
        index, _, head = read_index(opened)
    except DataNodeError:
        return None
    return ModelRow(
        info=model,
        raw_bytes=sum(entry.length_bytes for entry in head.files),
        frame_bytes=_frame_bytes(context, model, index),
        members=tuple(part.node for part in index.parts),
    )


def _frame_bytes(context: CommandContext, model: ModelInfo, index: "FleetIndex") -> int | None:
    total = model.versions[-1].frame_bytes
    for part in index.parts:
        try:
            held = context.node(part.node).model(part_name(model.name))
        except DataNodeError:
            return None
        total += sum(each.frame_bytes for each in held.versions if each.version == part.version)
    return total
