"""Runners: who may spend the cycles of an inference canister on its model."""

from datanode.errors import UsageError
from datanode.principal import Principal
from uploader.cli.output import Output
from uploader.command_context import CommandContext

RUNNER = "runner"


def change(
    context: CommandContext, output: Output, principal: Principal, *, is_allowed: bool
) -> None:
    """Let a principal run the models of the node's canisters, or no longer."""
    from datanode.inference.client import InferenceNode  # noqa: PLC0415 - see `upload`

    for member in context.members():
        node = InferenceNode(context.agent, member)
        if is_allowed:
            node.add_runner(principal)
        else:
            node.remove_runner(principal)
    what = "is" if is_allowed else "is no longer"
    output.summary(
        f"{principal} {what} {RUNNER} of the node", to=principal.text, role=RUNNER, model=None
    )


def require_no_limits(model: str | None, days: float | None) -> None:
    """Check that a runner is asked for without what only roles on models have.

    Raises:
        UsageError: It has a model or an expiry.
    """
    if model is not None or days is not None:
        raise UsageError("a runner has no --model and no --days: `datanode revoke` ends the role")


def listed(context: CommandContext) -> list[Principal]:
    """List the runners of the node's canisters; none of those that are no inference canisters."""
    from datanode.inference.client import InferenceNode  # noqa: PLC0415 - see `upload`
    from datanode.node import deploy  # noqa: PLC0415 - see `upload`

    found: dict[Principal, None] = {}
    for member in context.members():
        if deploy.is_inference_node(context.agent, member):
            found |= dict.fromkeys(InferenceNode(context.agent, member).runners())
    return list(found)
