"""What an upload starts from: the messages of an earlier run, and what the node holds already.

The node is the truth. With a full database this costs a few queries, one of them for each model;
with an empty one (another machine, a lost disk) it restores from the node everything that keeps
frames from being sent again.
"""

from collections.abc import Callable, Iterator
from typing import Final

from datanode.digest import ContentDigest, FrameDigest
from datanode.errors import DataNodeError, NotFoundError
from datanode.model import ChunkRecord
from datanode.node.port import SignedMessage, StorageNode, VersionInfo
from datanode.principal import Principal
from datanode.reader import Reader
from uploader.chunker import Layout
from uploader.dedup import Claim, Known
from uploader.session.chunks import ChunkRun
from uploader.session.sending import Parcel
from uploader.state.outbox import Outbox
from uploader.state.store import OpenMessage, OutgoingFrame, StateStore

_BATCH: Final = 1_024


def reopen_messages(run: ChunkRun, outbox: Outbox, model: str, note: Callable[[str], None]) -> None:
    """Put every message of an earlier run on its way again, with its identical bytes."""
    messages = run.state.open_messages(run.node.principal, model=model)
    if messages:
        note(f"{len(messages)} messages of the last run are in doubt: asking what became of them")
    outbox.sweep({message.request_id for message in messages})
    for message in messages:
        parcels = [_parcel(run.layout, frame) for frame in message.frames]
        run.doubt(parcels)
        run.sender.resume(_signed(message, outbox), parcels)


def _parcel(layout: Layout, frame: OutgoingFrame) -> Parcel:
    index = frame.chunk_index
    known = index is not None and index < layout.chunk_count
    return Parcel(
        record=frame.record,
        spec=layout.spec(index) if known and index is not None else None,
        frame=None,
    )


def _signed(message: OpenMessage, outbox: Outbox) -> SignedMessage:
    """Rebuild the message from its outbox file; without the file it can only be asked about."""
    body = outbox.load(message.request_id, message.body_digest)
    return SignedMessage(
        request_id=message.request_id,
        canister=message.canister,
        sender=message.sender,
        expiry_ns=message.expiry_ns,
        body=body or b"",
    )


def learn(run: ChunkRun, me: Principal, note: Callable[[str], None]) -> None:
    """Ask the node what it holds for this identity: under the lease, and in readable models."""
    node, state, known = run.node, run.state, run.known
    learn_lease(node, state, known, lease_id=run.lease_id)
    done = state.learned_manifests(node.principal)
    for model, version in _versions(node, note):
        if version.manifest in done:
            continue
        told: list[str] = []
        records = _records(run.reader, model, version.version, told.append)
        if version.sealed_by != me:
            _claim_all(known, model, version.manifest, records)
        else:
            _learn_all(state, node.principal, records)
            if not told:
                state.mark_learned(node.principal, version.manifest)
        for words in told:
            note(words)


def readable_contents(
    node: StorageNode, reader: Reader, note: Callable[[str], None]
) -> set[ContentDigest]:
    """List the content of every chunk that this identity may read on a node; nothing is paid."""
    contents: set[ContentDigest] = set()
    for model, version in _versions(node, note):
        records = _records(reader, model, version.version, note)
        contents.update(record.content for record in records)
    return contents


def _versions(node: StorageNode, note: Callable[[str], None]) -> Iterator[tuple[str, VersionInfo]]:
    """List what this identity may read; a model that is deleted meanwhile is left out."""
    for listed in node.models():
        try:
            found = node.model(listed.name)
        except NotFoundError as error:
            note(f"{listed.name} is of no help: {error.what}")
            continue
        for version in found.versions:
            yield listed.name, version


def learn_lease(node: StorageNode, state: StateStore, known: Known, *, lease_id: int) -> None:
    """Learn which frames the lease holds: this identity wrote or pinned every one of them."""
    batch: list[ChunkRecord] = []
    for record in node.lease_frames(lease_id):
        batch.append(record)
        if len(batch) == _BATCH:
            _keep(state, node.principal, known, batch)
            batch = []
    _keep(state, node.principal, known, batch)


def _keep(state: StateStore, node: Principal, known: Known, records: list[ChunkRecord]) -> None:
    known.hold(record.frame for record in records)
    state.learn(node, records)


def _records(
    reader: Reader, model: str, version: int, note: Callable[[str], None]
) -> Iterator[ChunkRecord]:
    """Read the records of a version until the node fails, which is noted.

    Only what reading raises ends here: a database that fails while they are kept is another matter.
    """
    try:
        yield from reader.open_version(model, version).records()
    except DataNodeError as error:
        note(f"version {version} of {model} is of no help: {error.what}")


def _learn_all(state: StateStore, node: Principal, records: Iterator[ChunkRecord]) -> None:
    batch: list[ChunkRecord] = []
    for record in records:
        batch.append(record)
        if len(batch) == _BATCH:
            state.learn(node, batch)
            batch = []
    state.learn(node, batch)


def _claim_all(
    known: Known, model: str, manifest: FrameDigest, records: Iterator[ChunkRecord]
) -> None:
    for index, record in enumerate(records):
        known.claims.setdefault(
            record.content, Claim(model=model, manifest=manifest, index=index, record=record)
        )
