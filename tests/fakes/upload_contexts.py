"""Contexts for real uploads into real nodes, without the command line."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from datanode.agent.client import Agent
from datanode.fees import FeeSchedule
from datanode.node.canister import CanisterNode
from datanode.principal import Principal
from datanode.reader import Reader
from uploader.session.upload import UploadContext
from uploader.state.database import open_database
from uploader.state.outbox import Outbox
from uploader.state.store import StateStore


@contextmanager
def upload_contexts(
    agent: Agent, root_key: bytes, nodes: Sequence[Principal], folder: Path
) -> Iterator[list[UploadContext]]:
    """Open one context a node over one state in a folder, as the command does."""
    me = agent.identity.principal
    with ExitStack() as stack:
        contexts = []
        for principal in nodes:
            node = CanisterNode(agent, principal)
            database = stack.enter_context(open_database(f"sqlite:///{folder / 'state.db'}"))
            contexts.append(
                UploadContext(
                    node=node,
                    me=me,
                    reader=Reader(node, root_key=root_key),
                    state=StateStore(database, me=me),
                    outbox=Outbox(folder / "outbox" / principal.text),
                    fees=FeeSchedule.load(),
                )
            )
        yield contexts
