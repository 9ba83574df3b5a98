"""`datanode copy --by-canister`: the target fetches the frames before the copy is made."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from datanode.errors import UsageError
from datanode.units import format_bytes, format_cycles
from uploader.command_context import CommandContext

if TYPE_CHECKING:
    from datanode.reader import VerifiedVersion
    from uploader.session.copy import CopyOptions


def pull_first(
    reading: CommandContext,
    context: CommandContext,
    version: "VerifiedVersion",
    model: str,
    options: "CopyOptions",
    *,
    say: Callable[[str], None],
    stopping: Callable[[], bool],
) -> None:
    """Have the target hold every frame of a version, by calls of the source; promote it for that.

    Raises:
        UsageError: The two are not single nodes of one network, or a budget is given.
        DataNodeError: See `uploader.session.pull`.
    """
    from datanode.fees import FeeSchedule  # noqa: PLC0415 - brings libraries along
    from datanode.inference.client import InferenceNode  # noqa: PLC0415 - see above
    from datanode.node import deploy  # noqa: PLC0415 - see above
    from uploader.session.copy_source import open_copy_source  # noqa: PLC0415 - see above
    from uploader.session.message_delivery import raise_if_stopping  # noqa: PLC0415 - see above
    from uploader.session.pull import pull  # noqa: PLC0415 - see above

    if reading.network.root_key != context.network.root_key:
        raise UsageError("--by-canister: --from and --to are on two networks")
    if len(reading.members()) > 1 or len(context.members()) > 1:
        raise UsageError("--by-canister copies from one node to another, not fleets")
    if options.max_cycles is not None:
        raise UsageError("--max-cycles does not count what a canister pays for its own calls")
    target = context.node()
    if not deploy.is_inference_node(context.agent, target.principal):
        say(f"making {target.principal} an inference canister")
        deploy.promote_node(context.agent, target.principal)
    pulled = pull(
        open_copy_source(version),
        model,
        target,
        InferenceNode(context.agent, target.principal),
        takeover=options.takeover,
        before_batch=lambda: raise_if_stopping(stopping),
    )
    cycles = FeeSchedule.load().call_byte_cycles(pulled.frame_bytes)
    say(
        f"{target.principal} fetched {pulled.frames_count:,} frames, "
        f"{format_bytes(pulled.frame_bytes)}, for {format_cycles(cycles)} and their instructions"
    )
