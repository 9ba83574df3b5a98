"""Where each upload stands: what this state remembers, held against what its node says today."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from datanode.errors import DataNodeError, LeaseLostError, NotFoundError
from datanode.node.port import ModelInfo, StorageNode, VersionInfo
from datanode.principal import Principal
from uploader.state.lifecycle import UploadStatus

if TYPE_CHECKING:
    from uploader.state.records import UploadInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One line of `datanode status`.

    Attributes:
        model: Name of the model.
        node: Where it is or was to go.
        version: Sealed version, or None.
        text: The state in words.
        held_bytes: Raw bytes that the node holds; None: not known.
        total_bytes: Raw bytes of the source; None: another machine knows.
        source: The source, as it was named.
        unresolved_count: Messages without a certified answer.
    """

    model: str
    node: Principal
    version: int | None
    text: str
    held_bytes: int | None
    total_bytes: int | None
    source: str
    unresolved_count: int


class NotAskedError(Exception):
    """A node does not answer: what it holds is not known."""


@dataclass(slots=True)
class NodeAnswers:
    """Current answers of nodes; a silent node is asked once.

    Attributes:
        me: The identity that asks.
        open_node: Opens a node.
        note: Told of a node that does not answer.
    """

    me: Principal
    open_node: Callable[[Principal], StorageNode]
    note: Callable[[str], None]
    _silent: set[Principal] = field(default_factory=set)

    def version(self, node: Principal, model: str, number: int) -> VersionInfo | None:
        """Return a version, or None if the node has none that this identity may read.

        Raises:
            NotAskedError: The node does not answer.
        """
        with self._asking(node) as asked:
            try:
                versions = asked.model(model).versions
            except NotFoundError:
                return None
            return next((found for found in versions if found.version == number), None)

    def has_lease(self, node: Principal, lease_id: int) -> bool:
        """Tell whether a lease still holds frames.

        Raises:
            NotAskedError: The node does not answer.
        """
        with self._asking(node) as asked:
            try:
                return next(iter(asked.lease_frames(lease_id)), None) is not None
            except (LeaseLostError, NotFoundError):
                return False

    def own_models(self, node: Principal) -> list[ModelInfo]:
        """List the models of a node that this identity owns.

        Raises:
            NotAskedError: The node does not answer.
        """
        with self._asking(node) as asked:
            return [model for model in asked.models() if model.owner == self.me]

    @contextmanager
    def _asking(self, node: Principal) -> Iterator[StorageNode]:
        if node in self._silent:
            raise NotAskedError
        try:
            yield self.open_node(node)
        except DataNodeError as error:
            self._silent.add(node)
            self.note(f"node {node} was not asked: {error.what}")
            raise NotAskedError from error


def standing_of(upload: "UploadInfo", facts: NodeAnswers | None) -> Standing:
    """Hold what the state remembers of an upload against its node; None: no network answers."""
    text, held_bytes = _remembered(upload)
    if facts is not None and upload.sender == facts.me.text:
        with suppress(NotAskedError):
            text, held_bytes = _checked(upload, facts)
    return Standing(
        model=upload.model,
        node=upload.node,
        version=upload.version,
        text=text,
        held_bytes=held_bytes,
        total_bytes=upload.total_bytes,
        source=upload.location,
        unresolved_count=upload.unresolved_count,
    )


def standings_elsewhere(
    node: Principal, uploads: "Iterable[UploadInfo]", facts: NodeAnswers
) -> list[Standing]:
    """List models of this identity on a node that no upload of this state has to do with."""
    names = {upload.model for upload in uploads if upload.node == node}
    models: list[ModelInfo] = []
    with suppress(NotAskedError):
        models = facts.own_models(node)
    return [
        Standing(
            model=model.name,
            node=node,
            version=model.latest,
            text=f"sealed as {model.latest} with another state",
            held_bytes=None,
            total_bytes=None,
            source="-",
            unresolved_count=0,
        )
        for model in models
        if model.name not in names
    ]


def _remembered(upload: "UploadInfo") -> tuple[str, int | None]:
    if upload.version is not None:
        return f"sealed as {upload.version}, not checked", None
    if upload.status is UploadStatus.ABANDONED:
        return "planned anew", None
    return "unfinished, not checked", None


def _checked(upload: "UploadInfo", facts: NodeAnswers) -> tuple[str, int | None]:
    if upload.version is not None:
        found = facts.version(upload.node, upload.model, upload.version)
        if found is None or found.manifest != upload.manifest:
            return f"was sealed as {upload.version}, now deleted", 0
        return f"sealed as {upload.version}", upload.total_bytes
    if upload.status is UploadStatus.ABANDONED:
        return "planned anew", None
    if upload.lease_id is not None and not facts.has_lease(upload.node, upload.lease_id):
        return "unfinished, its lease has ended", None
    return "unfinished", upload.held_bytes
