"""Statements about what nodes hold for us, by content: what keeps bytes from being sent twice.

A row says: we wrote this frame (a certified reply, our own lease, a manifest that we sealed), and
the node held it then. The node decides whether it still does.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeVar

from sqlalchemy import Connection, delete, select

from datanode.digest import ContentDigest, FrameDigest
from datanode.model import ChunkRecord
from uploader.state import tables
from uploader.state.database import Database
from uploader.state.records import frame_columns, record_of
from uploader.state.status import ChunkStatus, UploadStatus

Item = TypeVar("Item")

_BATCH: Final = 500
"""Values in one statement; SQLite takes 32,766 variables, older ones 999."""
_UPDATED: Final = ("frame", "raw_bytes", "frame_bytes", "codec_id", "element", "rowsum")


def batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Cut into lists that fit one statement."""
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def find(
    connection: Connection, node: str, contents: Sequence[ContentDigest]
) -> dict[ContentDigest, ChunkRecord]:
    """Return the frames that hold these contents; what is not known is left out."""
    table = tables.held.c
    found: dict[ContentDigest, ChunkRecord] = {}
    for batch in batches(contents):
        query = select(tables.held).where(table.node == node, table.content.in_(batch))
        for row in connection.execute(query):
            record = record_of(row, node)
            found[record.content] = record
    return found


def learn(
    database: Database, connection: Connection, node: str, records: Iterable[ChunkRecord]
) -> None:
    """Remember frames; the newest frame for a content wins."""
    insert = database.insert(tables.held)
    statement = insert.on_conflict_do_update(
        index_elements=["node", "content"],
        set_={column: insert.excluded[column] for column in _UPDATED},
    )
    for batch in batches(records):
        # A content twice in one statement is an error to PostgreSQL.
        latest = {record.content: record for record in batch}
        connection.execute(
            statement, [{"node": node, **frame_columns(r, node)} for r in latest.values()]
        )


def unlearn(connection: Connection, node: str, frames: Iterable[FrameDigest]) -> None:
    """Forget frames that the node does not hold; their chunks of unsealed uploads are planned."""
    unsealed = select(tables.upload.c.id).where(
        tables.upload.c.node == node, tables.upload.c.status == UploadStatus.OPEN
    )
    for batch in batches(frames):
        connection.execute(
            delete(tables.held).where(tables.held.c.node == node, tables.held.c.frame.in_(batch))
        )
        connection.execute(
            delete(tables.chunk).where(
                tables.chunk.c.upload_id.in_(unsealed),
                tables.chunk.c.frame.in_(batch),
                tables.chunk.c.status != ChunkStatus.INTENT,
            )
        )


def learned_manifests(connection: Connection, node: str) -> set[FrameDigest]:
    """Return the manifests whose records are known already."""
    table = tables.learned.c
    rows = connection.scalars(select(table.manifest).where(table.node == node))
    return {FrameDigest(manifest) for manifest in rows}


def mark_learned(
    database: Database, connection: Connection, node: str, manifest: FrameDigest
) -> None:
    """Note that a manifest's records are known."""
    statement = database.insert(tables.learned).on_conflict_do_nothing()
    connection.execute(statement, {"node": node, "manifest": manifest})
