"""Open the state database beside what `datanode/command_context.py` opens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from datanode import config
from datanode.command_context import CommandContext, find_identity, open_place, parse_root_key
from datanode.principal import Principal
from datanode.progress import Progress
from uploader import known_networks

if TYPE_CHECKING:
    from uploader.session.upload import UploadContext
    from uploader.state.location import StateLocation
    from uploader.state.store import StateStore

__all__ = [
    "CommandContext",
    "open_place",
    "open_state",
    "state_location",
    "state_of",
    "upload_context",
]


def state_location(context: CommandContext) -> "StateLocation":
    """Return where the database, the outbox and the locks lie."""
    from uploader.state.location import locate  # noqa: PLC0415 - a database library comes along

    return locate(context.settings.state, root_key=context.network.root_key)


@contextmanager
def state_of(context: CommandContext) -> "Iterator[StateStore]":
    """Open the database of a network that is open."""
    from uploader.state.database import open_database  # noqa: PLC0415 - see above
    from uploader.state.store import StateStore  # noqa: PLC0415 - see above

    with open_database(state_location(context).url) as database:
        known_networks.remember(context.network.name, context.network.root_key)
        yield StateStore(database, me=context.identity.principal)


def upload_context(
    context: CommandContext,
    store: "StateStore",
    *,
    node: Principal | None = None,
    progress: Progress,
    stopping: Callable[[], bool] = lambda: False,
) -> "UploadContext":
    """Collect what an upload to a node needs: by default the node that the command is about."""
    from datanode.fees import FeeSchedule  # noqa: PLC0415 - see above
    from uploader.session.upload import UploadContext  # noqa: PLC0415 - see above
    from uploader.state.outbox import Outbox  # noqa: PLC0415 - see above

    target, me = context.node(node), context.identity.principal
    return UploadContext(
        node=target,
        me=me,
        reader=context.reader(target, for_upload=True),
        state=store,
        outbox=Outbox(state_location(context).outbox(target.principal, me)),
        fees=FeeSchedule.load(),
        progress=progress,
        stopping=stopping,
    )


@contextmanager
def open_state(
    say: Callable[[str], None],
    *,
    network: str | None = None,
    identity: str | None = None,
    state: str | None = None,
    root_key: str | None = None,
) -> "Iterator[StateStore | None]":
    """Open the database of a network that need not answer; None if none is known.

    Args:
        say: Told about the identity.
        network: Flag `--network`.
        identity: Flag `--identity`.
        state: Flag `--state`.
        root_key: Flag `--root-key`.
    """
    from datanode.agent.network import locate as locate_network  # noqa: PLC0415 - see above
    from uploader.state.database import open_database  # noqa: PLC0415 - see above
    from uploader.state.location import locate  # noqa: PLC0415 - see above
    from uploader.state.store import StateStore  # noqa: PLC0415 - see above

    settings = config.load(
        {"network": network, "identity": identity, "state": state, "root_key": root_key}
    )
    me = find_identity(settings, say, signs=False).principal
    given = parse_root_key(settings.root_key)
    _, key, name = locate_network(settings.network, root_key=given)
    key = key or known_networks.recall(name)
    if key is None and settings.state is None:
        yield None
        return
    with open_database(locate(settings.state, root_key=key or b"").url) as database:
        yield StateStore(database, me=me)
