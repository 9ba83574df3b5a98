"""The part of a run that resuming and sealing need, whether its source is files or another node."""

from collections.abc import Iterable
from typing import Protocol

from datanode.node.port import StorageNode
from uploader.dedup import HeldContents
from uploader.session.message_sender import Parcel, Sender
from uploader.state.store import StateStore


class NodeRun(Protocol):
    """One run that fills one model of one node."""

    @property
    def upload_id(self) -> int:
        """The upload in the database."""
        ...

    @property
    def chunk_count(self) -> int:
        """Chunks of the version to seal."""
        ...

    @property
    def node(self) -> StorageNode:
        """Where frames go."""
        ...

    @property
    def state(self) -> StateStore:
        """The database."""
        ...

    @property
    def known(self) -> HeldContents:
        """Record of what the node holds."""
        ...

    @property
    def sender(self) -> Sender:
        """Sends what it does not hold."""
        ...

    def await_unresolved(self, parcels: Iterable[Parcel]) -> None:
        """Let chunks wait for messages whose outcome an earlier run never learnt."""
        ...
