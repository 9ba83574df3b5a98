"""`datanode load` over a fleet: each member loads the blocks that it holds."""

from collections.abc import Sequence

from datanode.command_context import CommandContext
from datanode.errors import NotFoundError
from datanode.inference.client import InferenceNode
from datanode.inference.fleet import RunningPart, configure_fleet, load_fleet, running_parts
from datanode.inference.session import MessageCosts
from datanode.principal import Principal
from datanode.units import format_bytes, format_cycles
from uploader.cli.output import Output


def load_over_fleet(
    context: CommandContext,
    output: Output,
    model: str,
    *,
    version: int | None,
    exact: bool,
    is_wanted: bool,
) -> None:
    """Load each member's part of a model; `is_wanted` is false: only choose it.

    Raises:
        NotFoundError: The version is not over this fleet.
        DataNodeError: A member refuses; it is named.
    """

    def node_at(principal: Principal) -> InferenceNode:
        return InferenceNode(context.agent, principal)

    parts = running_parts(context.reader(context.coordinator()), context.node, model, version)
    if parts is None:
        raise NotFoundError(
            f"{model} lies on one node, not over the fleet",
            hint="Name that node with --node, or upload the model to the fleet.",
        )
    if not is_wanted:
        weights, heap_bytes = configure_fleet(parts, node_at, exact=exact)
        output.summary(
            f"{model} is configured over {len(parts)} members: {weights:,} weights, "
            f"{format_bytes(heap_bytes)} of heap",
            model=model,
            members=_texts(parts),
            weights=weights,
            heap_bytes=heap_bytes,
        )
        return
    spending = MessageCosts()
    with output.progress() as progress:
        progress.stage(f"loading {model}")
        for part, step in load_fleet(parts, node_at, exact=exact):
            spending.add(step.instructions)
            progress.count(step.chunks_count, step.total_count, f"chunks of {part.node}")
    output.table(
        ["member", "> first block", "> blocks", "role"],
        [
            [
                part.node.text,
                str(part.part.first_block),
                str(part.part.end_block - part.part.first_block),
                "driver" if part.role.blocks else "blocks",
            ]
            for part in parts
        ],
    )
    output.summary(
        f"{model} is loaded over {len(parts)} members: {spending.messages_count} messages, "
        f"{spending.instructions / 1e9:.2f}e9 instructions, {format_cycles(spending.cycles)}",
        model=model,
        members=_texts(parts),
        messages=spending.messages_count,
        instructions=spending.instructions,
        cycles=spending.cycles,
    )


def _texts(parts: Sequence[RunningPart]) -> list[str]:
    return [part.node.text for part in parts]
