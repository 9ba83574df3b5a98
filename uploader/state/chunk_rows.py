"""Statements about the chunks of an upload; `StateStore` puts them into transactions."""

from collections.abc import Iterable, Sequence
from typing import Final

from sqlalchemy import Connection, bindparam, delete, func, select, update

from datanode.model import ChunkRecord
from uploader.state import schema
from uploader.state.database import StateDatabase
from uploader.state.lifecycle import ALLOWED, HELD, ChunkStatus, require
from uploader.state.receipt_rows import batches
from uploader.state.records import frame_columns, record_of

PAGE: Final = 4_096
"""Chunks that are in memory at once while all are walked."""
_UPDATED: Final = (
    "content",
    "frame",
    "raw_bytes",
    "frame_bytes",
    "codec_id",
    "element",
    "rowsum",
    "status",
)


_CHUNK: Final = schema.chunk.c
_STATUSES: Final = select(_CHUNK.status).where(
    _CHUNK.upload_id == bindparam("upload"),
    _CHUNK.chunk_index.in_(bindparam("indices", expanding=True)),
)
"""Built once: it runs for every message, and building it takes as long."""


def held_bytes(connection: Connection, upload_id: int) -> int:
    """Sum up the raw bytes of the chunks that the node holds."""
    query = select(func.coalesce(func.sum(_CHUNK.raw_bytes), 0)).where(
        _CHUNK.upload_id == upload_id, _CHUNK.status.in_(HELD)
    )
    return int(connection.execute(query).scalar_one())


def record_known(
    database: StateDatabase,
    connection: Connection,
    upload_id: int,
    rows: Sequence[tuple[int, ChunkRecord]],
) -> None:
    """Note chunks that the node holds in a frame that nobody has to send.

    Raises:
        StateDamagedError: A message in doubt carries one of them.
    """
    insert = database.insert(schema.chunk)
    statement = insert.on_conflict_do_update(
        index_elements=["upload_id", "chunk_index"],
        set_={column: insert.excluded[column] for column in _UPDATED},
    )
    for batch in batches(rows):
        latest = dict(batch)
        for status in statuses(connection, upload_id, latest):
            require(status, ChunkStatus.KNOWN)
        connection.execute(
            statement,
            [
                {
                    "upload_id": upload_id,
                    "chunk_index": index,
                    "status": ChunkStatus.KNOWN,
                    **frame_columns(record, upload_id, index),
                }
                for index, record in latest.items()
            ],
        )


def plan_again(connection: Connection, upload_id: int, indices: Sequence[int]) -> None:
    """Make way for a message that carries these chunks.

    One that was held is sent again when the node said that it is not: the node wins.

    Raises:
        StateDamagedError: A message in doubt carries one of them already.
    """
    found = statuses(connection, upload_id, indices)
    for status in found:
        require(status, ChunkStatus.PLANNED if status in HELD else ChunkStatus.ENCODED)
    if found:
        table = schema.chunk.c
        connection.execute(
            delete(schema.chunk).where(table.upload_id == upload_id, table.chunk_index.in_(indices))
        )


def record_audited(connection: Connection, upload_id: int, indices: Iterable[int]) -> None:
    """Note chunks that were read back and found right; those in doubt stay as they are."""
    table = schema.chunk.c
    movable = [status for status in HELD if ChunkStatus.AUDITED in ALLOWED[status]]
    for batch in batches(indices):
        connection.execute(
            update(schema.chunk)
            .where(table.upload_id == upload_id, table.chunk_index.in_(batch))
            .where(table.status.in_(movable))
            .values(status=ChunkStatus.AUDITED)
        )


def statuses(connection: Connection, upload_id: int, indices: Iterable[int]) -> set[ChunkStatus]:
    """Tell which statuses these chunks have, planned ones aside."""
    rows = connection.scalars(_STATUSES, {"upload": upload_id, "indices": list(indices)})
    return {ChunkStatus(status) for status in rows}


def page(
    connection: Connection, upload_id: int, first: int, last: int | None
) -> list[tuple[int, ChunkRecord]]:
    """Read one page of the chunks that the node holds, from `first` to before `last`."""
    table = schema.chunk.c
    query = (
        select(schema.chunk)
        .where(table.upload_id == upload_id, table.chunk_index >= first)
        .where(table.status.in_(HELD))
        .order_by(table.chunk_index)
        .limit(PAGE)
    )
    if last is not None:
        query = query.where(table.chunk_index < last)
    return [
        (row.chunk_index, record_of(row, upload_id, row.chunk_index))
        for row in connection.execute(query)
    ]
