"""What an upload starts from: the messages of an earlier run, and what the node holds already.

The node is the truth. With a full database this costs two queries; with an empty one (another
machine, a lost disk) it restores from the node everything that keeps frames from being sent again.
"""

from collections.abc import Callable, Iterator
from typing import Final

from datanode.digest import ContentDigest, FrameDigest
from datanode.errors import DataNodeError
from datanode.model import ChunkRecord
from datanode.node.port import ModelInfo, SignedMessage, StorageNode
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
    for model in node.models():
        for version in node.model(model.name).versions:
            if version.manifest in done:
                continue
            try:
                records = _records(run.reader, model, version.version)
                if version.sealed_by == me:
                    _learn_all(state, node.principal, records)
                    state.mark_learned(node.principal, version.manifest)
                else:
                    _claim_all(known, model.name, version.manifest, records)
            except DataNodeError as error:
                note(f"version {version.version} of {model.name} is of no help: {error.what}")


def readable_contents(
    node: StorageNode, reader: Reader, note: Callable[[str], None]
) -> set[ContentDigest]:
    """List the content of every chunk that this identity may read on a node; nothing is paid."""
    contents: set[ContentDigest] = set()
    for model in node.models():
        for version in node.model(model.name).versions:
            try:
                contents.update(
                    record.content for record in _records(reader, model, version.version)
                )
            except DataNodeError as error:
                note(f"version {version.version} of {model.name} is of no help: {error.what}")
    return contents


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


def _records(reader: Reader, model: ModelInfo, version: int) -> Iterator[ChunkRecord]:
    return reader.open_version(model.name, version).records()


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
