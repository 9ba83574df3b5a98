"""Clone fleets, and give each model over a copy an index that names the members of the copy."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from datanode.command_context import CommandContext
from datanode.errors import DataNodeError, NotFoundError, UnauthorizedError
from datanode.folders import state_folder
from datanode.node.fleet_clone_record import FleetCloneRecord
from datanode.principal import Principal
from datanode.progress import SilentProgress

if TYPE_CHECKING:
    from datanode.node.cloning import Clone

Say = Callable[[str], None]


def clone_fleets(
    context: CommandContext,
    say: Say,
    sources: Sequence[Principal],
    fleets: Sequence[tuple[Principal, ...]],
    *,
    replace: bool,
) -> tuple[list["Clone"], list[str]]:
    """Clone the members of a fleet to those of others, then rewrite the indexes of the copies.

    Returns the copies, in order, and the models whose index this identity may not rewrite.

    Raises:
        DataNodeError: As `clone_members`, and as an upload of an index.
    """
    from datanode.node.cloning import as_it_is, clone_members  # noqa: PLC0415 - brings libraries

    agent, state = context.agent, state_folder()
    records = {
        copies: FleetCloneRecord.of(state, context.network.root_key, sources, copies)
        for copies in fleets
    }
    cloned = [
        copies
        for copies in fleets
        if len(sources) > 1 and _is_cloned(context, sources, records[copies])
    ]
    rest = [copies for copies in fleets if copies not in cloned]
    made = {copy.canister: copy for copies in cloned for copy in as_it_is(agent, copies)}
    if rest:
        fresh = clone_members(agent, state, sources, rest, replace=replace, say=say)
        made |= {copy.canister: copy for copy in fresh}
    left: list[str] = []
    if len(sources) > 1:
        for copies in rest:
            records[copies].write([made[each].root for each in copies])
        for copies in fleets:
            left += _readdress_all(context, say, sources, copies)
            records[copies].forget()
    order = [copies[at] for at in range(len(sources)) for copies in fleets]
    return [made[each] for each in order], sorted(set(left))


def _is_cloned(
    context: CommandContext, sources: Sequence[Principal], record: FleetCloneRecord
) -> bool:
    """Whether an earlier run has cloned all members, and the source holds what it held then."""
    from datanode.node.cloning import certified_root  # noqa: PLC0415 - see above

    roots = record.roots()
    if roots is None:
        return False
    return [certified_root(context.agent, each) for each in sources] == roots


def _readdress_all(
    context: CommandContext, say: Say, sources: Sequence[Principal], copies: Sequence[Principal]
) -> list[str]:
    """Rewrite every index of a copy that names members of the source; returns what is left."""
    from uploader.library import Queueing, member_contexts  # noqa: PLC0415 - see above
    from uploader.session.fleet_readdress import models_over_fleet, readdress  # noqa: PLC0415

    moved = dict(zip(sources, copies, strict=True))
    left: list[str] = []
    what = f"clone to {copies[0]}"
    with member_contexts(
        context, copies, what, progress=SilentProgress(), queueing=Queueing(say=say)
    ) as contexts:
        for model in models_over_fleet(contexts):
            try:
                sealed = readdress(model, contexts, moved)
            except (NotFoundError, UnauthorizedError):
                left.append(model)
            except DataNodeError as error:
                error.safe = "All members are cloned; only indexes are left, which cost little."
                raise
            else:
                if sealed is not None:
                    say(f"{model} is read from the members of the copy")
    return left
