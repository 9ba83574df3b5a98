"""Statements about messages and the frames they carry; `StateStore` puts them in transactions."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, bindparam, case, delete, func, select, update

from datanode.agent.signed_message import SignedMessage
from datanode.digest import frame_digest
from datanode.errors import FormatError, NotFoundError
from datanode.node.port import PutResult, PutStatus
from datanode.principal import Principal
from uploader.state import chunk_rows, schema
from uploader.state.lifecycle import ChunkStatus, MessageStatus, require
from uploader.state.records import (
    LedgerEntry,
    OpenMessage,
    OutgoingFrame,
    Totals,
    check_rowsum,
    frame_columns,
    record_of,
    rowsum,
)

_HELD_RESULTS: Final = frozenset({PutStatus.STORED, PutStatus.ALREADY_STORED})

# Built once: building a statement takes as long as running it, and these run for every message.
_MESSAGE: Final = schema.message.c
_FRAME: Final = schema.message_frame.c
_FIND: Final = select(_MESSAGE.status, _MESSAGE.upload_id, _MESSAGE.node).where(
    _MESSAGE.request_id == bindparam("of")
)
_END: Final = (
    update(schema.message)
    .where(_MESSAGE.request_id == bindparam("of"))
    .values(status=bindparam("new_status"), settled_ns=bindparam("now"), receipt=bindparam("proof"))
)
_FRAMES: Final = (
    select(schema.message_frame)
    .where(_FRAME.request_id == bindparam("of"))
    .order_by(_FRAME.position)
)
_RESULT: Final = (
    update(schema.message_frame)
    .where(_FRAME.request_id == bindparam("of"), _FRAME.position == bindparam("at"))
    .values(result=bindparam("what"))
)
_CHUNK: Final = schema.chunk.c
_MOVE: Final = (
    update(schema.chunk)
    .where(
        _CHUNK.upload_id == bindparam("upload"),
        _CHUNK.chunk_index.in_(bindparam("indices", expanding=True)),
        _CHUNK.status == ChunkStatus.INTENT,
    )
    .values(status=bindparam("to"))
)
_INSERT: Final = schema.message.insert()
_INSERT_FRAMES: Final = schema.message_frame.insert()
_INSERT_CHUNKS: Final = schema.chunk.insert()


def open_message(
    connection: Connection,
    upload_id: int,
    message: SignedMessage,
    frames: Sequence[OutgoingFrame],
    *,
    lease_id: int,
    estimated_cycles: int,
    now_ns: int,
) -> None:
    """Commit that a message is about to be sent, and that its chunks are in doubt.

    Raises:
        StateDamagedError: A message in doubt carries one of them already.
    """
    indices = [frame.chunk_index for frame in frames if frame.chunk_index is not None]
    chunk_rows.plan_again(connection, upload_id, indices)
    node, sender, body_digest = message.canister.text, message.sender.text, body_digest_of(message)
    connection.execute(
        _INSERT,
        {
            "request_id": message.request_id,
            "upload_id": upload_id,
            "node": node,
            "sender": sender,
            "lease_id": lease_id,
            "expiry_ns": message.expiry_ns,
            "frames_count": len(frames),
            "envelope_bytes": len(message.body),
            "body_digest": body_digest,
            "status": MessageStatus.OPEN,
            "estimated_cycles": estimated_cycles,
            "retried_bytes": 0,
            "created_ns": now_ns,
            "rowsum": rowsum(
                message.request_id, upload_id, node, sender, message.expiry_ns, body_digest
            ),
        },
    )
    connection.execute(
        _INSERT_FRAMES,
        [
            {
                "request_id": message.request_id,
                "position": position,
                "chunk_index": frame.chunk_index,
                **frame_columns(frame.record, message.request_id, position),
            }
            for position, frame in enumerate(frames)
        ],
    )
    if indices:
        connection.execute(
            _INSERT_CHUNKS,
            [
                {
                    "upload_id": upload_id,
                    "chunk_index": frame.chunk_index,
                    "status": ChunkStatus.INTENT,
                    **frame_columns(frame.record, upload_id, frame.chunk_index),
                }
                for frame in frames
                if frame.chunk_index is not None
            ],
        )


def body_digest_of(message: SignedMessage) -> bytes:
    """Digest the signed bytes, so that a torn outbox file is noticed."""
    return frame_digest(message.body)


def open_messages(connection: Connection, node: str, sender: str) -> list[OpenMessage]:
    """List what has no certified answer, the oldest first."""
    table = schema.message.c
    query = (
        select(schema.message)
        .where(table.node == node, table.sender == sender)
        .where(table.status == MessageStatus.OPEN)
        .order_by(table.created_ns, table.request_id)
    )
    return [_open_message(connection, row) for row in connection.execute(query).all()]


def status(connection: Connection, request_id: bytes) -> MessageStatus | None:
    """Return what became of a message, or None if it is not known."""
    found = connection.scalar(select(_MESSAGE.status).where(_MESSAGE.request_id == request_id))
    return None if found is None else MessageStatus(found)


def frames_of(connection: Connection, request_id: bytes) -> tuple[OutgoingFrame, ...]:
    """List what a message carries, in order."""
    rows = connection.execute(_FRAMES, {"of": request_id})
    return tuple(
        OutgoingFrame(row.chunk_index, record_of(row, request_id, row.position)) for row in rows
    )


def settle(
    connection: Connection,
    request_id: bytes,
    results: Sequence[PutResult],
    receipt: bytes,
    now_ns: int,
) -> tuple[str, list[OutgoingFrame]]:
    """Commit a certified answer.

    Returns:
        The node, and the frames that it holds now; none if the message was settled before.

    Raises:
        FormatError: There are not as many results as frames.
    """
    message = _find(connection, request_id)
    if message.status != MessageStatus.OPEN:
        return message.node, []
    frames = frames_of(connection, request_id)
    if len(results) != len(frames):
        raise FormatError(f"the node gave {len(results)} results for {len(frames)} frames")
    connection.execute(
        _RESULT,
        [
            {"of": request_id, "at": position, "what": result.status.value}
            for position, result in enumerate(results)
        ],
    )
    held: list[OutgoingFrame] = []
    lost: list[OutgoingFrame] = []
    for frame, result in zip(frames, results, strict=True):
        (held if result.status in _HELD_RESULTS else lost).append(frame)
    _move(connection, message.upload_id, held, ChunkStatus.STORED)
    _move(connection, message.upload_id, lost, ChunkStatus.PLANNED)
    _end(connection, request_id, MessageStatus.SETTLED, now_ns, receipt)
    return message.node, held


def close(connection: Connection, request_id: bytes, status: MessageStatus, now_ns: int) -> None:
    """Commit that nothing of a message is stored: it expired, or was refused."""
    message = _find(connection, request_id)
    if message.status == MessageStatus.OPEN:
        frames = frames_of(connection, request_id)
        _move(connection, message.upload_id, frames, ChunkStatus.PLANNED)
        _end(connection, request_id, status, now_ns, None)


def count_retried(connection: Connection, request_id: bytes, retried_bytes: int) -> None:
    """Add to the bytes of a message that were sent again."""
    table = schema.message.c
    connection.execute(
        update(schema.message)
        .where(table.request_id == request_id)
        .values(retried_bytes=table.retried_bytes + retried_bytes)
    )


def ledger(
    connection: Connection, *, node: str | None = None, upload_id: int | None = None
) -> list[LedgerEntry]:
    """Add messages up, by node and model."""
    table, owner = schema.message.c, schema.upload.c
    ran = table.status != MessageStatus.EXPIRED
    query = (
        select(
            owner.node,
            owner.model,
            func.count(),
            func.sum(table.frames_count),
            func.sum(table.envelope_bytes),
            func.sum(table.retried_bytes),
            func.sum(case((ran, table.estimated_cycles), else_=0)),
        )
        .join_from(schema.message, schema.upload)
        .group_by(owner.node, owner.model)
        .order_by(owner.node, owner.model)
    )
    if node is not None:
        query = query.where(owner.node == node)
    if upload_id is not None:
        query = query.where(owner.id == upload_id)
    return [
        LedgerEntry(
            node=Principal.parse(row[0]),
            model=row[1],
            totals=Totals(
                messages_count=row[2],
                frames_count=int(row[3]),
                envelope_bytes=int(row[4]),
                retried_bytes=int(row[5]),
                cycles=int(row[6]),
            ),
        )
        for row in connection.execute(query)
    ]


def _move(
    connection: Connection, upload_id: int, frames: Sequence[OutgoingFrame], to: ChunkStatus
) -> None:
    """Move the chunks of a message on; those of an upload that was let go have no row."""
    indices = [frame.chunk_index for frame in frames if frame.chunk_index is not None]
    if not indices:
        return
    require(ChunkStatus.INTENT, to)
    if to is ChunkStatus.PLANNED:
        mine = _CHUNK.chunk_index.in_(indices) & (_CHUNK.status == ChunkStatus.INTENT)
        connection.execute(delete(schema.chunk).where(_CHUNK.upload_id == upload_id, mine))
    else:
        connection.execute(_MOVE, {"upload": upload_id, "indices": indices, "to": to})


def _find(connection: Connection, request_id: bytes) -> schema.AnyRow:
    row = connection.execute(_FIND, {"of": request_id}).one_or_none()
    if row is None:
        raise NotFoundError(f"the state has no message {request_id.hex()}")
    return row


def _end(
    connection: Connection,
    request_id: bytes,
    status: MessageStatus,
    now_ns: int,
    receipt: bytes | None,
) -> None:
    connection.execute(
        _END, {"of": request_id, "new_status": status, "now": now_ns, "proof": receipt}
    )


def _open_message(connection: Connection, row: schema.AnyRow) -> OpenMessage:
    check_rowsum(
        row.rowsum,
        row.request_id,
        row.upload_id,
        row.node,
        row.sender,
        row.expiry_ns,
        row.body_digest,
    )
    return OpenMessage(
        request_id=row.request_id,
        canister=Principal.parse(row.node),
        sender=Principal.parse(row.sender),
        expiry_ns=row.expiry_ns,
        lease_id=row.lease_id,
        upload_id=row.upload_id,
        body_digest=row.body_digest,
        frames=frames_of(connection, row.request_id),
        estimated_cycles=row.estimated_cycles,
    )
