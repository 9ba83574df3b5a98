"""Start an upload from what earlier runs left: messages in flight, and frames that are held.

The node is the truth. With a full database this costs no query a model; with an empty one (another
machine, a lost disk) the node tells, by consensus, everything that need not be sent again.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from datanode.agent.signed_message import SignedMessage
from datanode.digest import ContentDigest
from datanode.model import ChunkRecord
from datanode.node.port import Lease, StorageNode
from datanode.principal import Principal
from uploader.dedup import HeldContents
from uploader.session.claims import load_claims
from uploader.session.message_sender import Parcel
from uploader.session.node_run import NodeRun
from uploader.session.spending import message_cycles
from uploader.state.outbox import Outbox
from uploader.state.store import OpenMessage, OutgoingFrame, StateStore

_BATCH: Final = 1_024


def known_contents(
    node: StorageNode,
    state: StateStore,
    me: Principal,
    *,
    raw_bytes: int,
    note: Callable[[str], None],
    sleep: Callable[[float], None],
) -> HeldContents:
    """Return what is known of the contents that a node holds for this identity.

    Args:
        node: The node.
        state: The database.
        me: The identity that uploads.
        raw_bytes: Size of the source.
        note: Told of what cannot be read.
        sleep: Waits between attempts, seconds.
    """

    def ask(contents: Sequence[ContentDigest]) -> Mapping[ContentDigest, ChunkRecord]:
        answers = node.find_contents(contents, replicated=True)
        found = [record for record in answers if record is not None]
        state.learn(node.principal, found)
        return {record.content: record for record in found}

    return HeldContents(
        record=lambda contents: state.known(node.principal, contents),
        ask=ask,
        load_claims=lambda: load_claims(
            node,
            me,
            raw_bytes=raw_bytes,
            replicated=True,
            note=note,
            sleep=sleep,
            kept=state,
        ),
    )


def reopen_messages(run: NodeRun, outbox: Outbox, note: Callable[[str], None]) -> None:
    """Put every message of an earlier run on its way again, with its identical bytes.

    Messages of other models and of other leases are among them: what they carry need not be sent.
    """
    _take_over(run, outbox)
    messages = run.state.open_messages(run.node.principal)
    if messages:
        note(f"{len(messages)} messages of earlier runs are unresolved: asking about them")
    outbox.sweep({message.request_id for message in messages})
    for message in messages:
        chunk_count = run.chunk_count if message.upload_id == run.upload_id else 0
        parcels = [_parcel(frame, chunk_count) for frame in message.frames]
        run.await_unresolved(parcels)
        run.sender.resume(
            _signed(message, outbox),
            parcels,
            lease_id=message.lease_id,
            cycles=message.estimated_cycles,
        )


def _take_over(run: NodeRun, outbox: Outbox) -> None:
    """Commit messages that only the outbox knows: the database is new, or an older copy."""
    for envelope in outbox.envelopes():
        message = envelope.message
        if run.state.message_status(message.request_id) is None:
            frame_bytes = sum(record.frame_bytes for record in envelope.records)
            run.state.record_intent(
                run.upload_id,
                message,
                envelope.lease_id,
                [OutgoingFrame(None, record) for record in envelope.records],
                message_cycles(run.sender.fees, len(message.body), frame_bytes),
            )


def learn_lease(run: NodeRun, lease: Lease) -> None:
    """Learn which frames the lease holds: this identity wrote or pinned every one of them."""
    if not lease.frames_count:
        return
    batch: list[ChunkRecord] = []
    for record in run.node.lease_frames(lease.id, replicated=True):
        batch.append(record)
        if len(batch) == _BATCH:
            _keep(run, batch)
            batch = []
    _keep(run, batch)


def _keep(run: NodeRun, records: Sequence[ChunkRecord]) -> None:
    run.known.hold(record.frame for record in records)
    run.state.learn(run.node.principal, records)


def _parcel(frame: OutgoingFrame, chunk_count: int) -> Parcel:
    index = frame.chunk_index
    known = index is not None and index < chunk_count
    return Parcel(record=frame.record, chunk_index=index if known else None, frame=None)


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
